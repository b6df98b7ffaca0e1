"""A journal of 0.1.0 is upgraded, used, and used by 0.1.0 again after a roll-back. No record is lost on the way."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
from azure.data.tables import UpdateMode

from shared.errors import RunAlreadyOwned
from shared.journal.cooldown import Cooldowns, Covered, Window
from shared.journal.journal import AlreadyFinal, Claimed, Journal
from shared.journal.records import NO_EVENT, Entry, JournalKey, Record, Selection, State, Step, Store
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.store import TablesStore
from tests.support.journal import version_0_1_0
from tests.support.journal.records import NOW, record, written

EVENT = Entry("id", "type", "subject", '{"a": "ü"}', '{"request": 1}')
LATER = NOW + timedelta(hours=1)
RUN_KEY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The key of a cooldown window of a whole route: the hash of the empty string."""


class Earlier(NamedTuple):
    """A record of 0.1.0. If it is not about an event, it has its document in a field of the entry."""

    record: Record
    document: str = ""

    @property
    def now(self) -> Record:
        """The record as it is read today."""
        return self.record._replace(entry=NO_EVENT, document=self.document) if self.document else self.record


def earlier(route: str, key: str, state: State, entry: Entry, document: str = "", run_id: int | None = None) -> Earlier:
    steps = (Step(NOW, State.CLAIMED, ""), Step(NOW, state, "note"))
    changes = {"run_id": run_id, "run_url": "url" if run_id else "", "reason": "why"}
    return Earlier(record(key, route, state=state, entry=entry, history=steps, **changes), document)


OF_EVENTS = {
    state: earlier("route", f"{number:064x}", state, EVENT, run_id=500 if state is State.QUEUED else None)
    for number, state in enumerate(State)
}
OTHERS = [
    earlier("$unrouted", "ab", State.PARKED, Entry("", "", "", "{nonsense")),
    earlier("$cooldown.route", RUN_KEY, State.QUEUED, Entry(OF_EVENTS[State.QUEUED].record.key.key, "", "", ""),
            OF_EVENTS[State.QUEUED].record.key.key),
    earlier("$wait.hash", "ef", State.WAITING, Entry("task", "", "run-1", "", "{wait}"), "{wait}"),
    earlier("$wait.hash", "gh", State.COMPLETED, Entry("task", "", "run-1", "", "{wait}"), "{wait}"),
    earlier("$ended.hash", "ef", State.NOTED, Entry("event-1", "Run", "run-1", "", "{end}"), "{end}"),
    earlier("$task", "ef", State.NOTED, Entry("task", "", '["run-1", null]', ""), '["run-1", null]'),
]  # fmt: skip
ALL = [*OF_EVENTS.values(), *OTHERS]


class Journal010(Protocol):
    """A journal that both versions can open."""

    def open(self) -> Store:
        """Open it with the current version."""

    def old_insert(self, records: Iterable[Record]) -> None:
        """Write records as 0.1.0 did."""

    def old_replace(self, changed: Record) -> bool:
        """Replace a record as 0.1.0 did, and return whether it was replaced."""

    def old_select(self) -> dict[JournalKey, Record]:
        """Read all records as 0.1.0 did."""


