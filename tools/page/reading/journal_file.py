"""A file with the schema of the SQLite journal, and queries on its index of states and times."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from heapq import merge
from typing import Any, Final, NamedTuple

from shared.errors import UnreadableRecord
from shared.journal.records import UNROUTED, JournalKey, Record, State
from shared.journal.sqlite import SqliteStore, columns_to_read
from shared.journal.stored_form import Found

DEFERRED_STATES: Final = (State.CLAIMED, State.UNCERTAIN, State.RELEASED)
EVENT_STATES: Final = (*DEFERRED_STATES, State.QUEUED, State.SUPPRESSED, State.GATHERED, State.PARKED)
"""The states of records about events. Records about other things may have some of them, too."""

BY_AGE: Final = "records INDEXED BY by_state_and_age"
ABOUT_EVENTS: Final = f"((route >= '%' OR route = '{UNROUTED}') AND key >= '%')"
"""The records about events: neither their partition nor their key begins with ``$``; see ``JournalKey``."""

MAX_NUMBERED: Final = 10_000

FIRST_TIME: Final = ""
LAST_TIME: Final = "~"
"""Sort before and after all times."""


class Position(NamedTuple):
    """The place of a record in a list that has the newest claim first.

    :param claimed_at: as the file has it, which sorts like the time.
    """

    claimed_at: str
    route: str
    key: str


class Row(NamedTuple):
    """What a query learns of a record without reading it.

    :param is_hit: whether the record is one of those that are wanted.
    """

    position: Position
    rowid: int
    state: str
    is_hit: bool


class Condition(NamedTuple):
    """A condition in SQL on one record, with the values of its parameters."""

    sql: str = ABOUT_EVENTS
    parameters: tuple[str | int, ...] = ()

    def and_also(self, sql: str, *parameters: str | int) -> "Condition":
        """Return this condition with another one that must hold too. It is evaluated only if this one holds."""
        return Condition(f"CASE WHEN {self.sql} THEN {sql} ELSE 0 END", (*self.parameters, *parameters))


class JournalFile:
    """A file with the schema of the SQLite journal. Safe for many threads: each query has a connection of its own."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    @contextmanager
    def moment(self) -> Iterator["Moment"]:
        """Read the file as it is at one moment. An empty file has no records.

        :raises JournalUnavailable: the file does not answer.
        """
        with self._store.reading() as connection:
            connection.text_factory = _text
            connection.execute("BEGIN")
            yield Moment(connection, is_empty=columns_to_read(connection) is None)

    def records(self, rows: Sequence[Row], *, with_events: bool = False) -> list[Found]:
        """Return the records of rows, in this order. One that was removed meanwhile is missing.

        :param with_events: False leaves the texts of their events empty.
        :raises JournalUnavailable: the file does not answer.
        """
        wanted = json.dumps([row.rowid for row in rows])
        found = self._store.found("rowid IN (SELECT value FROM json_each(?))", wanted, with_events=with_events)
        by_key = {tuple(key_of(one)): one for one in found}
        return [by_key[row.position[1:]] for row in rows if row.position[1:] in by_key]


