"""What is special about the journal in Azure Table storage: costs, lost answers, connections, limits, secrets."""

import json
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, cast

import pytest
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import HttpTransport
from hypothesis import HealthCheck, given, settings

from devstack.azurite import PUBLIC_DEVELOPMENT_KEY, Azurite
from shared.errors import InvalidSettings, JournalUnavailable, RunAlreadyOwned
from shared.journal.journal import Journal, Mine
from shared.journal.records import Entry, JournalKey, Record, Selection, State
from shared.journal.tables import patience as tables_patience
from shared.journal.tables.client import pooled_transport
from shared.journal.tables.connection import connection_problem
from shared.journal.tables.entities import EVENT_BYTES, NOTES_BYTES, REQUEST_BYTES, record_to_entity, run_marker
from shared.journal.tables.protocol import Drop, NoAnswer, Page, Put, Query, Refused, Stored
from shared.journal.tables.store import TablesStore
from tests.support.canaries import leaks, secret
from tests.support.journal.records import NOW, any_record, noise, record, written

OpenTables = Callable[..., TablesStore]

KEY = JournalKey("route", "ab12")
# base64, as an account's key is, and a canary all the same.
CANARY_KEY = "canaryAccountKey"


def identity_is_not_asked() -> TokenCredential:
    raise AssertionError


Fault = Callable[[Callable[[], Any]], Any]


def answered(send: Callable[[], Any]) -> Any:
    return send()


def never_sent(send: Callable[[], Any]) -> Any:
    raise ServiceRequestError("connection refused, says the test")


def answer_lost(send: Callable[[], Any]) -> Any:
    send().read()
    raise ServiceResponseError("connection reset, says the test")


def answer_lost_then(meanwhile: Callable[[], object]) -> Fault:
    """The answer is lost, and something happens before the next try."""

    def fault(send: Callable[[], Any]) -> Any:
        try:
            return answer_lost(send)
        finally:
            meanwhile()

    return fault


class StubTransport(HttpTransport[Any, Any]):
    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


class FaultyTransport(StubTransport):
    """Sends to Azurite, notes each request, and does to each what the next fault says; after the last, nothing."""

    def __init__(self, *faults: Fault) -> None:
        self._inner = pooled_transport(16)
        self.faults = deque(faults)
        self.sent: list[str] = []
        self.otherwise: Fault = answered

    def send(self, request: Any, **options: Any) -> Any:
        self.sent.append(f"{request.method} {request.url.rpartition('/')[2].partition('(')[0].partition('?')[0]}")
        fault = self.faults.popleft() if self.faults else self.otherwise
        return fault(lambda: self._inner.send(request, **options))

    def close(self) -> None:
        self._inner.close()


@dataclass
class Faulty:
    """A store over a table that is there, whose requests can be made to fail."""

    store: TablesStore
    transport: FaultyTransport
    table: str
    healthy: TablesStore = field(repr=False)

    def fail(self, *faults: Fault) -> None:
        self.transport.faults.extend(faults)
        self.transport.sent.clear()


