"""Finds records in the journal, and formats their content."""

import heapq
import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, count, islice
from typing import Any, Final

from shared.azure_devops.runs import Run
from shared.errors import UnreadableRecord
from shared.events.event import AML_PREFIX
from shared.journal.cooldown import PARTITION_PREFIX
from shared.journal.journal import RESERVATIONS, Journal
from shared.journal.records import (
    OPEN_STATES,
    ORPHANS,
    UNROUTED,
    WAIT_PREFIX,
    JournalKey,
    Record,
    Selection,
    Skipped,
    State,
    log_skipped,
)
from shared.notifications.losses import PARTITION as LOST_NOTIFICATIONS
from shared.proof import PARTITION as TEST_EVENTS
from shared.resume.period import is_group
from shared.routing.running import PARTITION as RUNNING_ROUTES
from shared.suggestion import suggestion
from shared.waits.wait import ENDED_PREFIX, SWEEP_PARTITION, TASK_PARTITION, WORKSPACES_PARTITION, Wait, read_each
from tools.errors import CommandFailed

SHOWN_KEY: Final = 12
"""The number of characters of a key that are shown. In practice, they are unique in a journal."""

MIN_PREFIX: Final = 4
MAX_SCANNED: Final = 200_000
"""The maximum number of records that are read from a journal."""

_NAMES: Final = {
    PARTITION_PREFIX: "(cooldown window)",
    WAIT_PREFIX: "(waiting task)",
    ENDED_PREFIX: "(kept for waiting tasks)",
    TASK_PARTITION: "(kept for waiting tasks)",
    WORKSPACES_PARTITION: "(kept for waiting tasks)",
    SWEEP_PARTITION: "(kept for waiting tasks)",
    ORPHANS: "(orphan)",
    LOST_NOTIFICATIONS: "(lost notifications)",
    RESERVATIONS: "(adopted run)",
    RUNNING_ROUTES: "(routes.yaml of the app)",
    TEST_EVENTS: "(test event)",
}
"""What a record is about, if not about an event, by the beginning of its partition."""

_RUNS: Final = re.compile(r"\d+ \(\S*\)(, \d+ \(\S*\))+")
"""Several runs with their links, as reasons name them."""

_RUN: Final = re.compile(r"(\d{1,19}) \((\S*)\)")
"""One of these runs."""

_log = logging.getLogger("nextstage.commands")

_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """A filter for records.

    :param states: the states; empty for all.
    :param older_than: the last change is longer ago than this.
    :param newer_than: the last change is at most this long ago.
    :param windows: whether to include cooldown windows.
    """

    route: str | None = None
    states: frozenset[State] = frozenset()
    older_than: timedelta | None = None
    newer_than: timedelta | None = None
    windows: bool = False


@dataclass(frozen=True, slots=True)
class FoundRecords:
    """The records to show, and the number of all matching records."""

    records: tuple[Record, ...]
    count: int