class File:
    """A journal in SQLite."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: list[SqliteStore] = []

    def open(self) -> Store:
        self._opened.append(SqliteStore(self._path))
        return self._opened[-1]

    def old_insert(self, records: Iterable[Record]) -> None:
        with self._old() as connection:
            assert all(version_0_1_0.insert(connection, each) for each in records)

    def old_replace(self, changed: Record) -> bool:
        with self._old() as connection:
            return version_0_1_0.update(connection, changed) == 1

    def old_select(self) -> dict[JournalKey, Record]:
        with self._old() as connection:
            return version_0_1_0.select(connection)

    def close(self) -> None:
        for store in self._opened:
            store.close()

    def _old(self) -> "closing[sqlite3.Connection]":
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.executescript(version_0_1_0.SCHEMA)
        return closing(connection)


class Table:
    """A journal in Azure Tables. Its table exists."""

    def __init__(self, store: TablesStore) -> None:
        self._store = store
        store._table.create(5)
        self._client = store._table._client

    def open(self) -> Store:
        return self._store

    def old_insert(self, records: Iterable[Record]) -> None:
        for each in records:
            self._client.create_entity(version_0_1_0.record_to_entity(each, "w"))
            if each.run_id is not None:
                self._client.create_entity(version_0_1_0.marker(each))

    def old_replace(self, changed: Record) -> bool:
        self._client.update_entity(version_0_1_0.record_to_entity(changed, "w"), mode=UpdateMode.REPLACE)
        return True

    def old_select(self) -> dict[JournalKey, Record]:
        found = self._client.query_entities("RowKey lt 'run:' or RowKey ge 'run;'")
        keyed = ((JournalKey(one["PartitionKey"], one["RowKey"]), one) for one in found)
        return {key: version_0_1_0.record_from_entity(key, one, "") for key, one in keyed}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    with closing(File(tmp_path / "journal.sqlite3")) as opened:
        yield opened


@pytest.fixture
def table(tables_store: TablesStore) -> Table:
    return Table(tables_store)


@pytest.fixture(params=["file", "table"])
def journal(request: pytest.FixtureRequest) -> Journal010:
    """A journal with the records of 0.1.0."""
    found: Journal010 = request.getfixturevalue(request.param)
    found.old_insert(each.record for each in ALL)
    return found


def all_records(store: Store) -> dict[JournalKey, Record]:
    return {found.key: found._replace(version="") for found in store.select(Selection(), 100)}


def test_every_record_is_read(journal: Journal010) -> None:
    store = journal.open()
    expected = {each.record.key: each.now for each in ALL}
    assert all_records(store) == expected
    assert {key: written(store.get(key))._replace(version="") for key in expected} == expected


def test_every_state_means_the_same(journal: Journal010) -> None:
    """Final records stay final. A claim of a host that died is taken over in doubt."""
    claims = Journal(journal.open(), clock=lambda: LATER)
    found = {}
    for state, each in OF_EVENTS.items():
        claim = claims.claim(each.record.key, EVENT, LATER)
        assert isinstance(claim, Claimed | AlreadyFinal)
        found[state] = claim.record.state
    final = {state: state for state in State if state not in {State.CLAIMED, State.RELEASED, State.WAITING}}
    assert found == final | {
        State.CLAIMED: State.UNCERTAIN,
        State.RELEASED: State.CLAIMED,
        State.WAITING: State.CLAIMED,
    }


def test_a_cooldown_window_still_covers_other_occurrences(journal: Journal010) -> None:
    cooldowns = Cooldowns(journal.open(), lambda: LATER)
    window = Window("", timedelta(hours=2))
    assert isinstance(cooldowns.peek(JournalKey("route", "other"), window), Covered)
    assert cooldowns.peek(OF_EVENTS[State.QUEUED].record.key, window) is None, "its holder may enter it again"


def test_a_run_still_has_one_owner(journal: Journal010) -> None:
    store = journal.open()
    mine = written(store.insert(record("ab")))
    with pytest.raises(RunAlreadyOwned):
        store.replace(mine._replace(run_id=500))
    assert written(store.replace(mine._replace(run_id=500, shares_run_id=True))).run_id == 500
    assert {found.run_id for found in store.may_own([500]) if found.run_id} == {500}


def test_a_rolled_back_version_reads_every_record(journal: Journal010) -> None:
    """Also those that the current version has changed, and new ones with fields that 0.1.0 does not know."""
    store = journal.open()
    for stored in list(store.select(Selection(), 100)):
        written(store.replace(stored._replace(reason="upgraded", lost_until=NOW, sender="ab")))
    written(store.insert(record("ab", state=State.QUEUED, run_id=500, shares_run_id=True)))
    found = journal.old_select()
    assert len(found) == len(ALL) + 1
    assert {one.reason for one in found.values()} == {"upgraded", ""}
    for each in OF_EVENTS.values():
        old = found[each.record.key]
        assert old._replace(version="", reason="why") == each.record
    for each in OTHERS:
        entry = found[each.record.key].entry
        in_old_place = {"$cooldown": entry.event_id, "$task": entry.subject, "$unrouted": ""}
        assert in_old_place.get(each.record.key.route.partition(".")[0], entry.request) == each.document
    assert found[JournalKey("route", "ab")].run_id == 500


def test_what_a_rolled_back_version_writes_is_read_after_another_upgrade(journal: Journal010) -> None:
    store = journal.open()
    claimed = OF_EVENTS[State.CLAIMED].record
    written(store.replace(written(store.get(claimed.key))._replace(lost_until=NOW)))
    changed = journal.old_select()[claimed.key]._replace(state=State.QUEUED, run_id=7, run_url="seven")
    assert journal.old_replace(changed)
    new = record("cd", reason="written by 0.1.0")
    journal.old_insert([new])
    again = all_records(journal.open())
    assert again[new.key] == new
    assert again[claimed.key] == changed._replace(version=""), "0.1.0 does not keep the new field"


class TestBetween:
    """Records that are not about an event, as versions between 0.1.0 and schema 1 wrote them: without an entry."""

    KEY = JournalKey("$wait.hash", "ef")

    def test_a_row(self, file: File, tmp_path: Path) -> None:
        store = file.open()
        stored = written(store.insert(record(*reversed(self.KEY), entry=NO_EVENT, document="{wait}")))
        with closing(sqlite3.connect(tmp_path / "journal.sqlite3")) as connection, connection:
            connection.execute(
                "UPDATE records SET document = json_set(json_remove(document, '$.entry', '$.schema'), '$.document', ?)",
                ["{wait}"],
            )
        assert store.get(self.KEY) == stored

    def test_an_entity(self, table: Table) -> None:
        store = table.open()
        stored = written(store.insert(record(*reversed(self.KEY), entry=NO_EVENT, document="{wait}")))
        entity = table._client.get_entity(*self.KEY)
        notes = json.loads(zlib.decompress(entity["notes0"]))
        del notes["entry"], entity["event0"], entity["request0"], entity["schema"]
        packed = {"document0": zlib.compress(b"{wait}"), "notes0": zlib.compress(json.dumps(notes).encode())}
        table._client.update_entity({**entity, **packed}, mode=UpdateMode.REPLACE)
        assert written(store.get(self.KEY))._replace(version=stored.version) == stored