@pytest.fixture
def faulty(open_tables: OpenTables, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    monkeypatch.setattr(tables_patience, "PAUSES_SECONDS", (0.01, 0.01))
    transport = FaultyTransport()
    store = open_tables(transport=transport)
    healthy = open_tables()
    healthy.insert(record("00"))
    return Faulty(store, transport, store._table._client.table_name, healthy)  # type: ignore[attr-defined]


class TestCost:
    def test_a_delivery_that_goes_well_costs_two_transactions(self, faulty: Faulty) -> None:
        journal = Journal(faulty.store, clock=lambda: NOW)
        mine = journal.claim(KEY, Entry("id", "type", "subject", "{}", "{}"), NOW + timedelta(seconds=25))
        assert isinstance(mine, Mine)
        done = journal.complete(mine.record, 5, "url")
        assert faulty.transport.sent == [f"POST {faulty.table}", "POST $batch"]
        assert faulty.healthy.get(KEY) == done

    def test_a_duplicate_costs_two(self, faulty: Faulty) -> None:
        faulty.healthy.insert(record())
        assert faulty.store.insert(record()) is None
        assert faulty.store.get(KEY) is not None
        assert faulty.transport.sent == [f"POST {faulty.table}", f"GET {faulty.table}"]

    def test_many_runs_are_looked_up_in_one_request(self, faulty: Faulty) -> None:
        for number in range(5, 9):
            faulty.healthy.insert(record(f"{number}", run_id=number))
        assert faulty.store.owned_runs("route", [*range(6, 100_000)]) == {6, 7, 8}
        assert faulty.store.owned_runs("elsewhere", [6, 7]) == set()
        assert faulty.store.owned_runs("route", iter([])) == set()
        assert faulty.transport.sent == [f"GET {faulty.table}"] * 2

    def test_more_than_a_page_of_markers_is_read_to_its_end(self, faulty: Faulty) -> None:
        client = faulty.healthy._table._client  # type: ignore[attr-defined]
        for first in range(1, 1003, 100):
            markers = (run_marker(KEY, number) for number in range(first, min(first + 100, 1003)))
            client.submit_transaction([("create", marker) for marker in markers])
        assert faulty.store.owned_runs("route", [1, 1002, 1003]) == {1, 1002}
        assert len(faulty.transport.sent) == 2

    def test_a_table_is_made_when_the_first_record_finds_none(self, open_tables: OpenTables) -> None:
        transport = FaultyTransport()
        store = open_tables(transport=transport)
        assert store.get(KEY) is None
        assert store.owned_runs("route", [1]) == set()
        assert store.replace(record(version="W/\"datetime'2026-11-20T12%3A00%3A00.1234567Z'\"")) is None
        transport.sent.clear()
        assert store.insert(record()) is not None
        table = store._table._client.table_name  # type: ignore[attr-defined]
        assert transport.sent == [f"POST {table}", "POST Tables", f"POST {table}"]

    def test_many_may_find_none_at_once(self, open_tables: OpenTables) -> None:
        stores = [open_tables() for _ in range(8)]
        start = threading.Barrier(8)

        def first(number: int) -> Record | None:
            start.wait()
            return stores[number].insert(record(f"{number}"))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(first, range(8)))


class TestLostAnswers:
    @pytest.mark.parametrize(("run_id", "later_run_id"), [(None, None), (None, 5), (5, 5)])
    @pytest.mark.parametrize("faults", [[answer_lost], [never_sent], [answer_lost, answer_lost], [never_sent] * 2])
    def test_each_write_is_done_once_whatever_is_lost(
        self, faulty: Faulty, run_id: int | None, later_run_id: int | None, faults: list[Fault]
    ) -> None:
        faulty.fail(*faults)
        inserted = written(faulty.store.insert(record(run_id=run_id)))
        assert faulty.healthy.get(KEY) == inserted
        faulty.fail(*faults)
        second = written(faulty.store.replace(replace(inserted, run_id=later_run_id, reason="second")))
        faulty.fail(*faults)
        assert faulty.store.get(KEY) == faulty.healthy.get(KEY) == second
        assert faulty.healthy.replace(inserted) is None
        assert faulty.healthy.owned_runs("route", [5]) == ({5} if later_run_id else set())

    @pytest.mark.parametrize("fault", [answer_lost, never_sent])
    @pytest.mark.parametrize("run_id", [None, 5])
    def test_anothers_equal_write_is_not_taken_for_ours(self, faulty: Faulty, run_id: int | None, fault: Fault) -> None:
        first = written(faulty.healthy.insert(record()))
        faulty.fail(fault)
        assert faulty.store.insert(record()) is None
        assert faulty.healthy.get(KEY) == first
        second = written(faulty.healthy.replace(replace(first, reason="equal", run_id=run_id)))
        faulty.fail(fault)
        assert faulty.store.replace(replace(first, reason="equal", run_id=run_id)) is None
        assert faulty.healthy.get(KEY) == second

    def test_our_insert_that_another_has_replaced_since_is_ours_no_more(self, faulty: Faulty) -> None:
        def take_over() -> None:
            found = written(faulty.healthy.get(KEY))
            assert faulty.healthy.replace(replace(found, reason="taken over")) is not None

        faulty.fail(answer_lost_then(take_over))
        assert faulty.store.insert(record()) is None

    @pytest.mark.parametrize("fault", [answer_lost, never_sent])
    def test_anothers_run_is_said_to_be_anothers(self, faulty: Faulty, fault: Fault) -> None:
        faulty.healthy.insert(record("cd34", run_id=5))
        first = written(faulty.healthy.insert(record()))
        faulty.fail(fault)
        with pytest.raises(RunAlreadyOwned, match="run 5 belongs to another record of route route"):
            faulty.store.replace(replace(first, run_id=5))
        assert faulty.healthy.get(KEY) == first

    def test_what_vanished_meanwhile_is_not_replaced(self, faulty: Faulty) -> None:
        faulty.fail(never_sent)
        assert faulty.store.replace(record(version="W/\"datetime'2026-11-20T12%3A00%3A00.1234567Z'\"")) is None

    def test_after_three_lost_answers_the_caller_must_read(self, faulty: Faulty) -> None:
        first = written(faulty.healthy.insert(record()))
        wanted = replace(first, run_id=5)
        faulty.fail(*[answer_lost] * 3)
        with pytest.raises(JournalUnavailable, match="does not answer: ServiceResponseError: connection reset"):
            faulty.store.replace(wanted)
        assert len(faulty.transport.sent) == 3
        assert faulty.store.replace(wanted) is None, "its version is gone, with our own write"
        assert written(faulty.store.get(KEY)).run_id == 5

    def test_the_answer_to_making_the_table_may_be_lost(self, open_tables: OpenTables) -> None:
        transport = FaultyTransport(answered, answer_lost)
        assert open_tables(transport=transport).insert(record()) is not None
        (table,) = {sent for sent in transport.sent if sent != "POST Tables"}
        assert transport.sent == [table, "POST Tables", "POST Tables", table]

    def test_of_many_threads_with_bad_lines_one_wins(self, faulty: Faulty) -> None:
        """Each thread's first answer is lost, done or not; all want to write the very same."""
        start = threading.Barrier(12, timeout=60)
        planned = threading.local()

        def once(send: Callable[[], Any]) -> Any:
            fault, planned.fault = planned.fault, answered
            return fault(send)

        faulty.transport.otherwise = once

        def race(number: int) -> tuple[bool, bool]:
            planned.fault = (answer_lost, never_sent)[number % 2]
            start.wait()
            inserted = faulty.store.insert(record()) is not None
            start.wait()
            found = written(faulty.healthy.get(KEY))
            start.wait(timeout=60)
            planned.fault = answer_lost
            return inserted, faulty.store.replace(replace(found, run_id=7)) is not None

        with ThreadPoolExecutor(12) as pool:
            results = list(pool.map(race, range(12)))
        assert sum(inserted for inserted, _ in results) == 1
        assert sum(replaced for _, replaced in results) == 1


