"""Journals in SQLite files for the pages: many records about events, at chosen times."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.events.event import AML_PREFIX
from shared.journal.records import Entry, Record, State, Step
from shared.journal.sqlite import SqliteStore, row_of
from tests.support.builders import event_text
from tests.support.journal.records import NOW, record

_INSERT = (
    "INSERT INTO records (version, state, run_id, claimed_at, event, document, shares_run, route, key)"
    " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def event_record(number: int, state: State = State.QUEUED, ago: timedelta = timedelta(), **changes: Any) -> Record:
    """Return the record of the RunCompleted event of run ``run-<number>``, claimed some time before ``NOW``.

    A queued one has the run with this number, and was queued 2 s after its event.
    """
    at = NOW - ago
    data = {"experimentName": "train", "runId": f"run-{number}"}
    raw = event_text("RunCompleted", data, id=f"event-{number}", eventTime=(at - timedelta(seconds=2)).isoformat())
    fresh = record(
        f"{number:064x}",
        "evaluate",
        state=state,
        claimed_at=at,
        lease_until=at,
        run_id=number if state is State.QUEUED else None,
        entry=Entry(f"event-{number}", f"{AML_PREFIX}RunCompleted", f"experiments/x/runs/run-{number}", raw),
        history=(Step(at, State.CLAIMED, ""), Step(at, state, "")),
    )
    return fresh._replace(**changes)


def journal_file(path: Path, records: Iterable[Record]) -> SqliteStore:
    """Return a reader of a new journal with these records."""
    SqliteStore(path).close()
    rows = [row_of(each) for each in records]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.executemany(_INSERT, rows)
        connection.execute("COMMIT")
    return SqliteStore(path, is_reader=True)


def change(store: SqliteStore, sql: str, *parameters: Any) -> None:
    """Change the file as another program could."""
    with store.reading() as connection:
        connection.execute(sql, parameters)
