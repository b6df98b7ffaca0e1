"""The journal in Azure Table storage: its requests, lost answers, connections, limits and secrets."""

import json
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.data.tables import UpdateMode
from hypothesis import HealthCheck, given, settings

from devstack.azurite import PUBLIC_DEVELOPMENT_KEY, Azurite
from shared.errors import InvalidSettings, JournalUnavailable, RunAlreadyOwned, UnreadableRecord
from shared.http.azure_transport import PooledTransport
from shared.journal.records import Entry, JournalKey, Record, Selection, State
from shared.journal.tables import retry_policy
from shared.journal.tables.connection import connection_problem
from shared.journal.tables.entities import EVENT_BYTES, NOTES_BYTES, REQUEST_BYTES
from shared.journal.tables.store import TablesStore
from tests.support.canaries import leaks, secret
from tests.support.journal.records import any_record, incompressible_text, record, written
from tests.support.journal.stores import OpenTables, no_identity
from tests.support.services.raw_server import read_request, server

KEY = JournalKey("route", "ab12")
ETAG = "W/\"datetime'2026-11-20T12%3A00%3A00.1234567Z'\""
# Valid base64, like an account key, and also a canary.
CANARY_KEY = "canaryAccountKey"

Fault = Callable[[Callable[[], Any]], Any]


def answered(send: Callable[[], Any]) -> Any:
    return send()


def never_sent(send: Callable[[], Any]) -> Any:
    raise ServiceRequestError("connection refused, says the test")


def answer_lost(send: Callable[[], Any]) -> Any:
    send().read()
    raise ServiceResponseError("connection reset, says the test")


def answer_lost_then(meanwhile: Callable[[], object]) -> Fault:
    """Return a fault that loses the answer and calls ``meanwhile`` before the next attempt."""

    def fault(send: Callable[[], Any]) -> Any:
        try:
            return answer_lost(send)
        finally:
            meanwhile()

    return fault


class FaultyTransport(PooledTransport):
    """Records each request and applies the next fault to it; after the last fault, it applies ``otherwise``."""

    def __init__(self, *faults: Fault, otherwise: Fault = answered) -> None:
        super().__init__(16)
        self.faults = deque(faults)
        self.requests: list[Any] = []
        self._otherwise = otherwise

    @property
    def sent(self) -> list[str]:
        """The method and the last part of the path of each request."""
        paths = [urlsplit(request.url).path for request in self.requests]
        ends = [path.rpartition("/")[2].partition("(")[0] for path in paths]
        return [f"{request.method} {end}" for request, end in zip(self.requests, ends, strict=True)]

    def send(self, request: Any, **options: Any) -> Any:
        self.requests.append(request)
        fault = self.faults.popleft() if self.faults else self._otherwise
        send = super().send
        return fault(lambda: send(request, **options))


@dataclass
class Faulty:
    """A store with an existing table, whose requests can be made to fail."""

    store: TablesStore
    transport: FaultyTransport
    healthy: TablesStore = field(repr=False)

    def fail(self, *faults: Fault) -> None:
        self.transport.faults.extend(faults)
        self.transport.requests.clear()


