"""What happened on each route in a period."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

from shared.errors import UnreadableEvent
from shared.events.event import parse_event
from shared.journal.records import Record, State
from tools.page.reading.journal_file import EVENT_STATES, JournalFile, read_only, read_time, time_text

MAX_COUNTED: Final = 50_000
"""How many events of a state are counted: the newest ones."""
MAX_DELAYS: Final = 50
"""How many queued events of a route tell its delays: the newest ones."""
_HALF: Final = 0.5
_MOST: Final = 0.95


class RouteStatistics(NamedTuple):
    """What happened on a route in a period.

    :param counts: how many events are in which state.
    :param last_at: when its latest event was claimed.
    :param half: within this time, half of the events had their run queued, from the event's own time on; None if
        that is not known.
    :param most: within this time, 95 % had.
    :param delays: how many events tell these two.
    """

    counts: Mapping[State, int]
    last_at: datetime | None
    half: timedelta | None = None
    most: timedelta | None = None
    delays: int = 0

    @property
    def success_share(self) -> float | None:
        """The share of queued events among those that are queued or parked; None if there are none."""
        queued, parked = self.counts.get(State.QUEUED, 0), self.counts.get(State.PARKED, 0)
        return queued / (queued + parked) if queued + parked else None


class Statistics(NamedTuple):
    """What happened on the routes.

    :param routes: by route; those without an event are missing.
    :param is_complete: False if only the newest ``MAX_COUNTED`` events of a state were counted.
    """

    routes: Mapping[str, RouteStatistics]
    is_complete: bool = True


def statistics(file: JournalFile, period: timedelta, now: datetime) -> Statistics:
    """Return what happened on each route in the last period.

    :raises JournalUnavailable: the file does not answer.
    """
    since, is_complete = time_text(now - period), True
    counts: dict[str, dict[State, int]] = {}
    last: dict[str, str] = {}
    with file.moment() as moment:
        for state in EVENT_STATES:
            rows = list(moment.counts("route", state, since, MAX_COUNTED))
            is_complete = is_complete and sum(number for _, number, _ in rows) < MAX_COUNTED
            for route, number, latest in rows:
                counts.setdefault(route, {})[state] = number
                last[route] = max(last.get(route, ""), latest)
        queued = moment.newest_of_each_route(State.QUEUED, since, MAX_DELAYS)
    delays: dict[str, list[timedelta]] = {}
    for record in read_only(file.records(queued, with_events=True)):
        if (delay := delay_of(record)) is not None:
            delays.setdefault(record.key.route, []).append(delay)
    routes = {route: _of_route(found, read_time(last[route]), delays.get(route, [])) for route, found in counts.items()}
    return Statistics(routes, is_complete)


def delay_of(record: Record) -> timedelta | None:
    """Return the time from the event to its queued run; None if it is not known, or says nothing about the route.

    That is so for events that were redriven, and for runs that waited for several events.
    """
    if record.state is not State.QUEUED or record.gathered is not None:
        return None
    if any(step.state is State.PARKED for step in record.history):
        return None
    try:
        happened_at = parse_event(record.entry.event).time
    except UnreadableEvent:
        return None
    return None if happened_at is None else max(record.changed_at - happened_at, timedelta())


def percentile(ordered: Sequence[timedelta], share: float) -> timedelta:
    """Return the smallest value that at least this share of the values does not exceed.

    :param ordered: at least one value, the smallest first.
    """
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _of_route(counts: Mapping[State, int], last_at: datetime | None, delays: Sequence[timedelta]) -> RouteStatistics:
    if not delays:
        return RouteStatistics(counts, last_at)
    ordered = sorted(delays)
    return RouteStatistics(counts, last_at, percentile(ordered, _HALF), percentile(ordered, _MOST), len(ordered))
