"""What is left to do while waits are off."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.clock import Clock
from shared.errors import JournalUnavailable
from shared.events.event import RunEnd
from shared.journal.journal import Journal
from shared.journal.records import OPEN_STATES, WAIT_PREFIX, Entry, Selection
from shared.lazy import Lazy
from shared.telemetry import Decision, Report, Result

if TYPE_CHECKING:
    from shared.waits.ends import Ends

_LOOK_EVERY: Final = timedelta(minutes=10)


class EndsWithoutKeys:
    """Stores the ends of runs while waits are off, if tasks still wait: the keys may come back.

    Whether tasks wait is looked up every ten minutes, because no more can register. This module imports no other one of
    the package, since most apps never need them.
    """

    def __init__(self, journal: Journal, make_ends: Callable[[], "Ends"], report: Report, clock: Clock) -> None:
        self._journal = journal
        self._ends = Lazy(make_ends)
        self._report = report
        self._clock = clock
        self._look_at: datetime | None = None
        self._tasks_wait = False

    def run_ended(
        self,
        end: RunEnd,
        entry: Entry,
        deadline: datetime,  # noqa: ARG002 - see WaitingTasks
        event_time: datetime | None = None,  # noqa: ARG002 - the same
    ) -> tuple[tuple[Decision, datetime | None], ...]:
        """Store the end of a run if tasks wait. Return a decision only if that fails: see WaitingTasks."""
        try:
            if self._do_tasks_wait():
                self._ends().note(end)
        except JournalUnavailable as exc:
            decision = Decision.of(entry, Result.deferred(exc))
            self._report(decision)
            return ((decision, None),)
        return ()

    def _do_tasks_wait(self) -> bool:
        now = self._clock()
        if self._look_at is None or now >= self._look_at:
            found = self._journal.select(Selection(route_prefix=WAIT_PREFIX, states=OPEN_STATES), 1)
            self._tasks_wait = any(True for _ in found)
            self._look_at = now + _LOOK_EVERY
        return self._tasks_wait