class TestMarkers:
    def test_a_record_may_name_its_own_run_again(self, tables_store: TablesStore) -> None:
        first = written(tables_store.insert(record(run_id=5)))
        second = written(tables_store.replace(replace(first, reason="again")))
        assert tables_store.get(KEY) == second

    def test_a_run_that_was_named_once_stays_owned(self, tables_store: TablesStore) -> None:
        first = written(tables_store.insert(record(run_id=5)))
        written(tables_store.replace(replace(first, run_id=None)))
        assert tables_store.owned_runs("route", [5]) == {5}

    def test_a_new_record_cannot_have_anothers_run(self, tables_store: TablesStore) -> None:
        tables_store.insert(record(run_id=5))
        with pytest.raises(RunAlreadyOwned, match="run 5"):
            tables_store.insert(record("cd34", run_id=5))
        assert tables_store.get(JournalKey("route", "cd34")) is None
        assert tables_store.insert(record(run_id=6)) is None
        assert tables_store.owned_runs("route", [6]) == set()


class TestSelect:
    def test_pages_are_asked_for_as_they_are_wanted(self) -> None:
        entity = record_to_entity(record(), "w")
        table = ScriptedTable(page=[Page([Stored(entity, "1")], "more"), Page([]), Page([])])
        found = TablesStore(table).select(Selection(), 5)
        assert table.asked == []
        assert next(found).version == "1"
        assert table.asked == ["page"]
        assert list(found) == []
        assert table.asked == ["page", "page"]

    @pytest.mark.parametrize(("limit", "size"), [(0, 1), (7, 7), (5000, 1000)])
    def test_a_page_is_as_large_as_wanted_and_1000_at_most(self, limit: int, size: int) -> None:
        """Azure refuses a larger one; Azurite does not."""
        table = ScriptedTable(page=[Page([])])
        assert list(TablesStore(table).select(Selection(), limit)) == []
        assert [query.page_size for query in table.queries] == [size] * bool(limit)

    def test_where_there_is_no_table_there_is_nothing(self, open_tables: OpenTables) -> None:
        assert list(open_tables().select(Selection(), 5)) == []