class Unreadable:
    """Collects the records that cannot be read, for a command that skips them."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], UnreadableRecord] = {}

    def __call__(self, skipped: UnreadableRecord) -> None:
        self._found[skipped.route, skipped.key] = skipped

    def words(self, limit: int) -> list[str]:
        """Return the lines that tell of these records; none if there are none.

        :param limit: the maximum number of records that are named.
        """
        number = len(self._found)
        heading = f"{number} record{'' if number == 1 else 's'} cannot be read:"
        return [heading, *map(str, islice(self._found.values(), limit))] if number else []


def newest(
    journal: Journal, wanted: RecordFilter, limit: int, now: datetime, skipped: Skipped = log_skipped
) -> FoundRecords:
    """Return the records that changed last, the newest first.

    :param skipped: is told of each record that cannot be read.
    :raises JournalUnavailable: the journal does not answer.
    """
    return _first(heapq.nlargest, limit, _matching(journal, wanted, now, skipped))


def oldest(
    journal: Journal,
    wanted: RecordFilter,
    limit: int,
    now: datetime,
    skipped: Skipped = log_skipped,
    also: Callable[[Record], bool] = lambda _: True,
) -> FoundRecords:
    """Return the records whose last change is longest ago, the oldest first.

    :param skipped: is told of each record that cannot be read.
    :param also: a further condition that the records must meet.
    :raises JournalUnavailable: the journal does not answer.
    """
    return _first(heapq.nsmallest, limit, filter(also, _matching(journal, wanted, now, skipped)))


def find(journal: Journal, prefixes: Iterable[str]) -> list[Record]:
    """Return the record of each key, in the given order and without repetitions. Keys may be shortened.

    :raises CommandFailed: lists every prefix that matches no record or several records, or one that cannot be read.
    :raises JournalUnavailable: the journal does not answer.
    """
    wanted = list(dict.fromkeys(_checked_prefix(prefix) for prefix in prefixes))
    by_prefix: dict[str, list[Record]] = {prefix: [] for prefix in wanted}
    unreadable: list[UnreadableRecord] = []
    for record in _scan(journal, Selection(), unreadable.append):
        for prefix in wanted:
            if record.key.key.startswith(prefix):
                by_prefix[prefix].append(record)
    for prefix, records in by_prefix.items():
        # Prefer an occurrence to a cooldown window, and a wait to the other records that waiting tasks need.
        likely = [record for record in records if is_wait(record) or not (is_window(record) or is_internal(record))]
        by_prefix[prefix] = likely or records
    problems = [
        _problem(prefix, records, named)
        for prefix, records in by_prefix.items()
        if (named := [one for one in unreadable if one.key.startswith(prefix)]) or len(records) != 1
    ]
    if problems:
        raise CommandFailed("\n".join(problems))
    found = {records[0].key: records[0] for records in by_prefix.values()}
    return list(found.values())


def check_route(journal: Journal, route: str, known: Collection[str], skipped: Skipped = log_skipped) -> None:
    """Fail if a route has no records and is not in routes.yaml: it is probably misspelled.

    :param known: the names of the routes in routes.yaml; empty if they are not known.
    :raises CommandFailed: suggests the nearest name.
    """
    if not known or route in {*known, UNROUTED}:
        return
    partitions = (route, PARTITION_PREFIX + route)
    if not any(True for name in partitions for _ in journal.select(Selection(name), 1, skipped)):
        raise CommandFailed(f"there is no route '{route}'; {suggestion(route, known)}")


def changed_at(record: Record) -> datetime:
    """Return the time of the record's last change."""
    return record.changed_at


def is_window(record: Record) -> bool:
    """Return whether the record is a cooldown window rather than an occurrence."""
    return record.key.route.startswith(PARTITION_PREFIX)


def is_wait(record: Record) -> bool:
    """Return whether the record is a task that waits for a run."""
    return record.key.route.startswith(WAIT_PREFIX)


def is_internal(record: Record) -> bool:
    """Return whether the record is neither an occurrence nor a cooldown window."""
    return not record.key.is_about_event and not is_window(record)


def waits(journal: Journal, skipped: Skipped, *, include_over: bool) -> list[Record]:
    """Return the waiting tasks, the oldest wait first.

    :param skipped: is told of each wait that cannot be read.
    :param include_over: whether to include waits that are over.
    :raises JournalUnavailable: the journal does not answer.
    """
    states = frozenset[State]() if include_over else OPEN_STATES
    found = read_each(Wait.of, _scan(journal, Selection(route_prefix=WAIT_PREFIX, states=states), skipped), skipped)
    return [record for record, _ in sorted(found, key=lambda pair: pair[1].registered_at)]


def reason(record: Record) -> str:
    """Return why the record is in its state; for a cooldown window, its holder."""
    return f"held by {record.document[:SHOWN_KEY]}" if is_window(record) else record.reason


def short_reason(record: Record) -> str:
    """Return the reason for a cell of a table: of several runs with links, only the first one is named."""

    def shortened(runs: re.Match[str]) -> str:
        first, *others = runs[0].split(", ")
        return f"{first} and {len(others)} more"

    return _RUNS.sub(shortened, reason(record))


def candidates(record: Record) -> tuple[Run, ...]:
    """Return the runs that the reason of a record names, of which one may be its run."""
    return tuple(Run(int(run_id), url) for run_id, url in _RUN.findall(record.reason))


def about(key: JournalKey) -> str:
    """Return the route of a record about an event, or what another record is about."""
    if is_group(key):
        return "(group of gathered events)"
    return next((name for prefix, name in _NAMES.items() if key.route.startswith(prefix)), key.route)


def event_name(record: Record) -> str:
    """Return the type and id of the event, or a note if there is no event or it could not be read."""
    if not record.key.is_about_event:
        return about(record.key)
    return f"{event_type_name(record)} {record.entry.event_id}".strip() or "(unreadable)"


