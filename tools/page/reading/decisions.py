"""The latest decisions: records about events, newest first, in pages that a link can name."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from shared.journal.records import UNROUTED, State
from shared.journal.stored_form import Found
from tools.actions.records import MIN_PREFIX, RecordFilter
from tools.page.reading.journal_file import (
    EVENT_STATES,
    FIRST_TIME,
    LAST_TIME,
    Condition,
    JournalFile,
    Moment,
    Position,
    Row,
    read_time,
    time_text,
)

PAGE_RECORDS: Final = 50
MAX_SEARCHED: Final = 20_000
"""How many records are looked at for one page. The next page goes on from there."""
MAX_SEARCHED_FOR_TEXT: Final = 10_000
"""The same, if each has to be read."""
FEW_RECORDS: Final = 2000
"""The records of a route that has no more are read through the key, not through the time."""
MAX_ROUTES: Final = 200

_SEPARATOR: Final = "~"
_MAX_RUN_DIGITS: Final = 18
_HEX: Final = frozenset("0123456789abcdef")
_SEARCHED_FIELDS: Final = ("entry.event_id", "entry.subject", "reason")


class Search(NamedTuple):
    """Which records to list.

    :param wanted: filters by route, state, and age of the claim.
    :param text: part of an event id, a subject or a reason in any case; or a run id, or the beginning of a key.
    :param after: the last record of the page before; None for the first page.
    """

    wanted: RecordFilter = RecordFilter()
    text: str = ""
    after: Position | None = None


class Decisions(NamedTuple):
    """One page of the list.

    :param records: the newest first, without the texts of their events. On the first page, those whose run or key is
        searched for come before all others, however old they are.
    :param after: where the next page begins; None if there is none.
    :param searched: how many records were looked at, if the search stopped before the page was full; else None.
    :param back_to: the time of the claim of the last one of these.
    """

    records: tuple[Found, ...]
    after: Position | None = None
    searched: int | None = None
    back_to: datetime | None = None


def position_text(position: Position) -> str:
    """Return a position for a link."""
    return _SEPARATOR.join(position)


def read_position(text: str) -> Position | None:
    """Read what ``position_text`` wrote; None if it is something else."""
    parts = text.split(_SEPARATOR)
    if len(parts) != len(Position._fields) or read_time(parts[0]) is None:
        return None
    return Position(*parts)


def decisions(file: JournalFile, search: Search, now: datetime, max_searched: int = 0) -> Decisions:
    """Return a page of the records that match.

    :param max_searched: how many records are looked at; 0 for the usual number.
    :raises JournalUnavailable: the file does not answer.
    """
    max_searched = max_searched or (MAX_SEARCHED_FOR_TEXT if search.text else MAX_SEARCHED)
    with file.moment() as moment:
        named = _named_rows(moment, search, now) if search.after is None else []
        known = {row.rowid for row in named}
        hits: list[Row] = []
        last, searched, stopped = None, 0, False
        for row in _rows(moment, search, now):
            if len(hits) > PAGE_RECORDS or (stopped := searched == max_searched):
                break
            last, searched = row, searched + 1
            if row.is_hit and row.rowid not in known:
                hits.append(row)
    shown = hits[:PAGE_RECORDS]
    records = (*file.records(named[:PAGE_RECORDS]), *file.records(shown))
    if len(hits) > PAGE_RECORDS:
        return Decisions(records, shown[-1].position)
    if not stopped or last is None:
        return Decisions(records)
    return Decisions(records, last.position, searched, read_time(last.position.claimed_at))


def _rows(moment: Moment, search: Search, now: datetime) -> Iterator[Row]:
    """Yield the rows to look at, the newest first."""
    wanted, condition = search.wanted, _condition(search)
    if wanted.route is not None:
        few = "SELECT count(*) FROM (SELECT 1 FROM records WHERE route = ? LIMIT ?)"
        if moment.number(few, (wanted.route, FEW_RECORDS + 1)) <= FEW_RECORDS:
            rows = moment.rows("route = ?", (wanted.route,), condition)
            return (row for row in rows if _is_inside(row, search, now))
    since, before = _bounds(wanted, now)
    return moment.newest_first(_states(wanted), condition, since, before, search.after)


def _named_rows(moment: Moment, search: Search, now: datetime) -> list[Row]:
    """Return the rows of records of any age whose run or key the text names."""
    text = search.text.strip().lower()
    found: list[Row] = []
    condition = Condition() if search.wanted.route is None else Condition().and_also("route = ?", search.wanted.route)
    if text.isascii() and text.isdigit() and len(text) <= _MAX_RUN_DIGITS:
        found += moment.rows("run_id = ?", (int(text),), condition)
    if len(text) >= MIN_PREFIX and set(text) <= _HEX:
        for route in [UNROUTED, *moment.routes(MAX_ROUTES)]:
            found += moment.rows("route = ? AND key >= ? AND key < ?", (route, text, text + "g"), condition)
    rows = {row.rowid: row for row in found if row.is_hit and _is_inside(row, search, now)}
    return sorted(rows.values(), key=lambda row: row.position, reverse=True)


def _condition(search: Search) -> Condition:
    condition = Condition()
    if search.wanted.route is not None:
        condition = condition.and_also("route = ?", search.wanted.route)
    if text := search.text.strip():
        # A look at the whole document is quicker than one at each field, and most records have the text nowhere.
        fields = " OR ".join(f"json_extract(document, '$.{name}') LIKE ? ESCAPE '\\'" for name in _SEARCHED_FIELDS)
        in_document = f"CASE WHEN document LIKE ? ESCAPE '\\' AND json_valid(document) THEN ({fields}) ELSE 0 END"
        anywhere = [_pattern(json.dumps(text)[1:-1]), *[_pattern(text)] * len(_SEARCHED_FIELDS)]
        named = "CAST(run_id AS TEXT) = ? OR (key >= ? AND key < ?)"
        lowered = text.lower()
        is_prefix = len(lowered) >= MIN_PREFIX and set(lowered) <= _HEX
        first = lowered if is_prefix else LAST_TIME
        condition = condition.and_also(f"({named} OR {in_document})", text, first, first + "g", *anywhere)
    return condition


def _pattern(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def _states(wanted: RecordFilter) -> tuple[State, ...]:
    return tuple(state for state in EVENT_STATES if not wanted.states or state in wanted.states)


def _bounds(wanted: RecordFilter, now: datetime) -> tuple[str, str]:
    since = FIRST_TIME if wanted.newer_than is None else time_text(now - wanted.newer_than)
    before = LAST_TIME if wanted.older_than is None else time_text(now - wanted.older_than)
    return since, before


def _is_inside(row: Row, search: Search, now: datetime) -> bool:
    since, before = _bounds(search.wanted, now)
    return (
        row.state in _states(search.wanted)
        and since <= row.position.claimed_at < before
        and (search.after is None or row.position < search.after)
    )