class TestDelete:
    def test_a_record_goes_with_its_marker(self, faulty: Faulty) -> None:
        inserted = written(faulty.healthy.insert(record(run_id=5)))
        assert faulty.store.delete(inserted)
        assert faulty.transport.sent == ["POST $batch"]
        assert faulty.healthy.get(KEY) is None
        assert faulty.healthy.owned_runs("route", [5]) == set()
        assert not faulty.store.delete(inserted)

    def test_one_that_has_changed_stays_and_so_does_its_marker(self, tables_store: TablesStore) -> None:
        first = written(tables_store.insert(record(run_id=5)))
        second = written(tables_store.replace(replace(first, reason="second")))
        assert not tables_store.delete(first)
        assert not tables_store.delete(replace(first, version=""))
        assert tables_store.get(KEY) == second
        assert tables_store.owned_runs("route", [5]) == {5}

    def test_one_whose_marker_is_missing(self, tables_store: TablesStore) -> None:
        inserted = written(tables_store.insert(record()))
        assert tables_store.delete(replace(inserted, run_id=5))
        assert tables_store.get(KEY) is None

    def test_after_a_lost_answer_it_counts_as_another_ones_work(self, faulty: Faulty) -> None:
        inserted = written(faulty.healthy.insert(record(run_id=5)))
        faulty.fail(answer_lost)
        assert not faulty.store.delete(inserted)
        assert faulty.healthy.get(KEY) is None

    def test_a_refusal_is_not_taken_for_an_absence(self) -> None:
        table = ScriptedTable(write=[Refused("AuthorizationFailure", "no")])
        with pytest.raises(JournalUnavailable, match="AuthorizationFailure"):
            TablesStore(table).delete(record(version='W/"1"'))


class TestWhatIsKept:
    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(any_record)
    def test_every_record_comes_back_as_it_was(self, tables_store: TablesStore, wanted: Record) -> None:
        fresh = replace(wanted, key=JournalKey(uuid.uuid4().hex, "ab12"))
        inserted = written(tables_store.insert(fresh))
        assert inserted == replace(fresh, version=inserted.version)
        assert tables_store.get(fresh.key) == inserted
        replaced = written(tables_store.replace(inserted))
        assert tables_store.get(fresh.key) == replaced

    def test_the_largest_record_is_created_and_replaced(self, tables_store: TablesStore) -> None:
        entry = Entry("i" * 99, "t" * 2000, "s" * 2000, noise(EVENT_BYTES * 5 // 4), noise(REQUEST_BYTES * 5 // 4))
        reason = noise(NOTES_BYTES * 5 // 4)
        inserted = written(tables_store.insert(record(entry=entry, reason=reason, run_url="u" * 2000)))
        assert tables_store.get(KEY) == inserted
        replaced = written(tables_store.replace(replace(inserted, state=State.QUEUED, run_id=5)))
        assert tables_store.get(KEY) == replaced

    def test_an_event_of_a_mebibyte_of_noise_is_cut_and_says_so(self, tables_store: TablesStore) -> None:
        entry = Entry("id", "type", "subject", noise(2**20), "{}")
        inserted = written(tables_store.insert(record(entry=entry)))
        kept = written(tables_store.get(KEY))
        assert "[cut by the journal: " in kept.entry.event
        assert written(tables_store.replace(inserted)).version
        assert written(tables_store.replace(written(tables_store.get(KEY)))).version

    def test_an_entity_of_somebody_else_is_said_to_be_unreadable(self, tables_store: TablesStore) -> None:
        tables_store.insert(record())
        client = tables_store._table._client  # type: ignore[attr-defined]
        client.upsert_entity({"PartitionKey": "route", "RowKey": "ab12", "state": "queued"}, mode="replace")
        with pytest.raises(JournalUnavailable, match=r"the record ab12 of route route at http://127.* cannot be read"):
            tables_store.get(KEY)


class TestWhenItIsDown:
    def test_it_says_so_soon_and_works_again_after(self, tmp_path: Path) -> None:
        with Azurite(tmp_path) as azurite:
            store = TablesStore.open(azurite.connection_string, identity_is_not_asked)
            first = written(store.insert(record()))
            azurite.stop()
            began = time.monotonic()
            calls: Sequence[Callable[[], object]] = (
                lambda: store.insert(record("cd34")),
                lambda: store.replace(first),
                lambda: store.get(KEY),
                lambda: store.owned_runs("route", [1]),
            )
            for call in calls:
                with pytest.raises(
                    JournalUnavailable, match=rf"the journal at {azurite.url} does not answer: .*refused"
                ):
                    call()
            assert time.monotonic() - began < 4 * tables_patience.CALL_SECONDS
            azurite.start()
            assert store.get(KEY) == first
            assert store.replace(first) is not None
            store.close()

    def test_one_that_never_answers_is_not_waited_for_longer_than_the_limit(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tables_patience, "CALL_SECONDS", 1.5)
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            store = TablesStore.open(_local(silent.getsockname()[1]), identity_is_not_asked)
            calls: Sequence[Callable[[], object]] = (lambda: store.insert(record()), lambda: store.get(KEY))
            for call in calls:
                began = time.monotonic()
                with pytest.raises(JournalUnavailable, match="timed out"):
                    call()
                assert 0.5 < time.monotonic() - began < 30
            store.close()

    def test_the_limit_leaves_time_in_a_delivery(self) -> None:
        """A claim and a completion, each as slow as can be, fit into the 25 s of a delivery."""
        assert tables_patience.CALL_SECONDS + tables_patience.LEAST_REQUEST_SECONDS <= 10

    def test_certificates_that_are_not_there_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables_patience, "PAUSES_SECONDS", ())
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
        connection = f"AccountName=a;AccountKey={CANARY_KEY};TableEndpoint=https://127.0.0.1:9/a"
        with (
            closing(TablesStore.open(connection, identity_is_not_asked)) as store,
            pytest.raises(JournalUnavailable, match=r"/nowhere/ca\.pem"),
        ):
            store.get(KEY)


class _Scripted(BaseHTTPRequestHandler):
    """Gives the server's next answer: status, content type, body, and whether the connection breaks before its end."""

    protocol_version = "HTTP/1.1"  # connections are kept

    def _answer(self) -> None:
        server = cast("ScriptedServer", self.server)
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, content_type, body, breaks = server.answers[min(server.asked, len(server.answers) - 1)]
        server.asked += 1
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) + (10 if breaks else 0)))
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = breaks

    do_GET = do_POST = _answer  # noqa: N815 - the base class looks for these names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        pass