def event_type_name(record: Record) -> str:
    """Return the type of the event, without what all types of Azure ML begin with; empty if it could not be read."""
    return record.entry.event_type.removeprefix(AML_PREFIX)


def document(record: Record) -> dict[str, Any]:
    """Return the complete record as a JSON document, with times in ISO 8601, and event and request parsed."""
    return {
        "key": record.key.key,
        "route": record.key.route,
        "state": record.state.value,
        "changed_at": changed_at(record).isoformat(),
        "run_id": record.run_id,
        "run_url": record.run_url,
        "reason": reason(record),
        "event_id": record.entry.event_id,
        "event_type": record.entry.event_type,
        "subject": record.entry.subject,
        "claimed_at": record.claimed_at.isoformat(),
        "lease_until": record.lease_until.isoformat(),
        "settled_at": record.settled_at.isoformat(),
        "event": parsed(record.entry.event),
        "request": parsed(record.entry.request) or None,
        "routes_digest": record.routes or None,
        "gathered": None
        if record.gathered is None
        else {**record.gathered._asdict(), "since": record.gathered.since.isoformat()},
        "document": kept_document(record) or None,
        "history": [
            {"at": step.at.isoformat(), "state": step.state.value, "note": step.note} for step in record.history
        ],
    }


def kept_document(record: Record) -> Any:
    """Return the document of a record that is not about an event. The encrypted token of a wait is masked."""
    kept = parsed(record.document)
    if not is_wait(record):
        return kept
    return {**kept, "sealed": "***", "sealed_token": "***"} if isinstance(kept, dict) else "***"


def parsed(text: str) -> Any:
    """Return the parsed JSON document, or the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _scan(journal: Journal, selection: Selection, skipped: Skipped = log_skipped) -> Iterator[Record]:
    """Yield the selected records, and warn if there are more than ``MAX_SCANNED``."""
    yield from islice(records := journal.select(selection, MAX_SCANNED + 1, skipped), MAX_SCANNED)
    if next(records, None) is not None:
        _log.warning(
            "the journal has more than %d such records; the others were not read; narrow the selection, for example "
            "with --route, or run the command again",
            MAX_SCANNED,
        )


def _matching(
    journal: Journal, wanted: RecordFilter, now: datetime, skipped: Skipped = log_skipped
) -> Iterator[Record]:
    before = None if wanted.older_than is None else now - wanted.older_than
    after = None if wanted.newer_than is None else now - wanted.newer_than
    routes = [wanted.route]
    if wanted.route is not None and wanted.windows:
        routes.append(PARTITION_PREFIX + wanted.route)
    # A record is claimed before its last change. If the last change is old enough, so is the claim.
    selections = [Selection(route, wanted.states, claimed_before=before) for route in routes]
    for record in chain.from_iterable(_scan(journal, selection, skipped) for selection in selections):
        changed = changed_at(record)
        if (
            (wanted.windows or not is_window(record))
            and not is_internal(record)
            and (before is None or changed < before)
            and (after is None or changed >= after)
        ):
            yield record


def _first(pick: Callable[..., list[Record]], limit: int, records: Iterable[Record]) -> FoundRecords:
    numbers = count()
    picked = pick(limit, (record for record, _ in zip(records, numbers, strict=False)), key=_age_order)
    return FoundRecords(tuple(picked), next(numbers))


def _age_order(record: Record) -> tuple[datetime, str, str]:
    return (changed_at(record), record.key.route, record.key.key)


def _checked_prefix(prefix: str) -> str:
    lowered = prefix.strip().lower()
    if len(lowered) < MIN_PREFIX or not set(lowered) <= _HEX:
        # The value is not shown: it may be anything, even a URL with a signature.
        raise CommandFailed(
            f"KEY must be at least the first {MIN_PREFIX} hexadecimal digits of a journal key; 'manage.py journal' "
            "lists the keys (for dead letters, use 'manage.py redrive --dead-letters PATH')"
        )
    return lowered


def _problem(prefix: str, records: list[Record], unreadable: list[UnreadableRecord]) -> str:
    if not records and not unreadable:
        return f"no key begins with {prefix}; 'manage.py journal' lists the keys"
    if not records and len(unreadable) == 1:
        return str(unreadable[0])
    shown = [f"{record.key.key} {record.key.route} {record.state} {event_name(record)}" for record in records]
    shown += [f"{one.key} {one.route} (unreadable)" for one in unreadable]
    return "\n".join([f"{len(shown)} keys begin with {prefix}; give more digits:", *shown])
