"""The sweep, which finishes waits that no event has finished.

The event of a run can be lost or have no subscription, and completing a task can fail.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import ClaimLost, RunStatusUnavailable
from shared.events.event import RunEnd
from shared.journal.journal import Journal
from shared.journal.records import Record, Selection
from shared.telemetry import Outcome
from shared.waits.aml import AmlRuns
from shared.waits.task_result import TaskResult, result_of, timeout_result
from shared.waits.wait import OPEN_STATES, WAIT_PREFIX, Wait, names_workspace, read_each
from shared.waits.waits import Waits

MAX_WAITS: Final = 5000
# A timer function occupies a thread; what is left is done the next time.
MAX_DURATION: Final = timedelta(seconds=40)
_COMPLETE_SECONDS: Final = 15.0
# A task that still cannot be completed this long after its timeout is given up.
_GRACE: Final = timedelta(days=1)

_log = logging.getLogger("nextstage.sweep")


@dataclass(slots=True)
class SweepResult:
    """The result of a sweep, as numbers of waits."""

    open: int = 0
    completed: int = 0
    given_up: int = 0


class Sweep:
    """Completes tasks whose run has ended, asks Azure ML about the other runs, and ends waits after the timeout."""

    def __init__(
        self,
        journal: Journal,
        waits: Waits,
        runs: AmlRuns | None,
        *,
        after: timedelta,
        timeout: timedelta,
        clock: Clock = utc_now,
    ) -> None:
        """
        :param runs: where to ask for the status of runs; None if Azure ML is not asked.
        :param after: how long to wait for the event before Azure ML is asked.
        :param timeout: how long a task may wait.
        """
        self._journal = journal
        self._waits = waits
        self._runs = runs
        self._after = after
        self._timeout = timeout
        self._clock = clock

    def run(self) -> SweepResult:
        """Check every open wait once, oldest first, for at most ``MAX_DURATION``.

        :raises JournalUnavailable: the store does not answer.
        """
        ends_at = self._clock() + MAX_DURATION
        result = SweepResult()
        runs = self._runs
        found = self._journal.select(Selection(route_prefix=WAIT_PREFIX, states=OPEN_STATES), MAX_WAITS)
        for record, wait in sorted(read_each(Wait.of, found), key=lambda pair: pair[1].registered_at):
            if self._clock() >= ends_at:
                _log.warning("the sweep ran out of time; the next sweep checks the remaining waits")
                break
            result.open += 1
            try:
                end = self._waits.known_end(wait) or self._ask_azure_ml(wait, runs, ends_at)
            except RunStatusUnavailable as exc:
                _log.warning("%s; this sweep does not ask Azure ML again", exc)
                end = runs = None
            if end is not None:
                self._complete(record, result_of(end), ends_at, result)
            elif self._age(wait) > self._timeout:
                self._time_out(record, wait, ends_at, result)
        _log.info("%d tasks wait; %d were completed, %d given up", result.open, result.completed, result.given_up)
        return result

    def _ask_azure_ml(self, wait: Wait, runs: AmlRuns | None, ends_at: datetime) -> RunEnd | None:
        """:raises RunStatusUnavailable: Azure ML does not answer."""
        if runs is None or self._age(wait) <= self._after or not names_workspace(wait.workspace, runs.workspace_id):
            return None
        return runs.end_of(wait.run_id, ends_at)

    def _age(self, wait: Wait) -> timedelta:
        return self._clock() - wait.registered_at

    def _time_out(self, record: Record, wait: Wait, ends_at: datetime, result: SweepResult) -> None:
        hours = self._timeout / timedelta(hours=1)
        _log.error(
            "%s has waited for run %s since %s and fails after %g h (WAIT_TIMEOUT_HOURS)",
            wait.task,
            wait.run_id,
            wait.registered_at,
            hours,
        )
        completed = self._complete(record, timeout_result(wait.run_id, hours), ends_at, result)
        if not completed and self._age(wait) > self._timeout + _GRACE:
            with suppress(ClaimLost):  # another worker has just claimed it
                reason = f"{wait.task} timed out and could not be completed within {_GRACE.days} day after that"
                self._waits.give_up(record, reason)
                result.given_up += 1

    def _complete(self, record: Record, task_result: TaskResult, ends_at: datetime, result: SweepResult) -> bool:
        deadline = min(ends_at, self._clock() + timedelta(seconds=_COMPLETE_SECONDS))
        decision = self._waits.complete(record, task_result, deadline)
        completed = decision is None or decision.outcome is not Outcome.DEFERRED
        result.completed += completed
        return completed