Answer = tuple[int, str, bytes, bool]


class ScriptedServer(ThreadingHTTPServer):
    answers: list[Answer]
    asked = 0
    connections = 0

    def get_request(self) -> tuple[socket.socket, Any]:
        self.connections += 1
        return super().get_request()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setattr(tables_patience, "PAUSES_SECONDS", (0.01, 0.01))
    with ScriptedServer(("127.0.0.1", 0), _Scripted) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def odata(code: str, status: int = 400) -> Answer:
    return status, "application/json", _odata_body(code, "No.").encode(), False


def _odata_body(code: str, message: str) -> str:
    value = f"{message}\nRequestId:1"
    return json.dumps({"odata.error": {"code": code, "message": {"lang": "en-US", "value": value}}})


def batch(part_status: int, code: str = "", *, breaks: bool = False) -> Answer:
    part = _odata_body(code, "0:No.") if code else ""
    lines = ["--b", "Content-Type: multipart/mixed; boundary=c", "", "--c", "Content-Type: application/http"]
    lines += ["Content-Transfer-Encoding: binary", "", f"HTTP/1.1 {part_status} X", "Content-Type: application/json"]
    lines += ["", part, "--c--", "--b--", ""]
    return 202, "multipart/mixed; boundary=b", "\r\n".join(lines).encode(), breaks