class Moment:
    """The file at one moment."""

    def __init__(self, connection: sqlite3.Connection, *, is_empty: bool) -> None:
        self._connection = connection
        self._is_empty = is_empty

    def query(self, sql: str, parameters: Sequence[str | int] = ()) -> Iterator[Any]:
        """Yield the rows of a query, as they are needed."""
        return iter(()) if self._is_empty else iter(self._connection.execute(sql, parameters))

    def number(self, sql: str, parameters: Sequence[str | int] = ()) -> int:
        """Return the number that a query finds; 0 if the file is empty."""
        return next((number for (number,) in self.query(sql, parameters)), 0)

    def newest_first(
        self,
        states: Collection[State],
        condition: Condition,
        since: str = FIRST_TIME,
        before: str = LAST_TIME,
        after: Position | None = None,
    ) -> Iterator[Row]:
        """Yield a row for each record in one of these states, the newest claim first, as they are needed.

        :param condition: which of them are hits.
        :param since: not those that were claimed earlier.
        :param before: not those that were claimed then or later.
        :param after: only those that come later in the list.
        """
        last = LAST_TIME if after is None else after.claimed_at
        sql = (
            f"SELECT claimed_at, route, key, rowid, state, {condition.sql} FROM {BY_AGE}"
            " WHERE state = ? AND claimed_at >= ? AND claimed_at < ? AND claimed_at <= ?"
            " ORDER BY claimed_at DESC, route DESC, key DESC"
        )
        found = [self.query(sql, (*condition.parameters, state, since, before, last)) for state in states]
        rows = merge(*(map(_row, each) for each in found), key=lambda row: row.position, reverse=True)
        return (row for row in rows if after is None or row.position < after)

    def oldest_first(self, state: State, limit: int) -> list[Row]:
        """Return a row for each of the records about events whose claim is the oldest."""
        sql = (
            f"SELECT claimed_at, route, key, rowid, state, 1 FROM {BY_AGE} WHERE state = ? AND {ABOUT_EVENTS}"
            " ORDER BY claimed_at LIMIT ?"
        )
        return list(map(_row, self.query(sql, (state, limit))))

    def counts(self, by: str, state: State, since: str, limit: int) -> Iterator[Any]:
        """Yield how many records about events are in a state, in groups: the group, the number, and the latest claim.

        :param by: the columns that form a group.
        :param since: not those that were claimed earlier.
        :param limit: how many records are counted: the newest ones.
        """
        newest = (
            f"SELECT route, claimed_at FROM {BY_AGE} WHERE state = ? AND claimed_at >= ? AND {ABOUT_EVENTS}"
            " ORDER BY claimed_at DESC LIMIT ?"
        )
        sql = f"SELECT {by}, count(*), max(claimed_at) FROM ({newest}) GROUP BY {by}"
        return self.query(sql, (state, since, limit))

    def newest_of_each_route(self, state: State, since: str, each: int) -> list[Row]:
        """Return a row for each of the newest records of each route, among the newest ``MAX_NUMBERED`` of all routes.

        :param each: how many of each route are returned.
        """
        newest = (
            f"SELECT claimed_at, route, key, rowid AS id, state FROM {BY_AGE}"
            f" WHERE state = ? AND claimed_at >= ? AND {ABOUT_EVENTS} ORDER BY claimed_at DESC LIMIT ?"
        )
        numbered = (
            f"SELECT *, row_number() OVER (PARTITION BY route ORDER BY claimed_at DESC) AS number FROM ({newest})"
        )
        sql = f"SELECT claimed_at, route, key, id, state, 1 FROM ({numbered}) WHERE number <= ?"
        return list(map(_row, self.query(sql, (state, since, MAX_NUMBERED, each))))

    def rows(self, where: str, parameters: Sequence[str | int], condition: Condition) -> list[Row]:
        """Return a row for each record that meets the first condition, the newest claim first."""
        sql = f"SELECT claimed_at, route, key, rowid, state, {condition.sql} FROM records WHERE {where}"
        found = map(_row, self.query(sql, (*condition.parameters, *parameters)))
        return sorted(found, key=lambda row: row.position, reverse=True)

    def routes(self, limit: int) -> list[str]:
        """Return the names of the routes that have records. Each name is one look at an index."""
        sql = (
            "WITH RECURSIVE each (route) AS (SELECT min(route) FROM records WHERE route >= '%' UNION ALL"
            " SELECT (SELECT min(route) FROM records WHERE route > each.route) FROM each WHERE route IS NOT NULL)"
            " SELECT route FROM each WHERE route IS NOT NULL LIMIT ?"
        )
        return [route for (route,) in self.query(sql, (limit,))]

    def unknown_states(self) -> dict[str, int]:
        """Return how many records have a state that this version does not know. Each state is one look at an index."""
        sql = (
            "WITH RECURSIVE each (state) AS (SELECT min(state) FROM records UNION ALL"
            " SELECT (SELECT min(state) FROM records WHERE state > each.state) FROM each WHERE state IS NOT NULL)"
            " SELECT state FROM each WHERE state IS NOT NULL"
        )
        unknown = [state for (state,) in self.query(sql) if state not in set(State)]
        return {state: self.number("SELECT count(*) FROM records WHERE state = ?", (state,)) for state in unknown}


def time_text(moment: datetime) -> str:
    """Return the time as the file has it, where strings sort like times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def read_time(text: str) -> datetime | None:
    """Return the time that the file has; None if another program has changed it."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def key_of(found: Found) -> JournalKey:
    """Return the key of a record, also of one that cannot be read."""
    return JournalKey(found.route, found.key) if isinstance(found, UnreadableRecord) else found.key


def read_only(found: Collection[Found]) -> list[Record]:
    """Return the records that could be read."""
    return [one for one in found if not isinstance(one, UnreadableRecord)]


def _row(columns: tuple[str, str, str, int, str, int]) -> Row:
    claimed_at, route, key, rowid, state, is_hit = columns
    return Row(Position(claimed_at, route, key), rowid, state, bool(is_hit))


def _text(stored: bytes) -> str:
    return stored.decode(errors="replace")
