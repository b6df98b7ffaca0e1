"""Drive a claimed record to a final state: adopt an existing run or queue a new one, and write down the outcome.

Which error leads to which state is the heart of "exactly once": released only if surely nothing was queued,
uncertain if that is not certain.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from shared.azure_devops.runs import Run, RunRequest
from shared.clock import Clock, utc_now
from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    ClaimLost,
    JournalUnavailable,
    RequestRefused,
    RunAlreadyOwned,
)
from shared.journal.cooldown import Cooldowns, Covered, Undecided, Window
from shared.journal.journal import Journal, Mine
from shared.journal.records import Record, State
from shared.routing.table import Match, Refusal
from shared.telemetry import Outcome, Result

CLOCK_SKEW: Final = timedelta(seconds=30)
"""How far the clock of Azure DevOps may be from ours when a run is looked for. As short as possible: all runs of the
time that is searched are read, and a busy pipeline has many.
"""

_CANCEL_SECONDS: Final = 10.0
_READS_AFTER_LOST_CLAIM: Final = 5

_log = logging.getLogger("nextstage.queueing")


class Pipelines(Protocol):
    """What is asked of Azure DevOps; see PipelinesClient. Every call ends before its deadline."""

    def run(self, request: RunRequest, deadline: datetime) -> Run:
        """Queue one run; only after AnswerLost may one have been queued in spite of the error."""

    def find_runs(self, request: RunRequest, since: datetime, until: datetime, deadline: datetime) -> list[Run]:
        """The runs queued within that time that carry what the request asks for, oldest first; never AnswerLost."""

    def cancel(self, request: RunRequest, run: Run, deadline: datetime) -> None:
        """Ask for a run to be cancelled."""

    def tag(self, request: RunRequest, run: Run, tags: Sequence[str], deadline: datetime) -> None:
        """Tag a run."""


class Queueing:
    """Acts on claimed records. Safe for many threads."""

    def __init__(
        self,
        journal: Journal,
        pipelines: Pipelines,
        cooldowns: Cooldowns,
        *,
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._journal = journal
        self._pipelines = pipelines
        self._cooldowns = cooldowns
        self._clock = clock
        self._sleep = sleep

    def act(self, mine: Mine, decided: Match | Refusal, deadline: datetime) -> Result:
        """Do what the route decided, once.

        :param deadline: no request may last beyond it, nor beyond the lease.
        :raises ClaimLost: another delivery has taken the record over.
        :raises JournalUnavailable: the outcome could not be written down; a later delivery finds out.
        """
        record = mine.record
        deadline = min(deadline, record.lease_until)
        sent: RunRequest | None = None
        if mine.lost_until is not None:
            try:
                sent = RunRequest.from_json(record.entry.request)
            except ValueError:  # cut by the store, whose bound no sensible request reaches
                return self._park(record, "a run may have been queued, and the request that asked for it was cut")
            if (result := self._reconcile(record, sent, mine.lost_until, deadline)) is not None:
                return result
        match decided:
            case Refusal(reason=reason, cause=cause):
                return self._park(record, reason, cause)
            case Match(request=request, window=window):
                held_back = None if window is None else self._enter(record, window)
                return held_back or self._send(record, sent or request, deadline)

    def tag(self, mine: Mine, match: Match, result: Result, deadline: datetime) -> None:
        """Tag the run that was queued, best effort: a run without tags is as good as one with."""
        if result.outcome is not Outcome.QUEUED or result.run_id is None or not match.tags:
            return
        # A run that was in doubt is where its request asked for it, even if the route names another project today.
        request = match.request if mine.lost_until is None else RunRequest.from_json(mine.record.entry.request)
        try:
            self._pipelines.tag(request, Run(result.run_id, result.run_url), match.tags, deadline)
        except AzureDevOpsError as exc:
            _log.warning("run %d could not be tagged with %s: %s", result.run_id, ", ".join(match.tags), exc)

    def _enter(self, record: Record, window: Window) -> Result | None:
        """Enter the route's cooldown window. Return the result if that holds the record back, else None."""
        match self._cooldowns.enter(record.key, window):
            case Covered(reason):
                self._journal.suppress(record, reason)
                return Result(Outcome.SUPPRESSED, reason)
            case Undecided(reason):
                self._journal.release(record, reason)
                return Result(Outcome.DEFERRED, reason)
            case None:
                return None

    def _send(self, record: Record, request: RunRequest, deadline: datetime) -> Result:
        try:
            run = self._pipelines.run(request, deadline)
        except AnswerLost as exc:
            self._journal.doubt(record, str(exc), under_way=True)
            return Result.deferred(exc)
        except RequestRefused as exc:
            return self._park(record, str(exc), type(exc).__name__)
        except AzureDevOpsError as exc:
            self._journal.release(record, str(exc))
            return Result.deferred(exc)
        return self._complete(record, request, run)

    def _complete(self, record: Record, request: RunRequest, run: Run) -> Result:
        try:
            self._journal.complete(record, run.id, run.url)
        except RunAlreadyOwned as exc:
            # Another record with equal parameters looked for its own run and took ours. Runs with equal parameters
            # are as good as each other: its run, if there is one, is ours now.
            reason = f"run {run.id} was taken for another event with equal parameters; looking for that one's run"
            self._journal.doubt(record, reason, under_way=False)
            return Result(Outcome.DEFERRED, reason, cause=type(exc).__name__)
        except ClaimLost:
            return self._claim_lost_after_queuing(record, request, run)
        except JournalUnavailable:
            _log.error("run %d is queued, but the journal could not note it; the next delivery will find it", run.id)
            raise
        return Result(Outcome.QUEUED, "", run.id, run.url)

    def _reconcile(
        self, record: Record, request: RunRequest, lost_until: datetime, deadline: datetime
    ) -> Result | None:
        """Look for the run that a lost request may have queued; None if there surely is none."""
        since, until = record.claimed_at - CLOCK_SKEW, lost_until + CLOCK_SKEW
        while True:
            try:
                found = self._pipelines.find_runs(request, since, until, deadline)
            except RequestRefused as exc:
                reason = f"a run may have been queued and cannot be looked for: {exc}"
                return self._park(record, reason, type(exc).__name__)
            except AzureDevOpsError as exc:
                self._journal.doubt(record, str(exc), under_way=False)
                return Result.deferred(exc)
            owned = self._journal.owned_runs(record.key.route, [run.id for run in found])
            adopted = self._adopt(record, [run for run in found if run.id not in owned])
            if adopted is not None:
                return adopted
            left_over_until = self._left_over_until(record, found)
            if left_over_until is None or left_over_until <= until:
                return None
            until = left_over_until

    def _adopt(self, record: Record, candidates: Sequence[Run]) -> Result | None:
        """Adopt the first run that no other record adopts meanwhile."""
        for run in candidates:
            note = "found in Azure DevOps after its answer was lost"
            if len(candidates) > 1:
                note += (
                    f"; the oldest of {len(candidates)} runs that fit: {', '.join(str(run.id) for run in candidates)}"
                )
            try:
                self._journal.complete(record, run.id, run.url, note)
            except RunAlreadyOwned:
                continue
            return Result(Outcome.QUEUED, note, run.id, run.url)
        return None

    def _left_over_until(self, record: Record, taken: Iterable[Run]) -> datetime | None:
        """Return the latest time at which the run displaced by ours may have been queued; None if ours was not taken.

        A record with an equal request that was in doubt takes the oldest run that fits. If that was ours, its own one
        is left over for us. It was queued before the other record was finished, and so maybe after the time that was
        searched.
        """
        owners = (self._journal.owner(record.key.route, run.id) for run in taken)
        in_doubt = [owner for owner in owners if owner and any(step.state is State.UNCERTAIN for step in owner.history)]
        return max((owner.history[-1].at + CLOCK_SKEW for owner in in_doubt), default=None)

    def _park(self, record: Record, reason: str, cause: str = "") -> Result:
        self._journal.park(record, reason)
        return Result(Outcome.PARKED, reason, cause=cause)

    def _claim_lost_after_queuing(self, record: Record, request: RunRequest, run: Run) -> Result:
        """Handle a run that was queued after the lease ended: if the new holder has another run, cancel ours."""
        current = self._final_record(record)
        if current is not None and current.run_id == run.id:
            return Result(Outcome.DUPLICATE, "another delivery found this run and noted it", run.id, run.url)
        if current is None or current.run_id is None:
            _log.critical(
                "run %d (%s) was queued after its claim was lost, and whether the same event has another run is not "
                "known yet; look at journal key %s and cancel one by hand if there are two",
                *(run.id, run.url, record.key.key),
            )
            return Result(Outcome.DEFERRED, f"the claim was lost while run {run.id} was being queued")
        self._cancel(request, run, current.run_id)
        return Result(
            Outcome.DUPLICATE, f"run {run.id} came too late and was cancelled", current.run_id, current.run_url
        )

    def _cancel(self, request: RunRequest, run: Run, winner: int) -> None:
        try:
            self._pipelines.cancel(request, run, self._clock() + timedelta(seconds=_CANCEL_SECONDS))
        except AzureDevOpsError as exc:
            _log.critical(
                "runs %d and %d were queued for one event, and %d could not be cancelled (%s); cancel it by hand: %s",
                *(winner, run.id, run.id, exc, run.url),
            )
        else:
            _log.error("run %d was queued too late for its event, which has run %d, and is cancelled", run.id, winner)

    def _final_record(self, record: Record) -> Record | None:
        """Return the record as its new holder leaves it, after a short wait; None if it has no run yet."""
        for attempt in range(_READS_AFTER_LOST_CLAIM):
            if attempt:
                self._sleep(1.0)
            current = self._journal.get(record.key)
            if current is not None and current.run_id is not None:
                return current
        return None