class TestBadAnswers:
    """Every answer leads to JournalUnavailable; what a moment may mend is asked three times."""

    @pytest.mark.parametrize(
        ("run_id", "answer", "asked", "message"),
        [
            (None, odata("ServerBusy", 503), 3, "does not answer"),
            (None, odata("InternalError", 500), 3, "does not answer"),
            (None, odata("OperationTimedOut", 429), 3, "does not answer"),
            (None, batch(204), 3, "does not answer"),
            (None, batch(204, breaks=True), 3, "does not answer"),
            (None, (204, "text/plain", b"", False), 3, "does not answer"),
            (None, (200, "text/html", b"<html>sign in</html>", False), 3, "does not answer"),
            (None, (202, "text/html", b"<html>sign in</html>", False), 3, "does not answer"),
            (None, (302, "text/html", b"", False), 1, "refuses"),
            (None, odata("AuthenticationFailed", 403), 1, r"refuses \(AuthenticationFailed\).*account key"),
            (None, odata("AuthorizationPermissionMismatch", 403), 1, "Storage Table Data Contributor"),
            (None, odata("TableBeingDeleted", 409), 1, "about a minute later"),
            (None, odata("EntityTooLarge"), 1, r"refuses \(EntityTooLarge\).*check the setting JOURNAL_CONNECTION"),
            (None, (413, "text/html", b"too large", False), 1, "refuses"),
            (None, odata("NewCode", 400), 1, r"refuses \(NewCode\): HttpResponseError: No\.; check the setting"),
            (5, odata("ServerBusy", 503), 3, "does not answer"),
            (5, batch(503, "ServerBusy"), 3, "does not answer"),
            (5, batch(204), 3, "does not answer"),
            (5, batch(204, breaks=True), 3, "does not answer"),
            (5, (202, "text/html", b"<html>sign in</html>", False), 3, "does not answer"),
            (5, odata("AuthenticationFailed", 403), 1, r"refuses \(AuthenticationFailed\).*account key"),
            (5, batch(409, "TableBeingDeleted"), 1, "about a minute later"),
            (5, batch(400, "EntityTooLarge"), 1, r"refuses \(EntityTooLarge\).*check the setting JOURNAL_CONNECTION"),
        ],
    )
    def test_a_write(
        self, scripted: ScriptedServer, run_id: int | None, answer: Answer, asked: int, message: str
    ) -> None:
        """A write with a run goes as a batch."""
        scripted.answers = [answer]
        with (
            closing(TablesStore.open(_local(scripted.server_port), identity_is_not_asked)) as store,
            pytest.raises(JournalUnavailable, match=message) as caught,
        ):
            store.insert(record(run_id=run_id))
        assert scripted.asked == asked
        assert "\n" not in str(caught.value)
        assert f"http://127.0.0.1:{scripted.server_port}/" in str(caught.value)

    @pytest.mark.parametrize(
        ("answer", "asked"),
        [
            (odata("ServerBusy", 503), 3),
            ((200, "application/json", b'{"value": [', True), 3),
            ((200, "application/json", b"{nothing", False), 3),
            (odata("AuthenticationFailed", 403), 1),
            (odata("InvalidInput", 400), 1),
        ],
    )
    def test_a_read(self, scripted: ScriptedServer, answer: Answer, asked: int) -> None:
        scripted.answers = [answer]
        with closing(TablesStore.open(_local(scripted.server_port), identity_is_not_asked)) as store:
            for call in (lambda: store.get(KEY), lambda: store.owned_runs("route", [1])):
                scripted.asked = 0
                with pytest.raises(JournalUnavailable):
                    call()
                assert scripted.asked == asked

    @pytest.mark.parametrize("status", [200, 202, 500])
    def test_the_connection_is_kept_whatever_was_answered(self, scripted: ScriptedServer, status: int) -> None:
        scripted.answers = [(status, "text/html", b"<html>sign in</html>" * 10_000, False)]
        with (
            closing(TablesStore.open(_local(scripted.server_port), identity_is_not_asked)) as store,
            pytest.raises(JournalUnavailable),
        ):
            store.insert(record())
        assert (scripted.asked, scripted.connections) == (3, 1)

    def test_a_table_that_is_being_deleted_is_not_waited_for(self, scripted: ScriptedServer) -> None:
        scripted.answers = [odata("TableNotFound", 404), odata("TableBeingDeleted", 409)]
        with (
            closing(TablesStore.open(_local(scripted.server_port), identity_is_not_asked)) as store,
            pytest.raises(JournalUnavailable, match="can be made anew about a minute later"),
        ):
            store.insert(record())
        assert scripted.asked == 2


class ScriptedTable:
    """A table that gives prepared answers and notes what it was asked."""

    endpoint = "https://account.table.core.windows.net"

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = answers
        self.asked: list[str] = []
        self.queries: list[Query] = []

    def _next(self, name: str) -> Any:
        self.asked.append(name)
        answers = self._answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def write(self, operations: Sequence[Put | Drop], seconds: float) -> str:
        return cast("str", self._next("write"))

    def read(self, partition_key: str, row_key: str, seconds: float) -> Stored:
        return cast("Stored", self._next("read"))

    def page(self, query: Query, page: object, seconds: float) -> Page:
        self.queries.append(query)
        return cast("Page", self._next("page"))

    def create(self, seconds: float) -> None:
        self._next("create")

    def close(self) -> None:
        pass


