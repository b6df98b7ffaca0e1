"""How many events ended in which way in the last day or week."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from shared.journal.cooldown import PARTITION_PREFIX
from shared.journal.records import State, after_prefix
from tools.page.reading.journal_file import (
    BY_AGE,
    DEFERRED_STATES,
    JournalFile,
    Moment,
    read_time,
    time_text,
)

DEFERRED: Final = "deferred"
SERIES: Final[Mapping[str, tuple[State, ...]]] = {
    "queued": (State.QUEUED,),
    "suppressed": (State.SUPPRESSED,),
    "gathered": (State.GATHERED,),
    DEFERRED: DEFERRED_STATES,
    "parked": (State.PARKED,),
}
"""The states that are counted together, by the name of the outcome. The last ones need a person most."""
MAX_COUNTED: Final = 20_000
"""How many records of a state are counted if the index does not suffice: the newest ones."""

_HOUR: Final = "substr(claimed_at, 1, 13)"


class Span(NamedTuple):
    """The period that a timeline shows."""

    name: str
    step: timedelta
    steps: int

    def starts(self, now: datetime) -> tuple[datetime, ...]:
        """Return when each step begins, the oldest first. The last one has now in it, and all begin at full hours."""
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        last = midnight + (now - midnight) // self.step * self.step
        return tuple(last - self.step * back for back in reversed(range(self.steps)))


DAY: Final = Span("day", timedelta(hours=1), 24)
WEEK: Final = Span("week", timedelta(hours=6), 28)
SPANS: Final = {span.name: span for span in (DAY, WEEK)}


class Timeline(NamedTuple):
    """The number of events of each outcome in each step.

    :param starts: when each step begins.
    :param counts: by the names in ``SERIES``, one number for each step.
    :param is_complete: False if only the newest ``MAX_COUNTED`` events of a state were counted.
    """

    span: Span
    starts: tuple[datetime, ...]
    counts: Mapping[str, tuple[int, ...]]
    is_complete: bool = True

    def total(self, name: str) -> int:
        """Return the number of events of an outcome."""
        return sum(self.counts[name])

    @property
    def highest(self) -> int:
        """The largest number of events in a step."""
        return max(map(sum, zip(*self.counts.values(), strict=True)))

    @property
    def is_empty(self) -> bool:
        """Whether there are no events."""
        return self.highest == 0


def timeline(file: JournalFile, span: Span, now: datetime) -> Timeline:
    """Count the events of all routes. The index has all that is needed, except for deferred events.

    :raises JournalUnavailable: the file does not answer.
    """
    starts = span.starts(now)
    steps = list(pairwise(map(time_text, (*starts, starts[-1] + span.step))))
    deferred: Counter[datetime] = Counter()
    with file.moment() as moment:
        counts = {
            name: tuple(sum(_counted(moment, state, *step) for state in states) for step in steps)
            for name, states in SERIES.items()
            if name != DEFERRED
        }
        windows = _windows(moment, span, starts)
        for state in DEFERRED_STATES:
            hours = moment.counts(_HOUR, state, time_text(starts[0]), MAX_COUNTED)
            deferred.update(_in_starts(((hour, number) for hour, number, _ in hours), span, starts))
    counts["queued"] = tuple(found - windows[start] for found, start in zip(counts["queued"], starts, strict=True))
    counts[DEFERRED] = tuple(deferred[start] for start in starts)
    return Timeline(span, starts, {name: counts[name] for name in SERIES}, is_complete=_is_complete(deferred))


def timelines_by_route(file: JournalFile, span: Span, now: datetime) -> dict[str, Timeline]:
    """Count the events of each route, the one with the most events first.

    :raises JournalUnavailable: the file does not answer.
    """
    starts = span.starts(now)
    found: dict[str, dict[str, Counter[datetime]]] = {}
    is_complete = True
    with file.moment() as moment:
        for name, states in SERIES.items():
            for state in states:
                rows = list(moment.counts(f"route, {_HOUR}", state, time_text(starts[0]), MAX_COUNTED))
                is_complete = is_complete and sum(number for *_, number, _ in rows) < MAX_COUNTED
                for route, hour, number, _ in rows:
                    series = found.setdefault(route, {name: Counter() for name in SERIES})
                    series[name].update(_in_starts([(hour, number)], span, starts))
    timelines = {
        route: Timeline(
            span,
            starts,
            {name: tuple(counter[start] for start in starts) for name, counter in series.items()},
            is_complete,
        )
        for route, series in found.items()
    }
    return dict(sorted(timelines.items(), key=lambda pair: (-sum(map(sum, pair[1].counts.values())), pair[0])))


def _counted(moment: Moment, state: State, first: str, end: str) -> int:
    sql = f"SELECT count(*) FROM {BY_AGE} WHERE state = ? AND claimed_at >= ? AND claimed_at < ?"
    return moment.number(sql, (state, first, end))


def _windows(moment: Moment, span: Span, starts: tuple[datetime, ...]) -> Counter[datetime]:
    """Return how many cooldown windows began in each step: their records are queued, too."""
    where = "route >= ? AND route < ? AND +state = ? AND claimed_at >= ?"
    sql = f"SELECT {_HOUR}, count(*) FROM records WHERE {where} GROUP BY 1"
    parameters = (PARTITION_PREFIX, after_prefix(PARTITION_PREFIX), State.QUEUED, time_text(starts[0]))
    return _in_starts(moment.query(sql, parameters), span, starts)


def _in_starts(hours: Iterable[tuple[str, int]], span: Span, starts: tuple[datetime, ...]) -> Counter[datetime]:
    """Return the numbers by the start of the step."""
    counter: Counter[datetime] = Counter()
    for hour, number in hours:
        at = read_time(f"{hour}:00+00:00")
        if at is not None and starts[0] <= at < starts[-1] + span.step:
            counter[starts[(at - starts[0]) // span.step]] += number
    return counter


def _is_complete(deferred: Counter[datetime]) -> bool:
    return deferred.total() < MAX_COUNTED