@pytest.fixture
def faulty(open_tables: OpenTables, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    monkeypatch.setattr(retry_policy, "PAUSES_SECONDS", (0.01, 0.01))
    transport = FaultyTransport()
    healthy = open_tables()
    healthy.insert(record("00"))
    return Faulty(open_tables(transport=transport), transport, healthy)


class TestCost:
    def test_the_table_is_created_with_the_first_record(self, open_tables: OpenTables) -> None:
        transport = FaultyTransport()
        store = open_tables(transport=transport)
        assert store.get(KEY) is None
        assert list(store.may_own([1])) == []
        assert list(store.select(Selection(), 5)) == []
        assert store.replace(record(version=ETAG)) is None
        transport.requests.clear()
        assert store.insert(record()) is not None
        table = store._table._client.table_name
        assert transport.sent == [f"POST {table}", "POST Tables", f"POST {table}"]


class TestLostAnswers:
    @pytest.mark.parametrize(("run_id", "later_run_id"), [(None, None), (None, 5), (5, 5)])
    @pytest.mark.parametrize("faults", [[], [answer_lost], [never_sent], [answer_lost, answer_lost], [never_sent] * 2])
    def test_each_write_is_done_once_whichever_answers_are_lost(
        self, faulty: Faulty, run_id: int | None, later_run_id: int | None, faults: list[Fault]
    ) -> None:
        faulty.fail(*faults)
        inserted = written(faulty.store.insert(record(run_id=run_id)))
        assert faulty.healthy.get(KEY) == inserted
        faulty.fail(*faults)
        second = written(faulty.store.replace(inserted._replace(run_id=later_run_id, reason="second")))
        faulty.fail(*faults)
        assert faulty.store.get(KEY) == faulty.healthy.get(KEY) == second
        assert faulty.healthy.replace(inserted) is None
        assert named(faulty.healthy, 5) == ([KEY] if later_run_id else [])

    @pytest.mark.parametrize("faults", [[], [answer_lost], [never_sent], [answer_lost, answer_lost], [never_sent] * 2])
    def test_records_are_written_together_once(self, faulty: Faulty, faults: list[Fault]) -> None:
        old = written(faulty.healthy.insert(record("other")))
        faulty.fail(*faults)
        assert faulty.store.write_together([record(), old._replace(reason="both")])
        assert faulty.transport.sent[0] == "POST $batch"
        assert written(faulty.healthy.get(KEY)).version
        assert written(faulty.healthy.get(old.key)).reason == "both"
        assert not faulty.store.write_together([record("third"), old._replace(reason="late")])

    @pytest.mark.parametrize("fault", [answer_lost, never_sent])
    def test_equal_writes_of_another_worker_are_not_taken_for_ours(self, faulty: Faulty, fault: Fault) -> None:
        assert faulty.healthy.write_together([record(), record("other")])
        faulty.fail(fault)
        assert not faulty.store.write_together([record(), record("other")])

    def test_records_are_written_together_into_a_new_table(self, open_tables: OpenTables) -> None:
        transport = FaultyTransport()
        store = open_tables(transport=transport)
        assert store.write_together([record(), record("other")])
        assert transport.sent == ["POST $batch", "POST Tables", "POST $batch"]
        assert not store.write_together([record("third"), record("other", version="1")])

    @pytest.mark.parametrize("fault", [answer_lost, never_sent])
    @pytest.mark.parametrize("run_id", [None, 5])
    def test_an_equal_write_of_another_worker_is_not_taken_for_ours(
        self, faulty: Faulty, run_id: int | None, fault: Fault
    ) -> None:
        first = written(faulty.healthy.insert(record()))
        faulty.fail(fault)
        assert faulty.store.insert(record()) is None
        assert faulty.healthy.get(KEY) == first
        second = written(faulty.healthy.replace(first._replace(reason="equal", run_id=run_id)))
        faulty.fail(fault)
        assert faulty.store.replace(first._replace(reason="equal", run_id=run_id)) is None
        assert faulty.healthy.get(KEY) == second

    def test_our_insert_that_was_replaced_since_is_not_returned(self, faulty: Faulty) -> None:
        def take_over() -> None:
            found = written(faulty.healthy.get(KEY))
            assert faulty.healthy.replace(found._replace(reason="taken over")) is not None

        faulty.fail(answer_lost_then(take_over))
        assert faulty.store.insert(record()) is None

    @pytest.mark.parametrize("fault", [answer_lost, never_sent])
    def test_a_run_of_another_record_is_refused(self, faulty: Faulty, fault: Fault) -> None:
        faulty.healthy.insert(record("cd34", run_id=5))
        first = written(faulty.healthy.insert(record()))
        faulty.fail(fault)
        with pytest.raises(RunAlreadyOwned, match="run 5 belongs to another record of route route"):
            faulty.store.replace(first._replace(run_id=5))
        assert faulty.healthy.get(KEY) == first

    def test_a_record_that_has_vanished_is_not_replaced(self, faulty: Faulty) -> None:
        faulty.fail(never_sent)
        assert faulty.store.replace(record(version=ETAG)) is None

    def test_after_three_lost_answers_the_caller_must_read(self, faulty: Faulty) -> None:
        first = written(faulty.healthy.insert(record()))
        wanted = first._replace(run_id=5)
        faulty.fail(*[answer_lost] * 3)
        with pytest.raises(JournalUnavailable, match="does not answer: ServiceResponseError: connection reset"):
            faulty.store.replace(wanted)
        assert len(faulty.transport.sent) == 3
        assert faulty.store.replace(wanted) is None, "its version is outdated by our own write"
        assert written(faulty.store.get(KEY)).run_id == 5

    def test_the_answer_to_creating_the_table_may_be_lost(self, open_tables: OpenTables) -> None:
        transport = FaultyTransport(answered, answer_lost)
        assert open_tables(transport=transport).insert(record()) is not None
        (table,) = {sent for sent in transport.sent if sent != "POST Tables"}
        assert transport.sent == [table, "POST Tables", "POST Tables", table]


class TestMarkers:
    def test_a_run_stays_owned_after_the_record_no_longer_names_it(self, tables_store: TablesStore) -> None:
        first = written(tables_store.insert(record(run_id=5)))
        written(tables_store.replace(first._replace(run_id=None)))
        assert named(tables_store, 5) == []
        with pytest.raises(RunAlreadyOwned, match="run 5"):
            tables_store.insert(record("cd34", run_id=5))

    def test_a_new_record_cannot_have_the_run_of_another(self, tables_store: TablesStore) -> None:
        tables_store.insert(record(run_id=5))
        with pytest.raises(RunAlreadyOwned, match="run 5"):
            tables_store.insert(record("cd34", run_id=5))
        assert tables_store.get(JournalKey("route", "cd34")) is None
        assert tables_store.insert(record(run_id=6)) is None
        assert named(tables_store, 6) == []


class TestMayOwn:
    def test_owners_of_many_runs_are_found_in_one_request(self, faulty: Faulty) -> None:
        faulty.healthy.insert(record("6", run_id=6, state=State.QUEUED))
        assert len(list(faulty.store.may_own(range(6, 100_000)))) == 2
        (request,) = faulty.transport.requests
        (query,) = parse_qs(urlsplit(request.url).query)["$filter"]
        states = "state eq 'claimed' or state eq 'parked' or state eq 'uncertain'"
        assert query == f"{states} or (run_id ge 6L and run_id le 99999L)"

    def test_pages_are_read_as_they_are_needed(self, faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shared.journal.tables.store._MAX_PAGE", 1)
        faulty.healthy.insert(record())
        found = faulty.store.may_own([5])
        assert faulty.transport.sent == []
        next(found)
        assert len(faulty.transport.sent) == 1
        assert len(list(found)) == 1


class TestSelect:
    def test_pages_are_read_as_they_are_needed(self, faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shared.journal.tables.store._MAX_PAGE", 1)
        faulty.healthy.insert(record())
        found = faulty.store.select(Selection(), 5)
        assert faulty.transport.sent == []
        next(found)
        assert len(faulty.transport.sent) == 1
        assert len(list(found)) == 1
        assert len(faulty.transport.sent) > 1

    def test_a_page_has_at_most_1000_records(self, faulty: Faulty) -> None:
        """Azure refuses larger pages; Azurite does not."""
        for limit in (0, 7, 5000):
            assert len(list(faulty.store.select(Selection(), limit))) == min(limit, 1)
        queries = [parse_qs(urlsplit(request.url).query) for request in faulty.transport.requests]
        assert [query["$top"] for query in queries] == [["7"], ["1000"]]


class TestDelete:
    def test_a_record_without_a_marker_is_deleted(self, tables_store: TablesStore) -> None:
        inserted = written(tables_store.insert(record()))
        assert not tables_store.delete(record()), "the record has no version"
        assert tables_store.delete(inserted._replace(run_id=5))
        assert tables_store.get(KEY) is None

    def test_after_a_lost_answer_it_counts_as_deleted_by_another(self, faulty: Faulty) -> None:
        inserted = written(faulty.healthy.insert(record(run_id=5)))
        faulty.fail(answer_lost)
        assert not faulty.store.delete(inserted)
        assert faulty.healthy.get(KEY) is None


class TestStoredRecords:
    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(any_record)
    def test_every_record_is_read_back_unchanged(self, tables_store: TablesStore, wanted: Record) -> None:
        fresh = wanted._replace(key=JournalKey(uuid.uuid4().hex, "ab12"))
        inserted = written(tables_store.insert(fresh))
        assert inserted == fresh._replace(version=inserted.version)
        assert tables_store.get(fresh.key) == inserted
        replaced = written(tables_store.replace(inserted))
        assert tables_store.get(fresh.key) == replaced

    def test_the_largest_record_is_created_and_replaced(self, tables_store: TablesStore) -> None:
        entry = Entry(
            "i" * 99,
            "t" * 2000,
            "s" * 2000,
            incompressible_text(EVENT_BYTES * 5 // 4),
            incompressible_text(REQUEST_BYTES * 5 // 4),
        )
        reason = incompressible_text(NOTES_BYTES * 5 // 4)
        inserted = written(tables_store.insert(record(entry=entry, reason=reason, run_url="u" * 2000)))
        assert tables_store.get(KEY) == inserted
        replaced = written(tables_store.replace(inserted._replace(state=State.QUEUED, run_id=5)))
        assert tables_store.get(KEY) == replaced

    def test_an_entity_of_another_program_is_reported(self, tables_store: TablesStore) -> None:
        tables_store.insert(record())
        client = tables_store._table._client
        client.upsert_entity({"PartitionKey": "route", "RowKey": "ab12", "state": "queued"}, mode=UpdateMode.REPLACE)
        with pytest.raises(UnreadableRecord, match=r"^the record ab12 of route route cannot be read"):
            tables_store.get(KEY)


class TestUnavailable:
    def test_it_fails_quickly_and_works_again_afterwards(self, tmp_path: Path) -> None:
        with Azurite(tmp_path) as azurite, closing(TablesStore(azurite.connection_string, no_identity)) as store:
            first = written(store.insert(record()))
            azurite.stop()
            began = time.monotonic()
            calls: list[Callable[[], object]] = [
                lambda: store.insert(record("cd34")),
                lambda: store.replace(first),
                lambda: store.get(KEY),
                lambda: list(store.may_own([1])),
            ]
            for call in calls:
                with pytest.raises(JournalUnavailable, match=f"journal at {azurite.url} does not answer: .*refused"):
                    call()
            assert time.monotonic() - began < 4 * retry_policy.CALL_SECONDS
            azurite.start()
            assert store.get(KEY) == first
            assert store.replace(first) is not None

    def test_a_server_that_never_answers_is_given_up_at_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry_policy, "CALL_SECONDS", 1.5)
        with (
            closing(socket.create_server(("127.0.0.1", 0))) as silent,
            closing(TablesStore(_local(silent.getsockname()[1]), no_identity)) as store,
        ):
            calls: list[Callable[[], object]] = [lambda: store.insert(record()), lambda: store.get(KEY)]
            for call in calls:
                began = time.monotonic()
                with pytest.raises(JournalUnavailable, match="timed out"):
                    call()
                assert 0.5 < time.monotonic() - began < 30

    def test_the_limit_leaves_time_in_a_delivery(self) -> None:
        """A claim and a completion fit into the 25 s of a delivery, even at their slowest."""
        assert retry_policy.CALL_SECONDS + retry_policy.MIN_REQUEST_SECONDS <= 10

    def test_missing_certificates_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry_policy, "PAUSES_SECONDS", ())
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
        connection = f"AccountName=a;AccountKey={CANARY_KEY};TableEndpoint=https://127.0.0.1:9/a"
        with (
            closing(TablesStore(connection, no_identity)) as store,
            pytest.raises(JournalUnavailable, match=r"/nowhere/ca\.pem"),
        ):
            store.get(KEY)


class Answer(NamedTuple):
    status: int
    body: str
    content_type: str = "text/html"
    breaks: bool = False
    """Whether the connection breaks before the end of the body."""
    headers: tuple[str, ...] = ()


class ScriptedServer:
    """Answers each request with the next answer, and repeats the last one. Its connections stay open."""

    store: TablesStore
    """A store that sends its requests to this server."""
    answers: list[Answer]
    asked = 0
    connections = 0

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        while connection.recv(1, socket.MSG_PEEK):
            read_request(connection)
            status, body, content_type, breaks, headers = self.answers[min(self.asked, len(self.answers) - 1)]
            self.asked += 1
            length = len(body) + (10 if breaks else 0)
            lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {length}"]
            lines += ["Location: http://127.0.0.1:9/elsewhere", *headers, "", body]
            connection.sendall("\r\n".join(lines).encode())
            if breaks:
                return


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setattr(retry_policy, "PAUSES_SECONDS", (0.01, 0.01))
    scripted = ScriptedServer()
    with server(scripted.serve) as url, closing(TablesStore(_local(urlsplit(url).port), no_identity)) as scripted.store:
        yield scripted


def odata(status: int, code: str, message: str = "No.") -> Answer:
    value = f"{message}\nRequestId:1"
    error = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": value}}}
    return Answer(status, json.dumps(error), "application/json")


def batch(part_status: int, code: str = "", *, breaks: bool = False, etag: str = "") -> Answer:
    part = odata(part_status, code, "0:No.").body if code else ""
    lines = ["--b", "Content-Type: multipart/mixed; boundary=c", "", "--c", "Content-Type: application/http"]
    lines += ["Content-Transfer-Encoding: binary", "", f"HTTP/1.1 {part_status} X", "Content-Type: application/json"]
    lines += [f"ETag: {etag}"] if etag else []
    lines += ["", part, "--c--", "--b--", ""]
    return Answer(202, "\r\n".join(lines), "multipart/mixed; boundary=b", breaks)


SIGN_IN = "<html>sign in</html>"
BUSY, GONE, NOT_ALLOWED = odata(503, "ServerBusy"), odata(404, "ResourceNotFound"), odata(403, "AuthenticationFailed")
TAKEN = batch(409, "EntityAlreadyExists")
LAST_PAGE = Answer(200, '{"value": []}', "application/json")
NO_LAST_PAGE = LAST_PAGE._replace(headers=("x-ms-continuation-NextPartitionKey: r",))
NO_ACCESS = r"refuses \(AuthenticationFailed\).*account key"
TOO_LARGE = r"refuses \(EntityTooLarge\).*check the setting JOURNAL_CONNECTION"


class TestBadAnswers:
    """Every bad answer leads to JournalUnavailable. After temporary failures, the request is sent three times."""

    @pytest.mark.parametrize(
        ("run_id", "answer", "asked", "message"),
        [
            (None, BUSY, 3, "does not answer"),
            (None, odata(500, "InternalError"), 3, "does not answer"),
            (None, odata(429, "OperationTimedOut"), 3, "does not answer"),
            (None, batch(204), 3, "does not answer"),
            (None, batch(204, breaks=True), 3, "does not answer"),
            (None, Answer(204, "", "text/plain"), 3, "does not answer"),
            (None, Answer(200, SIGN_IN), 3, "does not answer"),
            (None, Answer(202, SIGN_IN), 3, "does not answer"),
            (None, Answer(302, ""), 1, "refuses"),
            (None, NOT_ALLOWED, 1, NO_ACCESS),
            (None, odata(403, "AuthorizationPermissionMismatch"), 1, "Storage Table Data Contributor"),
            (None, odata(409, "TableBeingDeleted"), 1, "about a minute later"),
            (None, odata(400, "EntityTooLarge"), 1, TOO_LARGE),
            (None, Answer(413, "too large"), 1, "refuses"),
            (None, odata(400, "NewCode"), 1, r"refuses \(NewCode\): HttpResponseError: No; check the setting"),
            (5, BUSY, 3, "does not answer"),
            (5, batch(503, "ServerBusy"), 3, "does not answer"),
            (5, batch(204), 3, "does not answer"),
            (5, batch(204, breaks=True), 3, "does not answer"),
            (5, Answer(202, SIGN_IN), 3, "does not answer"),
            (5, NOT_ALLOWED, 1, NO_ACCESS),
            (5, batch(409, "TableBeingDeleted"), 1, "about a minute later"),
            (5, batch(400, "EntityTooLarge"), 1, TOO_LARGE),
        ],
    )
    def test_bad_answers_to_a_write(
        self, scripted: ScriptedServer, run_id: int | None, answer: Answer, asked: int, message: str
    ) -> None:
        """A write with a run is sent as a batch."""
        scripted.answers = [answer]
        with pytest.raises(JournalUnavailable, match=message) as caught:
            scripted.store.insert(record(run_id=run_id))
        assert scripted.asked == asked
        assert "\n" not in str(caught.value)
        assert scripted.store._table.endpoint in str(caught.value)

    @pytest.mark.parametrize(
        ("answer", "asked"),
        [
            (BUSY, 3),
            (Answer(200, '{"value": [', "application/json", breaks=True), 3),
            (Answer(200, "{nothing", "application/json"), 3),
            (NOT_ALLOWED, 1),
            (odata(400, "InvalidInput"), 1),
        ],
    )
    def test_bad_answers_to_a_read_and_a_delete(self, scripted: ScriptedServer, answer: Answer, asked: int) -> None:
        scripted.answers = [answer]
        calls: list[Callable[[], object]] = [
            lambda: scripted.store.get(KEY),
            lambda: list(scripted.store.may_own([1])),
            lambda: scripted.store.delete(record(version=ETAG)),
        ]
        for call in calls:
            scripted.asked = 0
            with pytest.raises(JournalUnavailable):
                call()
            assert scripted.asked == asked

    @pytest.mark.parametrize("status", [200, 202, 500])
    def test_the_connection_is_kept_after_any_answer(self, scripted: ScriptedServer, status: int) -> None:
        scripted.answers = [Answer(status, SIGN_IN * 10_000)]
        with pytest.raises(JournalUnavailable):
            scripted.store.insert(record(run_id=5))
        assert (scripted.asked, scripted.connections) == (3, 1)


class TestRareSequences:
    def test_a_table_that_is_being_deleted_is_not_waited_for(self, scripted: ScriptedServer) -> None:
        scripted.answers = [odata(404, "TableNotFound"), odata(409, "TableBeingDeleted")]
        with pytest.raises(JournalUnavailable, match="can be created again about a minute later"):
            scripted.store.insert(record())
        assert scripted.asked == 2

    def test_a_write_gives_up_if_the_table_keeps_vanishing(self, scripted: ScriptedServer) -> None:
        scripted.answers = [odata(404, "TableNotFound"), odata(409, "TableAlreadyExists")] * 5
        with pytest.raises(JournalUnavailable, match="could not be written in 4 attempts"):
            scripted.store.insert(record())
        assert scripted.asked == 8

    def test_a_marker_that_vanishes_is_created_again(self, scripted: ScriptedServer) -> None:
        scripted.answers = [TAKEN, GONE, GONE, batch(204, etag='W/"2"')]
        assert written(scripted.store.insert(record(run_id=5))).version == 'W/"2"'

    def test_a_record_that_vanishes_after_a_lost_answer_is_inserted_again(self, scripted: ScriptedServer) -> None:
        made = Answer(204, "", headers=('ETag: W/"2"',))
        scripted.answers = [BUSY, odata(409, "EntityAlreadyExists"), GONE, made]
        assert written(scripted.store.insert(record())).version == 'W/"2"'

    def test_an_etag_may_be_escaped_differently(self, scripted: ScriptedServer) -> None:
        stored = json.dumps({"odata.etag": ETAG.replace("%3A", ":"), "write_id": "another"})
        marker = json.dumps({"odata.etag": 'W/"1"', "owner": "cd34"})
        scripted.answers = [TAKEN, Answer(200, stored, "application/json"), Answer(200, marker, "application/json")]
        with pytest.raises(RunAlreadyOwned):
            scripted.store.replace(record(version=ETAG, run_id=5))

    @pytest.mark.parametrize(
        ("answer", "message"),
        [(BUSY, "does not answer"), (NO_LAST_PAGE, "more records than can be read in 0 s")],
        ids=["the request is not repeated", "no further page is read"],
    )
    def test_nothing_more_is_sent_when_the_time_is_over(
        self, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, answer: Answer, message: str
    ) -> None:
        monkeypatch.setattr(retry_policy, "CALL_SECONDS", 0.0)
        monkeypatch.setattr(retry_policy, "MIN_REQUEST_SECONDS", 30.0)
        scripted.answers = [answer, LAST_PAGE]
        with pytest.raises(JournalUnavailable, match=message):
            list(scripted.store.may_own([1]))
        assert scripted.asked == 1


def named(store: TablesStore, run_id: int) -> list[JournalKey]:
    """Return the keys of the records that name a run."""
    return [one.key for one in store.may_own([run_id]) if one.run_id == run_id]


def _local(port: int | None, key: str = PUBLIC_DEVELOPMENT_KEY) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
        f"TableEndpoint=http://127.0.0.1:{port}/devstoreaccount1"
    )


def _keyed(*parts: str) -> str:
    return ";".join((f"AccountName=acct;AccountKey={CANARY_KEY}", *parts))


class TestConnection:
    @pytest.mark.parametrize(
        ("connection", "endpoint"),
        [
            ("UseDevelopmentStorage=true", "http://127.0.0.1:10002/devstoreaccount1"),
            (" usedevelopmentstorage=true ; ", "http://127.0.0.1:10002/devstoreaccount1"),
            (_local(10102), "http://127.0.0.1:10102/devstoreaccount1"),
            (_keyed(), "https://acct.table.core.windows.net"),
            (_keyed("EndpointSuffix=core.chinacloudapi.cn"), "https://acct.table.core.chinacloudapi.cn"),
            (
                _keyed("TableEndpoint=https://acct.z01.table.storage.azure.net/"),
                "https://acct.z01.table.storage.azure.net",
            ),
            (_keyed("TableEndpoint=http://localhost:10002/a"), "http://localhost:10002/a"),
            (_keyed("TableEndpoint=http://[::1]:10002/a"), "http://[::1]:10002/a"),
        ],
    )
    def test_the_endpoint_of_a_connection_string(self, connection: str, endpoint: str) -> None:
        with closing(TablesStore(connection, no_identity)) as store:
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
    def test_the_endpoint_is_used_with_an_identity(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry_policy, "PAUSES_SECONDS", ())
        asked, identity = FaultyTransport(otherwise=never_sent), _Identity()
        with closing(TablesStore(url, lambda: identity, transport=asked)) as store:
            assert identity.scopes == [], "no token is requested before it is needed"
            with pytest.raises(JournalUnavailable, match=rf"the journal at {url.rstrip('/')} does not answer"):
                store.insert(record())
        (request,) = asked.requests
        assert request.url == f"{url.rstrip('/')}/nextstagejournal"
        assert request.headers["Authorization"] == f"Bearer {secret('token')}"
        assert identity.scopes == ["https://storage.azure.com/.default"]

    def test_a_failure_to_get_a_token_is_reported(self) -> None:
        refused = ClientAuthenticationError("no managed identity here\nlong story")
        store = TablesStore("https://myaccount.table.core.windows.net", lambda: _Identity(refused))
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
            (f"TableEndpoint=https://acct/;SharedAccessSignature=sig={secret('sas')}", "shared access signature"),
            (_keyed("TableEndpoint=http://azurite:10002/acct"), "http://azurite:10002 is not encrypted"),
            (_keyed("DefaultEndpointsProtocol=http"), "is not encrypted"),
            (_keyed("TableEndpoint=acct.table.core.windows.net"), "is not a URL"),
            (_keyed("TableEndpoint=https://"), "is not a URL"),
            (_keyed(f"TableEndpoint=https://x?sig={CANARY_KEY}"), "is not a URL"),
            (_keyed(f"TableEndpoint=https://u:{CANARY_KEY}@x"), "is not a URL"),
            ("http://myaccount.table.core.windows.net", "its URL is not a storage account's table endpoint"),
            ("http://127.0.0.1:10002/devstoreaccount1", "its URL is not a storage account's table endpoint"),
            ("https://myaccount.blob.core.windows.net", "its URL is not a storage account's table endpoint"),
            (f"https://myaccount.table.core.windows.net?sig={CANARY_KEY}", "its URL is not"),
            ("https://myaccount.table.core.windows.net/journal", "its URL is not"),
        ],
    )
    def test_an_unusable_connection_is_refused_without_showing_secrets(self, connection: str, problem: str) -> None:
        assert problem in (connection_problem(connection) or "")
        with pytest.raises(InvalidSettings, match="JOURNAL_CONNECTION cannot be used") as caught:
            TablesStore(connection, no_identity)
        assert leaks(str(caught.value)) == []


class _Identity:
    """An identity that returns a token, or raises an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.scopes += scopes
        if self._error is not None:
            raise self._error
        return AccessToken(secret("token"), int(time.time()) + 3600)


class TestSecrets:
    def test_a_wrong_key_is_not_shown(self, azurite: Azurite) -> None:
        with closing(TablesStore(_local(azurite.port, CANARY_KEY), no_identity)) as store:
            with pytest.raises(JournalUnavailable, match=r"\(AuthorizationFailure\).*check the account key") as caught:
                store.insert(record())
            shown = f"{caught.value!r} {caught.value.__cause__!r} {store!r} {vars(store)!r} {vars(store._table)!r}"
        assert leaks(str(caught.value)) == []
        assert leaks(shown.replace(repr(CANARY_KEY), "")) == []

    def test_a_key_in_the_librarys_message_is_masked(self) -> None:
        def talkative(send: Callable[[], Any]) -> Any:
            raise ServiceRequestError(f"I was given {CANARY_KEY}")

        with (
            closing(TablesStore(_keyed(), no_identity, transport=FaultyTransport(otherwise=talkative))) as store,
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
    def test_one_client_serves_many_threads(self, faulty: Faulty) -> None:
        """Each thread checks its own answers, so mixed-up requests or answers would be noticed."""

        def work(thread: int) -> bool:
            for number in range(10):
                key = f"{thread}-{number}"
                mine = written(faulty.store.insert(record(key, reason=key)))
                done = written(faulty.store.replace(mine._replace(run_id=thread * 100 + number + 1)))
                if faulty.store.get(mine.key) != done or done.reason != key:
                    return False
            return True

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(work, range(16)))


def test_the_service_selects_by_the_time_of_the_last_write(tables_store: TablesStore) -> None:
    for name in ("a", "b", "c"):
        tables_store.insert(record(name))
    tables_store.replace(written(tables_store.get(JournalKey("route", "a"))))
    found, _ = tables_store._table.page("", 10, None, 8.0)
    written_at = {stored.entity["RowKey"]: stored.entity.metadata["timestamp"] for stored in found}  # type: ignore[attr-defined]
    latest = max(written_at.values())
    assert {one.key.key for one in tables_store.select(Selection(written_since=written_at["a"]), 9)} >= {"a"}
    assert list(tables_store.select(Selection(written_since=latest + timedelta(seconds=1)), 9)) == []