class TestRareOrders:
    def test_a_table_that_keeps_vanishing_is_given_up(self) -> None:
        table = ScriptedTable(write=[Refused("TableNotFound", "no")], create=[Refused("TableAlreadyExists", "there")])
        with pytest.raises(JournalUnavailable, match="could not be written in 4 rounds"):
            TablesStore(table).insert(record())
        assert table.asked == ["write", "create"] * 4

    def test_a_marker_that_vanishes_is_made_anew(self) -> None:
        gone = Refused("ResourceNotFound", "gone")
        table = ScriptedTable(write=[Refused("EntityAlreadyExists", "1:there"), 'W/"2"'], read=[gone])
        assert written(TablesStore(table).insert(record(run_id=5))).version == 'W/"2"'
        assert table.asked == ["write", "read", "read", "write"]

    def test_a_record_that_vanishes_after_a_lost_answer_is_inserted_anew(self) -> None:
        gone = Refused("ResourceNotFound", "gone")
        table = ScriptedTable(write=[NoAnswer("lost"), Refused("EntityAlreadyExists", "there"), 'W/"2"'], read=[gone])
        assert written(TablesStore(table, sleep=lambda _: None).insert(record())).version == 'W/"2"'

    def test_an_etag_may_be_escaped_here_and_not_there(self) -> None:
        stored = Stored({"write_id": "another"}, "W/\"datetime'2026-11-20T12:00:00Z'\"")
        marker = Stored({"owner": "cd34"}, 'W/"1"')
        table = ScriptedTable(write=[Refused("EntityAlreadyExists", "1:there")], read=[stored, marker])
        with pytest.raises(RunAlreadyOwned):
            TablesStore(table).replace(record(version="W/\"datetime'2026-11-20T12%3A00%3A00Z'\"", run_id=5))

    def test_where_time_is_up_it_is_not_tried_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables_patience, "CALL_SECONDS", 0.0)
        table = ScriptedTable(read=[NoAnswer("timed out")])
        with pytest.raises(JournalUnavailable, match="timed out"):
            TablesStore(table).get(KEY)
        assert table.asked == ["read"]

    def test_runs_are_not_read_page_after_page_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables_patience, "CALL_SECONDS", 0.0)
        table = ScriptedTable(page=[Page([], "more")])
        with pytest.raises(JournalUnavailable, match="more to say than can be read in 0 s"):
            TablesStore(table).owned_runs("route", [1])
        assert table.asked == ["page"]


def _local(port: int, key: str = PUBLIC_DEVELOPMENT_KEY) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
        f"TableEndpoint=http://127.0.0.1:{port}/devstoreaccount1"
    )


class TestConnection:
    @pytest.mark.parametrize(
        ("connection", "endpoint"),
        [
            ("UseDevelopmentStorage=true", "http://127.0.0.1:10002/devstoreaccount1"),
            (" usedevelopmentstorage=true ; ", "http://127.0.0.1:10002/devstoreaccount1"),
            (_local(10102), "http://127.0.0.1:10102/devstoreaccount1"),
            (f"AccountName=acct;AccountKey={CANARY_KEY}", "https://acct.table.core.windows.net"),
            (
                f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={CANARY_KEY};EndpointSuffix=core.chinacloudapi.cn",
                "https://acct.table.core.chinacloudapi.cn",
            ),
            (
                f"AccountName=acct;AccountKey={CANARY_KEY};TableEndpoint=https://acct.z01.table.storage.azure.net/",
                "https://acct.z01.table.storage.azure.net",
            ),
            (
                f"AccountName=a;AccountKey={CANARY_KEY};TableEndpoint=http://localhost:10002/a",
                "http://localhost:10002/a",
            ),
            (f"AccountName=a;AccountKey={CANARY_KEY};TableEndpoint=http://[::1]:10002/a", "http://[::1]:10002/a"),
        ],
    )
    def test_an_account_key(self, connection: str, endpoint: str) -> None:
        with closing(TablesStore.open(connection, identity_is_not_asked)) as store:
            assert store._table.endpoint == endpoint

    @pytest.mark.parametrize(
        "url",
        [
            "https://myaccount.table.core.windows.net",
            "https://myaccount.table.core.windows.net/",
            "https://myaccount.table.core.usgovcloudapi.net",
            "https://myaccount.z12.table.storage.azure.net",
        ],
    )
    def test_an_identity(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables_patience, "PAUSES_SECONDS", ())
        asked = _Network()
        identity = _Identity()
        with closing(TablesStore.open(url, lambda: identity, transport=asked)) as store:
            assert identity.scopes == [], "nobody is asked before there is something to do"
            with pytest.raises(JournalUnavailable, match=rf"the journal at {url.rstrip('/')} does not answer"):
                store.insert(record())
        assert asked.urls == [f"{url.rstrip('/')}/nextstagejournal"]
        assert asked.authorizations == [f"Bearer {secret('token')}"]
        assert identity.scopes == ["https://storage.azure.com/.default"]

    def test_an_identity_that_gets_no_token(self) -> None:
        refused = ClientAuthenticationError("no managed identity here\nlong story")
        store = TablesStore.open("https://myaccount.table.core.windows.net", lambda: _Identity(refused))
        with (
            closing(store),
            pytest.raises(JournalUnavailable, match=r"refuses: .*no managed identity here; check .*Data Contributor"),
        ):
            store.get(KEY)

    @pytest.mark.parametrize(
        ("connection", "problem"),
        [
            ("", "it has no AccountName and no AccountKey"),
            ("nonsense", "it has no AccountName and no AccountKey"),
            ("AccountName=acct", "it has no AccountKey"),
            (f"AccountKey={CANARY_KEY}", "it has no AccountName"),
            ("AccountName=acct;AccountKey=canary!", "its AccountKey is not base64"),
            ("UseDevelopmentStorage=false", "it has no AccountName"),
            (
                f"TableEndpoint=https://acct.table.core.windows.net;SharedAccessSignature=sig={secret('sas')}",
                "shared access signature",
            ),
            (
                f"AccountName=acct;AccountKey={CANARY_KEY};TableEndpoint=http://azurite:10002/acct",
                "http://azurite:10002 is not encrypted",
            ),
            (f"DefaultEndpointsProtocol=http;AccountName=acct;AccountKey={CANARY_KEY}", "is not encrypted"),
            (f"AccountName=acct;AccountKey={CANARY_KEY};TableEndpoint=acct.table.core.windows.net", "is not a URL"),
            (f"AccountName=acct;AccountKey={CANARY_KEY};TableEndpoint=https://", "is not a URL"),
            (f"AccountName=a;AccountKey={CANARY_KEY};TableEndpoint=https://x?sig={CANARY_KEY}", "is not a URL"),
            (f"AccountName=a;AccountKey={CANARY_KEY};TableEndpoint=https://u:{CANARY_KEY}@x", "is not a URL"),
            ("http://myaccount.table.core.windows.net", "its URL is not a storage account's table endpoint"),
            ("http://127.0.0.1:10002/devstoreaccount1", "its URL is not a storage account's table endpoint"),
            ("https://myaccount.blob.core.windows.net", "its URL is not a storage account's table endpoint"),
            (f"https://myaccount.table.core.windows.net?sig={CANARY_KEY}", "its URL is not"),
            ("https://myaccount.table.core.windows.net/journal", "its URL is not"),
        ],
    )
    def test_what_cannot_be_used_is_refused_at_once_and_shows_nothing(self, connection: str, problem: str) -> None:
        assert problem in (connection_problem(connection) or "")
        with pytest.raises(InvalidSettings, match="JOURNAL_CONNECTION cannot be used") as caught:
            TablesStore.open(connection, identity_is_not_asked)
        assert leaks(str(caught.value)) == []


