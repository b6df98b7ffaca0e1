"""The queue of what is due in the SQLite file of the journal, for one machine."""

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from shared.clock import Clock, utc_now
from shared.errors import JournalUnavailable, ResumeUnavailable
from shared.journal.records import JournalKey
from shared.journal.sqlite import SqliteStore
from shared.resume.queue import MAX_REASON, Due, DueQueue

MAX_TAKEN: Final = 5
"""A message that was taken so often without being finished is left alone until an operator hurries it."""

# A table of its own and no new version of the file, so that an earlier nextstage can still open it.
_SETUP: Final = (
    """CREATE TABLE IF NOT EXISTS due (
        id INTEGER PRIMARY KEY,
        due_at REAL NOT NULL,
        taken INTEGER NOT NULL DEFAULT 0,
        route TEXT NOT NULL,
        key TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS by_due_at ON due (due_at)",
)
_IS_SET_UP: Final = "SELECT 1 FROM sqlite_master WHERE name = 'by_due_at'"
_PUT: Final = "INSERT INTO due (id, due_at, route, key, reason) VALUES (?, ?, ?, ?, ?)"
_NEXT: Final = "SELECT id, due_at, taken, route, key FROM due WHERE due_at <= ? AND taken < ? ORDER BY due_at LIMIT 1"
_TAKE: Final = "UPDATE due SET due_at = ?, taken = taken + 1 WHERE id = ? AND due_at = ? AND taken = ?"
_MOVE: Final = "UPDATE due SET due_at = ?, taken = 0 WHERE id = ? AND taken = ?"
_DROP: Final = "DELETE FROM due WHERE id = ? AND taken = ?"
_DUE: Final = "SELECT route, key, due_at, taken, reason FROM due WHERE {} ORDER BY due_at LIMIT ?"
_HURRY: Final = "UPDATE due SET due_at = ?, taken = 0"
_NAMED: Final = " WHERE json_array(route, key) IN (SELECT json(value) FROM json_each(?))"


class Taken(NamedTuple):
    """A message in work. Its ticket is valid until the lease ends."""

    ticket: str
    key: JournalKey


class SqliteQueue(DueQueue):
    """The table of messages. Safe for many threads and processes."""

    def __init__(self, store: SqliteStore, lease: timedelta, clock: Clock = utc_now) -> None:
        """
        :param lease: for how long a message that was taken is invisible. Longer than a claim.
        :raises ResumeUnavailable: the table cannot be created.
        """
        self._store = store
        self._lease = lease
        self._clock = clock
        with _errors():
            if not store.is_reader and not store.query(_IS_SET_UP):
                for statement in _SETUP:
                    store.execute(statement)

    def put(self, key: JournalKey, after: timedelta, reason: str) -> str:
        number = int.from_bytes(os.urandom(7))
        with _errors():
            self._store.execute(_PUT, (number, self._at(after), key.route, key.key, reason[:MAX_REASON]))
        return f"{number}.0"

    def move(self, ticket: str, after: timedelta) -> bool:
        with _errors():
            return self._store.execute(_MOVE, (self._at(after), *_numbers(ticket))) == 1

    def drop(self, ticket: str) -> None:
        with _errors():
            self._store.execute(_DROP, _numbers(ticket))

    def due(self, limit: int, key: JournalKey | None = None) -> Iterator[Due]:
        sql = _DUE.format("TRUE" if key is None else "route = ? AND key = ?")
        with _errors():
            rows = self._store.query(sql, (*(key or ()), limit)) if self._store.query(_IS_SET_UP) else []
        for route, name, due_at, taken, reason in rows:
            yield Due(JournalKey(route, name), datetime.fromtimestamp(due_at, UTC), taken, reason)

    def hurry(self, keys: Collection[JournalKey] | None = None) -> int:
        now = self._at(timedelta())
        with _errors():
            if keys is None:
                return self._store.execute(_HURRY, (now,))
            names = json.dumps([list(key) for key in keys], ensure_ascii=False)
            return self._store.execute(_HURRY + _NAMED, (now, names))

    def take(self) -> Taken | None:
        """Take the message that has been due for longest, or None if nothing is due."""
        with _errors():
            while found := self._store.query(_NEXT, (self._at(timedelta()), MAX_TAKEN)):
                number, due_at, taken, route, key = found[0]
                if self._store.execute(_TAKE, (self._at(self._lease), number, due_at, taken)):
                    return Taken(f"{number}.{taken + 1}", JournalKey(route, key))
                # Another worker has taken it in the meantime.
        return None

    def close(self) -> None:
        """Do nothing: the journal closes its file."""

    def _at(self, after: timedelta) -> float:
        return (self._clock() + after).timestamp()


def _numbers(ticket: str) -> tuple[int, int]:
    """Return the number of the message, and how often it was taken: another worker's ticket changes nothing."""
    number, _, taken = ticket.partition(".")
    return int(number), int(taken)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except JournalUnavailable as exc:
        raise ResumeUnavailable(str(exc)) from exc
