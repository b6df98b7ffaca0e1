"""Records that were written before records had a document: an upgrade in place reads them, and writes them anew."""

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.events.event import RunEnd
from shared.journal.cooldown import Cooldowns, Covered, Window
from shared.journal.records import NO_EVENT, Entry, JournalKey, Record, State
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.entities import record_from_entity, record_to_entity
from shared.waits.wait import Wait, read_end, run_of_task

NOW = datetime(2026, 11, 20, 12, 0, 0, 123456, UTC)
TASK = {
    "plan_url": "https://dev.azure.com/contoso",
    "project_id": "project",
    "hub_name": "build",
    "plan_id": "plan",
    "job_id": "job",
    "timeline_id": "timeline",
    "task_instance_id": "task",
}
WAIT = {
    "task": TASK,
    "run_id": "run-1",
    "workspace": None,
    "registered_at": NOW.isoformat(),
    "sealed_token": "sealed",
    "proven": True,
}
INSERT = (
    "INSERT INTO records (route, key, version, state, run_id, claimed_at, event, document) VALUES (?,?,?,?,?,?,?,?)"
)
END = {"workspace": "ws", "run_id": "run-1", "status": "Completed"}


class Earlier(NamedTuple):
    """The fields of an event that a record used to have, and what they mean."""

    key: JournalKey
    event_id: str = ""
    event_type: str = ""
    subject: str = ""
    event: str = ""
    request: str = ""
    entry: Entry = NO_EVENT
    document: str = ""


RECORDS = {
    "event": Earlier(
        JournalKey("route", "ab"),
        *("id", "type", "subject", '{"a": "ü"}', '{"request": 1}'),
        entry=Entry("id", "type", "subject", '{"a": "ü"}', '{"request": 1}'),
    ),
    "unrouted": Earlier(JournalKey("$unrouted", "ab"), event="{nonsense", entry=Entry("", "", "", "{nonsense")),
    "window": Earlier(JournalKey("$cooldown.route", "cd"), event_id="ab", document="ab"),
    "wait": Earlier(
        JournalKey("$wait.hash", "ef"),
        *("task", "", "run-1", "", json.dumps(WAIT, separators=(",", ":"))),
        document=json.dumps(WAIT, separators=(",", ":")),
    ),
    "end": Earlier(
        JournalKey("$ended.hash", "ef"),
        *("event-1", "RunCompleted", "run-1", "", json.dumps(END)),
        document=json.dumps(END),
    ),
    "task": Earlier(JournalKey("$task", "ef"), "task", "", '["run-1", null]', document='["run-1", null]'),
}


def check_meaning(kind: str, record: Record) -> None:
    """What the owners of the documents read in them."""
    match kind:
        case "wait":
            wait = Wait.of(record)
            assert (wait.run_id, wait.sealed_token, wait.task.hub_name) == ("run-1", "sealed", "build")
        case "end":
            assert read_end(record) == RunEnd("ws", "run-1", "Completed")
        case "task":
            assert run_of_task(record) == "run-1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "journal.sqlite3")) as opened:
        yield opened


def insert_row(path: Path, earlier: Earlier, **changes: Any) -> None:
    entry = {name: getattr(earlier, name) for name in ("event_id", "event_type", "subject", "request")}
    history = [[NOW.isoformat(), "queued", "note"]]
    document = {"entry": entry, "lease_until": NOW.isoformat(), "settled_at": NOW.isoformat()}
    row = {
        "route": earlier.key.route,
        "key": earlier.key.key,
        "version": 3,
        "state": "queued",
        "run_id": 5,
        "claimed_at": "2026-11-20T12:00:00.123456+00:00",
        "event": earlier.event,
        "document": json.dumps({**document, "run_url": "url", "reason": "why", "history": history}),
    }
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(INSERT, [*(row | changes).values()])


@pytest.mark.parametrize("kind", RECORDS)
def test_a_row(store: SqliteStore, tmp_path: Path, kind: str) -> None:
    earlier = RECORDS[kind]
    insert_row(tmp_path / "journal.sqlite3", earlier)
    found = store.get(earlier.key)
    assert found is not None
    assert (found.entry, found.document) == (earlier.entry, earlier.document)
    assert (found.state, found.run_id, found.run_url, found.reason) == (State.QUEUED, 5, "url", "why")
    check_meaning(kind, found)
    replaced = store.replace(found)
    assert replaced is not None
    assert store.get(earlier.key) == replaced


@pytest.mark.parametrize("kind", RECORDS)
def test_an_entity(kind: str) -> None:
    earlier = RECORDS[kind]
    entry = {name: getattr(earlier, name) for name in ("event_id", "event_type", "subject")}
    notes = {"entry": entry, "run_url": "url", "reason": "why", "history": [[NOW.isoformat(), "queued", "note"]]}
    entity = {
        "state": "queued",
        "claimed_at": NOW,
        "lease_until": NOW,
        "settled_at": NOW,
        "event0": zlib.compress(earlier.event.encode()),
        "request0": zlib.compress(earlier.request.encode()),
        "notes0": zlib.compress(json.dumps(notes, ensure_ascii=False).encode()),
    }
    found = record_from_entity(earlier.key, entity, "v")
    assert (found.entry, found.document) == (earlier.entry, earlier.document)
    assert (found.state, found.run_url, found.reason, found.history[0].note) == (State.QUEUED, "url", "why", "note")
    check_meaning(kind, found)
    assert record_from_entity(earlier.key, record_to_entity(found, "w"), "v") == found


def test_a_window_still_covers_other_occurrences(store: SqliteStore, tmp_path: Path) -> None:
    """Its key is the hash of the empty window key, its holder's run was queued an hour ago."""
    key = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    path = tmp_path / "journal.sqlite3"
    insert_row(path, RECORDS["event"])
    insert_row(path, RECORDS["window"], key=key, run_id=None)
    cooldowns = Cooldowns(store, lambda: NOW + timedelta(hours=1))
    window = Window("", timedelta(hours=2))
    assert isinstance(cooldowns.look(JournalKey("route", "other"), window), Covered)
    assert cooldowns.look(JournalKey("route", "ab"), window) is None, "its holder may enter it again"