class _Identity:
    """Gives a token, or an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.scopes += scopes
        if self._error is not None:
            raise self._error
        return AccessToken(secret("token"), int(time.time()) + 3600)


class _Network(StubTransport):
    """Reaches nobody, and notes what it should have sent."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.authorizations: list[str] = []

    def send(self, request: Any, **options: Any) -> Any:
        self.urls.append(request.url)
        self.authorizations.append(request.headers["Authorization"])
        raise ServiceRequestError("no network, says the test")


class TestSecrets:
    def test_a_wrong_key_is_not_shown(self, azurite: Azurite) -> None:
        with closing(TablesStore.open(_local(azurite.port, CANARY_KEY), identity_is_not_asked)) as store:
            with pytest.raises(JournalUnavailable, match=r"\(AuthorizationFailure\).*check the account key") as caught:
                store.insert(record())
            shown = f"{caught.value!r} {caught.value.__cause__!r} {store!r} {vars(store)!r} {vars(store._table)!r}"
        assert leaks(str(caught.value)) == []
        assert leaks(shown.replace(repr(CANARY_KEY), "")) == []

    def test_a_library_that_says_the_key_is_not_repeated(self) -> None:
        class Talkative(_Network):
            def send(self, request: Any, **options: Any) -> Any:
                raise ServiceRequestError(f"I was given {CANARY_KEY}")

        connection = f"AccountName=acct;AccountKey={CANARY_KEY}"
        with (
            closing(TablesStore.open(connection, identity_is_not_asked, transport=Talkative())) as store,
            pytest.raises(JournalUnavailable, match=r"I was given \*\*\*") as caught,
        ):
            store.get(KEY)
        assert leaks(str(caught.value)) == []

    def test_an_entry_in_netrc_does_not_replace_our_signature(
        self, azurite: Azurite, open_tables: OpenTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login somebody password {secret('netrc')}\n")
        monkeypatch.setenv("NETRC", str(netrc))
        assert open_tables().insert(record()) is not None


class TestThreads:
    def test_one_client_serves_many_threads_over_few_connections(self, faulty: Faulty) -> None:
        """Each thread reads only its own answers: a mix-up of requests or answers would show."""

        def work(thread: int) -> bool:
            for number in range(10):
                key = f"{thread}-{number}"
                mine = written(faulty.store.insert(record(key, reason=key)))
                done = written(faulty.store.replace(replace(mine, run_id=thread * 100 + number + 1)))
                if faulty.store.get(mine.key) != done or done.reason != key:
                    return False
            return True

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(work, range(16)))
