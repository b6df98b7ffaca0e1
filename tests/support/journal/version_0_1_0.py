"""How nextstage 0.1.0 (commit 9859399) stored records: its statements, and how it wrote and read rows and entities.

The code is as it was then; only comments were left out. It uses the fields of ``Record`` that existed then.
"""

import json
import sqlite3
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count, takewhile
from typing import Any, Final

from shared.journal.records import Entry, JournalKey, Record, State, Step

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    run_id INTEGER,
    claimed_at TEXT NOT NULL,
    event TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (route, key)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_record_per_run ON records (route, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_state_and_age ON records (state, claimed_at);
"""
_SELECT: Final = "SELECT route, key, version, state, run_id, claimed_at, event, document FROM records"
_INSERT: Final = (
    "INSERT INTO records (version, state, run_id, claimed_at, event, document, route, key)"
    " VALUES (1, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (route, key) DO NOTHING"
)
_UPDATE: Final = (
    "UPDATE records SET version = version + 1, state = ?, run_id = ?, claimed_at = ?, event = ?, document = ?"
    " WHERE route = ? AND key = ? AND version = ?"
)


def insert(connection: sqlite3.Connection, record: Record) -> int:
    return connection.execute(_INSERT, _row(record)).rowcount


def update(connection: sqlite3.Connection, record: Record) -> int:
    return connection.execute(_UPDATE, (*_row(record), int(record.version))).rowcount


def select(connection: sqlite3.Connection) -> dict[JournalKey, Record]:
    found = map(_record, connection.execute(_SELECT).fetchall())
    return {record.key: record for record in found}


def _row(record: Record) -> tuple[Any, ...]:
    entry = record.entry
    document = {
        "entry": {
            "event_id": entry.event_id,
            "event_type": entry.event_type,
            "subject": entry.subject,
            "request": entry.request,
        },
        "lease_until": record.lease_until.isoformat(),
        "settled_at": record.settled_at.isoformat(),
        "run_url": record.run_url,
        "reason": record.reason,
        "history": [(step.at.isoformat(), step.state, step.note) for step in record.history],
    }
    return (
        record.state.value,
        record.run_id,
        record.claimed_at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.event,
        json.dumps(document),
        record.key.route,
        record.key.key,
    )


def _record(row: tuple[Any, ...]) -> Record:
    route, key, version, state, run_id, claimed_at, event, text = row
    document = json.loads(text)
    return Record(
        key=JournalKey(route, key),
        state=State(state),
        version=str(version),
        entry=Entry(event=event, **document["entry"]),
        claimed_at=datetime.fromisoformat(claimed_at),
        lease_until=datetime.fromisoformat(document["lease_until"]),
        settled_at=datetime.fromisoformat(document["settled_at"]),
        run_id=run_id,
        run_url=document["run_url"],
        reason=document["reason"],
        history=tuple(Step(datetime.fromisoformat(at), State(step), note) for at, step, note in document["history"]),
    )


def record_to_entity(record: Record, write_id: str) -> dict[str, Any]:
    entity: dict[str, Any] = {
        "PartitionKey": record.key.route,
        "RowKey": record.key.key,
        "write_id": write_id,
        "state": record.state.value,
        "claimed_at": record.claimed_at.astimezone(UTC),
        "lease_until": record.lease_until.astimezone(UTC),
        "settled_at": record.settled_at.astimezone(UTC),
        "event0": zlib.compress(record.entry.event.encode("utf-8", "surrogatepass")),
        "request0": zlib.compress(record.entry.request.encode("utf-8", "surrogatepass")),
        "notes0": _packed_notes(record),
        "event_type": record.entry.event_type,
        "subject": record.entry.subject,
        "reason": record.reason,
        "run_url": record.run_url,
    }
    if record.run_id is not None:
        entity["run_id"] = (record.run_id, "Edm.Int64")
    return entity


def marker(record: Record) -> dict[str, Any]:
    return {"PartitionKey": record.key.route, "RowKey": f"run:{record.run_id:019d}", "owner": record.key.key}


def record_from_entity(key: JournalKey, entity: Mapping[str, Any], version: str) -> Record:
    notes = json.loads(_unpacked("notes", entity))
    return Record(
        key=key,
        state=State(entity["state"]),
        entry=Entry(**notes["entry"], event=_unpacked("event", entity), request=_unpacked("request", entity)),
        claimed_at=_plain(entity["claimed_at"]),
        lease_until=_plain(entity["lease_until"]),
        settled_at=_plain(entity["settled_at"]),
        version=version,
        run_id=entity["run_id"][0] if "run_id" in entity else None,
        run_url=notes["run_url"],
        reason=notes["reason"],
        history=tuple(Step(datetime.fromisoformat(at), State(state), note) for at, state, note in notes["history"]),
    )


def _packed_notes(record: Record) -> bytes:
    entry = record.entry
    notes: dict[str, Any] = {
        "entry": {"event_id": entry.event_id, "event_type": entry.event_type, "subject": entry.subject},
        "run_url": record.run_url,
        "reason": record.reason,
        "history": [[step.at.isoformat(), step.state.value, step.note] for step in record.history],
    }
    return zlib.compress(json.dumps(notes, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _unpacked(name: str, entity: Mapping[str, Any]) -> str:
    names = takewhile(entity.__contains__, (f"{name}{index}" for index in count()))
    return zlib.decompress(b"".join(entity[part] for part in names)).decode("utf-8", "surrogatepass")


def _plain(moment: datetime) -> datetime:
    return datetime.fromisoformat(moment.isoformat())
