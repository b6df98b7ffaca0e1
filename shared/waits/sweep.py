"""The sweep, which finishes waits that no event has finished.

The event of a run can be lost or have no subscription, and completing a task can fail.

A sweep has limited time, and what is wrong with one wait must not keep it from the others. Each wait has a share of the
time. The waits form a ring, in the order of their keys. If a sweep does not reach all of them, it writes down in the
journal how far it came, and the next one continues there, in whatever process it runs. Waits whose task could not be
completed have half of the time, and those that were tried longest ago come first.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice, takewhile, zip_longest
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import ClaimLost, JournalUnavailable, RunStatusUnavailable, UnreadableRecord
from shared.events.event import RunEnd
from shared.journal.journal import Journal
from shared.journal.records import OPEN_STATES, WAIT_PREFIX, JournalKey, Record, Selection, State, log_skipped
from shared.journal.stored_form import reading
from shared.logs import logger
from shared.telemetry import Outcome
from shared.waits.aml import AmlRuns
from shared.waits.fairness.sharing import MIN_SHARE, Shares, Workers
from shared.waits.task_result import result_of, timeout_result
from shared.waits.wait import MAX_WAITS, SWEEP_PARTITION, Wait, read_each
from shared.waits.waits import Attempt, Waits, longest_untried
from shared.waits.workspaces import Workspaces

# A timer function occupies a thread; what is left is done the next time.
MAX_DURATION: Final = timedelta(seconds=40)
# A task that still cannot be completed this long after its timeout is given up.
_GRACE: Final = timedelta(days=1)
# After so many failures, a workspace is not asked again in a sweep: it does not depend on the run.
_MAX_FAILURES: Final = 3

_PLACE: Final = JournalKey(SWEEP_PARTITION, "0")
_START: Final = JournalKey(WAIT_PREFIX, "")

_KEY_OF_A_WAIT: Final = re.compile(r"\$wait\.[0-9a-f]{64}/[0-9a-f]{64}", re.ASCII)

_log = logger("nextstage.sweep")


@dataclass(slots=True)
class SweepResult:
    """The result of a sweep, as numbers of waits."""

    open: int = 0
    completed: int = 0
    given_up: int = 0
    not_reached: int = 0


@dataclass(slots=True)
class _Checked:
    """What a sweep did about one wait.

    :param reached: False if the time was over, or Azure ML was no longer asked.
    :param failure: why it is not known whether the run has ended.
    :param attempt: the attempt to complete the task.
    :param timed_out: whether the task has waited too long.
    :param given_up: why the wait was closed although its task could not be completed.
    """

    record: Record
    wait: Wait
    reached: bool = True
    failure: RunStatusUnavailable | JournalUnavailable | None = None
    attempt: Attempt | None = None
    timed_out: bool = False
    given_up: str = ""


class Sweep:
    """Completes tasks whose run has ended, asks Azure ML about the other runs, and ends waits after the timeout."""

    def __init__(  # noqa: PLR0913 - its collaborators and limits
        self,
        journal: Journal,
        waits: Waits,
        workspaces: Workspaces,
        runs: Sequence[AmlRuns],
        *,
        after: timedelta,
        timeout: timedelta,
        workers: Workers | None = None,
        max_waits: int = MAX_WAITS,
        clock: Clock = utc_now,
    ) -> None:
        """
        :param runs: where to ask for the status of runs, one for each workspace; empty if Azure ML is not asked.
        :param after: how long to wait for the event before Azure ML is asked.
        :param timeout: how long a task may wait.
        :param workers: check the waits; by default, one after the other.
        :param max_waits: how many waits one sweep reads.
        """
        self._journal = journal
        self._waits = waits
        self._workspaces = workspaces
        self._runs = runs
        self._after = after
        self._timeout = timeout
        self._workers = workers or Workers()
        self._max_waits = max_waits
        self._clock = clock

    def run(self) -> SweepResult:
        """Check every open wait once, for at most ``MAX_DURATION``.

        :raises JournalUnavailable: the store does not answer.
        """
        ends_at = self._clock() + MAX_DURATION
        found = list(self._open_waits())
        ring = {record.key: (record, wait) for record, wait in read_each(Wait.of, found)}
        order = [ring[record.key] for record in _in_turn(longest_untried(record for record, _ in ring.values()))]
        one = _OneSweep(Shares(len(order), ends_at, self._workers.count, self._clock), ends_at)
        result = SweepResult(open=len(order))
        missed: set[JournalKey] = set()
        for checked in self._workers.each(lambda pair: self._check(*pair, one), order):
            self._report(checked, result)
            result.not_reached += not checked.reached
            if not checked.reached and checked.record.state is State.WAITING:
                missed.add(checked.record.key)
        if result.not_reached:
            _log.warning("%d waits were not checked; the next sweep begins with them", result.not_reached)
        there_may_be_more = len(found) == self._max_waits
        if (missed or there_may_be_more) and (reached := list(takewhile(lambda key: key not in missed, ring))):
            self._journal.note(_PLACE, json.dumps(reached[-1]))
        _log.info("%d tasks wait; %d were completed, %d given up", result.open, result.completed, result.given_up)
        return result

    def _open_waits(self) -> Iterator[Record]:
        """Return the open waits in the order of their keys, from the place that the previous sweep has reached."""
        place = self._place()
        wanted = Selection(route_prefix=WAIT_PREFIX, states=OPEN_STATES)
        following = self._journal.select(wanted._replace(after=place), self._max_waits)
        before = () if place == _START else self._journal.select(wanted._replace(after=_START), self._max_waits)
        return islice(chain(following, takewhile(lambda record: record.key <= place, before)), self._max_waits)

    def _place(self) -> JournalKey:
        try:
            if (record := self._journal.get(_PLACE)) is None:
                return _START
            with reading(_PLACE):
                route, key = json.loads(record.document)
                if not _KEY_OF_A_WAIT.fullmatch(f"{route}/{key}"):
                    raise ValueError("it is not the key of a wait")
                return JournalKey(route, key)
        except UnreadableRecord as exc:
            log_skipped(exc)
            return _START

    def _check(self, record: Record, wait: Wait, one: "_OneSweep") -> _Checked:
        """Handle one wait. Reports nothing; see ``_report``."""
        checked = _Checked(record, wait)
        deadline = one.shares.next()
        if one.ends_at - self._clock() < MIN_SHARE:
            checked.reached = False
            return checked
        try:
            end = self._waits.ends.of(wait)
            if end is None and (runs := self._to_ask(wait)) is not None:
                checked.reached, end = one.ask(runs, wait.run_id, deadline)
        except (RunStatusUnavailable, JournalUnavailable) as exc:
            checked.failure, end = exc, None
        deadline = max(deadline, min(one.ends_at, self._clock() + MIN_SHARE))  # if Azure ML has used up the share
        if end is not None:
            checked.attempt = self._waits.attempt(record, result_of(end), deadline)
        elif self._age(wait) > self._timeout:
            self._time_out(checked, deadline)
        return checked

    def _to_ask(self, wait: Wait) -> AmlRuns | None:
        """Return the runs of the workspace that a wait means, if it is time to ask there."""
        if self._age(wait) <= self._after:
            return None
        return next((runs for runs in self._runs if self._workspaces.is_meant(wait.workspace, runs.workspace_id)), None)

    def _age(self, wait: Wait) -> timedelta:
        return self._clock() - wait.registered_at

    def _time_out(self, checked: _Checked, deadline: datetime) -> None:
        checked.timed_out = True
        task_result = timeout_result(checked.wait.run_id, self._timeout / timedelta(hours=1))
        checked.attempt = self._waits.attempt(checked.record, task_result, deadline)
        if not _is_over(checked.attempt) and self._age(checked.wait) > self._timeout + _GRACE:
            reason = f"{checked.wait.task} timed out and could not be completed within {_GRACE.days} day after that"
            with suppress(ClaimLost, JournalUnavailable):  # another worker has just claimed it
                checked.given_up = reason if self._waits.give_up(checked.record, reason) else ""

    def _report(self, checked: _Checked, result: SweepResult) -> None:
        if checked.failure is not None:
            _log.warning("%s", checked.failure)
        if checked.timed_out:
            _log.error(
                "%s has waited for run %s since %s and fails after %g h (WAIT_TIMEOUT_HOURS)",
                checked.wait.task,
                checked.wait.run_id,
                checked.wait.registered_at,
                self._timeout / timedelta(hours=1),
            )
        if checked.attempt is not None:
            self._waits.report(checked.attempt)
            result.completed += _is_over(checked.attempt)
        if checked.given_up:
            _log.error("a wait was closed: %s", checked.given_up)
            result.given_up += 1


class _OneSweep:
    """What the waits of one sweep share. Thread-safe."""

    def __init__(self, shares: Shares, ends_at: datetime) -> None:
        self.shares = shares
        self.ends_at = ends_at
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], RunEnd | None] = {}
        self._failures: Counter[str] = Counter()

    def ask(self, runs: AmlRuns, run_id: str, deadline: datetime) -> tuple[bool, RunEnd | None]:
        """Ask Azure ML about a run, once for all tasks that wait for it.

        Return whether it was asked, and the end of the run.

        :raises RunStatusUnavailable: Azure ML does not answer.
        """
        workspace = runs.workspace_id
        with self._lock:
            if (workspace, run_id) in self._known:
                return True, self._known[workspace, run_id]
            if self._failures[workspace] >= _MAX_FAILURES:
                return False, None
        try:
            end = runs.end_of(run_id, deadline)
        except RunStatusUnavailable as exc:
            with self._lock:
                self._failures[workspace] += not exc.is_about_run
            raise
        with self._lock:
            self._known[workspace, run_id] = end
        return True, end


def _in_turn(records: Sequence[Record]) -> Iterator[Record]:
    """Yield waits that were never tried and those that were in turn, so that neither use up the time of the others."""
    tried = [record for record in records if record.state is not State.WAITING]
    for pair in zip_longest(records[: len(records) - len(tried)], tried):
        yield from (record for record in pair if record is not None)


def _is_over(attempt: Attempt) -> bool:
    return attempt.result is None or attempt.result.outcome is not Outcome.DEFERRED
