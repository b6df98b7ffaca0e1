"""The test event: the app writes it down, in every journal, and does nothing else about it."""

import json
import logging
import sys
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from handlers import DISPATCH, NAMES
from shared import proof
from shared.composition import compose, load_configuration
from shared.deciding import decide
from shared.errors import DeliveryDeferred, InvalidRoutes, JournalUnavailable, UnreadableRecord
from shared.events.event import CANARY_TYPE
from shared.journal.journal import Journal
from shared.journal.purge import purge
from shared.journal.records import Record, Selection, State, Store
from shared.journal.sqlite import SqliteStore
from shared.proof import PARTITION, find_proof, write_proof
from shared.version import VERSION
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, cloud_event_text, event_text, routes, run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import FakePipelines
from tests.support.journal.wrapped_store import Meanwhile, WrappedStore
from tests.support.relays import PLAIN, Bench
from tools.actions.records import RecordFilter, newest

OTHER = "name: other\nevent: ModelRegistered\npipeline: p"


def canary_text(event_id: str = "event-1", **envelope: Any) -> str:
    return json.dumps(json.loads(event_text("", {}, eventType=CANARY_TYPE, id=event_id)) | envelope)


@pytest.fixture
def bench(each_store: Store, clock: ManualClock) -> Bench:
    return Bench(each_store, clock, FakePipelines(clock))


def notes(store: Store) -> list[Record]:
    return list(store.select(Selection(PARTITION), 1_000))


class TestDelivery:
    @pytest.mark.parametrize("text", [canary_text(), cloud_event_text("", {}, type=CANARY_TYPE, id="event-1")])
    def test_it_is_noted_in_every_journal_and_acknowledged(
        self, bench: Bench, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "nextstage")
        relay = bench.relay(PLAIN, OTHER)
        assert relay.deliver(text).decisions == ()
        digest = routes(PLAIN, OTHER).digest
        note = find_proof(Journal(bench.store), "event-1")
        assert note is not None
        assert (note.version, note.routes, note.instance) == (VERSION, digest, "")
        assert note.at == Journal(bench.store, clock=bench.clock).now()
        assert (bench.reports, bench.pipelines.books) == ([], [])
        (record,) = bench.store.select(Selection(), 10)
        assert (record.key.route, record.state) == (PARTITION, State.NOTED)
        (line,) = [line for line in caplog.records if line.name.startswith("nextstage")]
        words = f"the test event 'event-1' has arrived at version {VERSION} with routes {digest}; it queues nothing"
        assert (line.levelname, line.getMessage()) == ("INFO", words)

    def test_no_other_event_imports_its_code(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "shared.proof", None)  # the import would fail
        for ignored in (event_text("Nope", {}), run_completed()):
            assert [decision.outcome for decision in bench.relay(OTHER).deliver(ignored).decisions] == ["ignored"]
        with pytest.raises(ImportError):
            bench.relay(OTHER).deliver(canary_text())

    def test_without_a_journal_it_is_refused(self, bench: Bench) -> None:
        def fail() -> None:
            raise JournalUnavailable("the journal does not answer")

        bench.store = WrappedStore(bench.store, Meanwhile("before insert", fail))
        with pytest.raises(DeliveryDeferred, match="deferred: the journal does not answer"):
            bench.relay(PLAIN).deliver(canary_text())

    def test_one_that_cannot_be_read_is_parked_like_every_event(self, bench: Bench) -> None:
        for text in (canary_text(""), canary_text(topic=None)):
            (decision,) = bench.relay().deliver(text).decisions
            assert (decision.outcome, decision.cause) == ("parked", "UnreadableEvent")
        assert notes(bench.store) == []


def test_the_note_names_the_instance_in_azure(store: Store) -> None:
    in_azure = {"WEBSITE_INSTANCE_ID": "0a1b", "JOURNAL_CONNECTION": "https://account.table.core.windows.net"}
    configuration = load_configuration({**ENVIRONMENT, **in_azure}, ROOT, NAMES)
    app = compose(configuration, DISPATCH, store=store)
    app.relay.deliver(canary_text())
    note = find_proof(app.journal, "event-1")
    assert note is not None
    assert (note.instance, note.routes) == ("0a1b", configuration.routes.digest)


class TestNote:
    def test_any_number_of_canaries_takes_the_same_room(self, each_store: Store) -> None:
        journal = Journal(each_store)
        for number in range(3 * proof._PLACES):
            write_proof(journal, f"event-{number}", "1a2b3c4d", "i" * 10_000)
        found = notes(each_store)
        assert 20 < len(found) <= proof._PLACES
        assert max(len(record.document) for record in found) < 400
        assert {len(record.history) for record in found} == {1}
        last = find_proof(journal, f"event-{number}")
        assert last is not None
        assert last.instance == "i" * 100
        seen = [find_proof(journal, f"event-{one}") is not None for one in range(number + 1)]
        assert seen.count(True) == len(found)

    def test_it_is_neither_listed_nor_kept(self, each_store: Store, clock: ManualClock) -> None:
        journal = Journal(each_store, clock=clock)
        write_proof(journal, "event-1", "1a2b3c4d", "")
        assert newest(journal, RecordFilter(windows=True), 10, clock()).records == ()
        assert list(journal.may_own([1])) == []
        clock.advance(101 * 86400)
        assert purge(journal, timedelta(days=100), clock=clock) == 1

    def test_another_program_has_changed_it(self, tmp_path: Any) -> None:
        with closing(SqliteStore(tmp_path / "journal.sqlite3")) as store:
            journal = Journal(store)
            write_proof(journal, "event-1", "1a2b3c4d", "")
            (record,) = notes(store)
            assert store.replace(record._replace(document=json.dumps(["x"]))) is not None
            with pytest.raises(UnreadableRecord):
                find_proof(journal, "event-1")
            write_proof(journal, "event-1", "1a2b3c4d", "")
            assert find_proof(journal, "event-1") is not None


def test_no_route_can_name_it() -> None:
    with pytest.raises(InvalidRoutes, match=r"'nextstage\.Canary': is an event of nextstage"):
        routes(f"name: r\nevent: {CANARY_TYPE}\npipeline: p")


def test_the_commands_say_what_it_is() -> None:
    assert decide(canary_text(), {}, routes(PLAIN)).why_nothing.startswith("it only tests the deployment")
