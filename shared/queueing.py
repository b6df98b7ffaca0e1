"""Drive a claimed record to a final state: adopt an existing run or queue a new one, and write down the outcome.

The choice of the state after an error is what makes "exactly once" work. A record is released only if it is certain
that no run was queued. Otherwise it becomes uncertain.
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
from shared.journal.journal import Claimed, Journal
from shared.journal.records import Record, State
from shared.routing.table import Match, Refusal
from shared.telemetry import Outcome, Result

CLOCK_SKEW: Final = timedelta(seconds=30)
"""How much the clock of Azure DevOps may differ from ours when the app searches for a run.

As short as possible: a search reads all runs of the period, and a busy pipeline has many.
"""

_CANCEL_SECONDS: Final = 10.0
_READS_AFTER_LOST_CLAIM: Final = 5

_log = logging.getLogger("nextstage.queueing")


class Pipelines(Protocol):
    """The calls to Azure DevOps; see ``PipelinesClient``. Every call ends before its deadline."""

    def run(self, request: RunRequest, deadline: datetime) -> Run:
        """Queue one run. If it raises AnswerLost, a run may have been queued; after other errors, none was."""

    def find_runs(self, request: RunRequest, since: datetime, until: datetime, deadline: datetime) -> list[Run]:
        """Return the runs of that period that match the request, oldest first. Never raises AnswerLost."""

    def cancel(self, request: RunRequest, run: Run, deadline: datetime) -> None:
        """Ask Azure DevOps to cancel a run."""

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

    def act(self, mine: Claimed, decided: Match | Refusal, deadline: datetime) -> Result:
        """Carry out the route's decision once.

        :param deadline: every request ends before this time, and before the lease expires.
        :raises ClaimLost: another delivery has taken over the record.
        :raises JournalUnavailable: the outcome could not be recorded; a later delivery determines it.
        """
        record = mine.record
        deadline = min(deadline, record.lease_until)
        sent: RunRequest | None = None
        if mine.lost_until is not None:
            try:
                sent = RunRequest.from_json(record.entry.request)
            except ValueError:  # the store cut it; reasonable requests are far below the limit
                reason = "a run may have been queued, but the journal has only a part of its request to search with"
                return self._park(record, reason)
            if (result := self._reconcile(record, sent, mine.lost_until, deadline)) is not None:
                return result
        match decided:
            case Refusal(reason=reason, cause=cause):
                return self._park(record, reason, cause)
            case Match(request=request, window=window):
                held_back = None if window is None else self._enter(record, window)
                return held_back or self._send(record, sent or request, deadline)

    def tag(self, mine: Claimed, match: Match, result: Result, deadline: datetime) -> None:
        """Tag the run that was queued. An error is only logged, because the tags are not essential."""
        if result.outcome is not Outcome.QUEUED or result.run_id is None or not match.tags:
            return
        # A reconciled run is in the project of the request that was sent, even if the route names another one now.
        request = match.request if mine.lost_until is None else RunRequest.from_json(mine.record.entry.request)
        try:
            self._pipelines.tag(request, Run(result.run_id, result.run_url), match.tags, deadline)
        except AzureDevOpsError as exc:
            _log.warning("run %d could not be tagged with %s: %s", result.run_id, ", ".join(match.tags), exc)

    def _enter(self, record: Record, window: Window) -> Result | None:
        """Enter the route's cooldown window. Return the result if the window prevents a new run, else None."""
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
            self._journal.mark_uncertain(record, str(exc), in_progress=True)
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
            # Another record with equal parameters searched for its own run and adopted ours. Such runs are
            # interchangeable: if the other record's request queued a run, that run is now ours.
            reason = (
                f"run {run.id} was adopted for another event with equal parameters; the next delivery looks for the "
                "run of that event"
            )
            self._journal.mark_uncertain(record, reason, in_progress=False)
            return Result(Outcome.DEFERRED, reason, cause=type(exc).__name__)
        except ClaimLost:
            return self._claim_lost_after_queuing(record, request, run)
        except JournalUnavailable:
            _log.error("run %d was queued, but the journal could not record it; the next delivery will find it", run.id)
            raise
        return Result(Outcome.QUEUED, "", run.id, run.url)

    def _reconcile(
        self, record: Record, request: RunRequest, lost_until: datetime, deadline: datetime
    ) -> Result | None:
        """Search for the run that a lost request may have queued. Return None if it is certain that there is none."""
        since, until = record.claimed_at - CLOCK_SKEW, lost_until + CLOCK_SKEW
        while True:
            try:
                found = self._pipelines.find_runs(request, since, until, deadline)
            except RequestRefused as exc:
                reason = f"a run may have been queued, but the search for it was refused: {exc}"
                return self._park(record, reason, type(exc).__name__)
            except AzureDevOpsError as exc:
                self._journal.mark_uncertain(record, str(exc), in_progress=False)
                return Result.deferred(exc)
            owned = self._journal.owned_runs(record.key.route, [run.id for run in found])
            adopted = self._adopt(record, [run for run in found if run.id not in owned])
            if adopted is not None:
                return adopted
            displaced_until = self._displaced_until(record, found)
            if displaced_until is None or displaced_until <= until:
                return None
            until = displaced_until

    def _adopt(self, record: Record, candidates: Sequence[Run]) -> Result | None:
        """Adopt the first run that no other record has adopted in the meantime."""
        for run in candidates:
            note = "found in Azure DevOps after the answer was lost"
            if len(candidates) > 1:
                ids = ", ".join(str(run.id) for run in candidates)
                note += f"; the oldest of {len(candidates)} matching runs: {ids}"
            try:
                self._journal.complete(record, run.id, run.url, note)
            except RunAlreadyOwned:
                continue
            return Result(Outcome.QUEUED, note, run.id, run.url)
        return None

    def _displaced_until(self, record: Record, adopted: Iterable[Run]) -> datetime | None:
        """Return the latest time at which the run displaced by ours may have been queued; None if ours is not adopted.

        An uncertain record with an equal request adopts the oldest matching run. If that run was ours, the run of that
        record is displaced, and we can adopt it. It was queued before that record became final, which may be after the
        period that was searched.
        """
        owners = (self._journal.owner(record.key.route, run.id) for run in adopted)
        uncertain = [
            owner for owner in owners if owner and any(step.state is State.UNCERTAIN for step in owner.history)
        ]
        return max((owner.history[-1].at + CLOCK_SKEW for owner in uncertain), default=None)

    def _park(self, record: Record, reason: str, cause: str = "") -> Result:
        self._journal.park(record, reason)
        return Result(Outcome.PARKED, reason, cause=cause)

    def _claim_lost_after_queuing(self, record: Record, request: RunRequest, run: Run) -> Result:
        """Handle a run that was queued after the lease expired: if the new holder has another run, cancel ours."""
        current = self._final_record(record)
        if current is not None and current.run_id == run.id:
            return Result(Outcome.DUPLICATE, "another delivery found and recorded this run", run.id, run.url)
        if current is None or current.run_id is None:
            _log.critical(
                "run %d (%s) was queued after its claim was lost, and the same event may get another run; check the "
                "journal record %s, and cancel one of the runs by hand if there are two",
                *(run.id, run.url, record.key.key),
            )
            return Result(Outcome.DEFERRED, f"the claim was lost while run {run.id} was being queued")
        self._cancel(request, run, current.run_id)
        return Result(
            Outcome.DUPLICATE, f"run {run.id} was queued too late and was canceled", current.run_id, current.run_url
        )

    def _cancel(self, request: RunRequest, run: Run, winner: int) -> None:
        try:
            self._pipelines.cancel(request, run, self._clock() + timedelta(seconds=_CANCEL_SECONDS))
        except AzureDevOpsError as exc:
            _log.critical(
                "runs %d and %d were queued for one event, and %d could not be canceled (%s); cancel it by hand: %s",
                *(winner, run.id, run.id, exc, run.url),
            )
        else:
            _log.error("run %d was queued too late and is being canceled: its event has run %d already", run.id, winner)

    def _final_record(self, record: Record) -> Record | None:
        """Wait a little for the record's new holder, then return the record; None if it still has no run."""
        for attempt in range(_READS_AFTER_LOST_CLAIM):
            if attempt:
                self._sleep(1.0)
            current = self._journal.get(record.key)
            if current is not None and current.run_id is not None:
                return current
        return None
