"""Records that were stored before records had a document: the current version reads and rewrites them."""

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.journal.cooldown import Cooldowns, Covered, Window
from shared.journal.records import NO_EVENT, Entry, JournalKey, Record, State
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.entities import record_from_entity, record_to_entity

NOW = datetime(2026, 11, 20, 12, 0, 0, 123456, UTC)
INSERT = (
    "INSERT INTO records (route, key, version, state, run_id, claimed_at, event, document) VALUES (?,?,?,?,?,?,?,?)"
)


class Earlier(NamedTuple):
    """A record that has its document in a field of an event, or is about an event."""

    key: JournalKey
    fields: Entry
    document: str = ""


RECORDS = {
    "event": Earlier(JournalKey("route", "ab"), Entry("id", "type", "subject", '{"a": "ü"}', '{"request": 1}')),
    "unrouted": Earlier(JournalKey("$unrouted", "ab"), Entry("", "", "", "{nonsense")),
    "window": Earlier(JournalKey("$cooldown.route", "cd"), Entry("ab", "", "", ""), "ab"),
    "wait": Earlier(JournalKey("$wait.hash", "ef"), Entry("task", "", "run-1", "", "{wait}"), "{wait}"),
    "end": Earlier(JournalKey("$ended.hash", "ef"), Entry("event-1", "Run", "run-1", "", "{end}"), "{end}"),
    "task": Earlier(JournalKey("$task", "ef"), Entry("task", "", '["run-1", null]', ""), '["run-1", null]'),
}


def check(kind: str, record: Record | None) -> Record:
    """Check that the record is unchanged, except that its document has moved to its own field."""
    assert record is not None
    earlier = RECORDS[kind]
    assert (record.entry, record.document) == (NO_EVENT if earlier.document else earlier.fields, earlier.document)
    assert (record.state, record.run_url, record.reason, record.history[0].note) == (State.QUEUED, "url", "why", "note")
    return record


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "journal.sqlite3")) as opened:
        yield opened


def insert_row(path: Path, earlier: Earlier, **changes: Any) -> None:
    entry = {name: getattr(earlier.fields, name) for name in ("event_id", "event_type", "subject", "request")}
    history = [[NOW.isoformat(), "queued", "note"]]
    document = {"entry": entry, "lease_until": NOW.isoformat(), "settled_at": NOW.isoformat()}
    row = {
        "route": earlier.key.route,
        "key": earlier.key.key,
        "version": 3,
        "state": "queued",
        "run_id": 5,
        "claimed_at": "2026-11-20T12:00:00.123456+00:00",
        "event": earlier.fields.event,
        "document": json.dumps({**document, "run_url": "url", "reason": "why", "history": history}),
    }
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(INSERT, [*(row | changes).values()])


@pytest.mark.parametrize("kind", RECORDS)
def test_a_row_in_the_earlier_form_is_read(store: SqliteStore, tmp_path: Path, kind: str) -> None:
    earlier = RECORDS[kind]
    insert_row(tmp_path / "journal.sqlite3", earlier)
    found = check(kind, store.get(earlier.key))
    assert found.run_id == 5
    replaced = store.replace(found)
    assert replaced is not None
    assert store.get(earlier.key) == replaced


@pytest.mark.parametrize("kind", RECORDS)
def test_an_entity_in_the_earlier_form_is_read(kind: str) -> None:
    earlier = RECORDS[kind]
    entry = {name: getattr(earlier.fields, name) for name in ("event_id", "event_type", "subject")}
    notes = {"entry": entry, "run_url": "url", "reason": "why", "history": [[NOW.isoformat(), "queued", "note"]]}
    entity = {
        "state": "queued",
        "claimed_at": NOW,
        "lease_until": NOW,
        "settled_at": NOW,
        "event0": zlib.compress(earlier.fields.event.encode()),
        "request0": zlib.compress(earlier.fields.request.encode()),
        "notes0": zlib.compress(json.dumps(notes, ensure_ascii=False).encode()),
    }
    found = check(kind, record_from_entity(earlier.key, entity, "v"))
    assert record_from_entity(earlier.key, record_to_entity(found, "w"), "v") == found


def test_a_window_in_the_earlier_form_covers_other_occurrences(store: SqliteStore, tmp_path: Path) -> None:
    """The window's key is the hash of the empty string. The holder's run was queued an hour ago."""
    key = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    path = tmp_path / "journal.sqlite3"
    insert_row(path, RECORDS["event"])
    insert_row(path, RECORDS["window"], key=key, run_id=None)
    cooldowns = Cooldowns(store, lambda: NOW + timedelta(hours=1))
    window = Window("", timedelta(hours=2))
    assert isinstance(cooldowns.peek(JournalKey("route", "other"), window), Covered)
    assert cooldowns.peek(JournalKey("route", "ab"), window) is None, "its holder may enter it again"
