"""Drive a claimed record to a final state: adopt an existing run or queue a new one, and write down the outcome.

The choice of the state after an error is what makes "exactly once" work. A record is released only if it is certain
that no run was queued. Otherwise it becomes uncertain, and ``recovery.py`` handles it.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from shared.azure_devops.runs import Run, RunRequest
from shared.clock import Clock, utc_now
from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    ClaimLost,
    JournalUnavailable,
    RequestRefused,
    RunAlreadyOwned,
    RunExists,
)
from shared.journal.cooldown import Cooldowns, Covered, Undecided, Window
from shared.journal.journal import Claimed, Journal
from shared.journal.records import JournalKey, Record
from shared.logs import logger
from shared.queueing.pipelines import Pipelines, orchestration_id
from shared.routing.table import Match, Refusal
from shared.telemetry import Outcome, Result

if TYPE_CHECKING:
    from shared.queueing.recovery import Recovery

_SETTLE_EVERY: Final = timedelta(minutes=10)

_log = logger("nextstage.queueing")


class Queueing:
    """Acts on claimed records. Safe for many threads."""

    def __init__(
        self,
        journal: Journal,
        pipelines: Pipelines,
        cooldowns: Cooldowns,
        *,
        come_again: Callable[[JournalKey, Result], object] | None = None,
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """:param come_again: has a second run of an event looked at later; None if only timers and deliveries do so."""
        self._come_again = come_again
        self._journal = journal
        self._pipelines = pipelines
        self._cooldowns = cooldowns
        self._clock = clock
        self._sleep = sleep
        self._settle_at = clock() + _SETTLE_EVERY

    @cached_property
    def recovery(self) -> "Recovery":
        """Handles records in doubt. Most processes have none, and do not import it."""
        from shared.queueing.recovery import Recovery

        return Recovery(
            self._journal, self._pipelines, come_again=self._come_again, clock=self._clock, sleep=self._sleep
        )

    def sender(self) -> str:
        """Return a fingerprint of the credential that a request is sent with, for its record."""
        return self._pipelines.sender()

    def admit(self, organization_url: str, *, later: bool = False) -> float:
        """Return 0 if work for an organization may begin now, else the seconds after which to ask again.

        Asked before a claim, by work that has a journal to wait in.

        :param later: the work has just been tried, so it never begins now.
        """
        return self._pipelines.admit(organization_url, later=later)

    def act(self, mine: Claimed, decided: Match | Refusal, deadline: datetime) -> Result:
        """Carry out the route's decision once.

        :param deadline: every request ends before this time, and before the lease expires.
        :raises ClaimLost: another delivery has taken over the record.
        :raises JournalUnavailable: the outcome could not be recorded; a later delivery determines it.
        """
        deadline = min(deadline, self._journal.act_until(mine.record))
        result = self._act(mine, decided, deadline)
        if mine.in_doubt:
            self.recovery.settle_orphans(mine.record)
        return result

    def settle_orphans_sometimes(self, seconds: float) -> None:
        """Cancel second runs of events, but only every ten minutes, because looking for them costs a query.

        While waits are off, no timer does so.

        :param seconds: how long it may take.
        """
        if (now := self._clock()) >= self._settle_at:
            self._settle_at = now + _SETTLE_EVERY
            self.recovery.orphans.settle(seconds)

    def _act(self, mine: Claimed, decided: Match | Refusal, deadline: datetime) -> Result:
        record = mine.record
        sent: RunRequest | None = None
        if mine.in_doubt:
            found = self.recovery.search(record, deadline)
            if isinstance(found, Result):
                return found
            sent = found
        match decided:
            case Refusal(reason=reason, cause=cause):
                return self._park(record, reason, cause)
            case Match(request=request, window=window):
                held_back = None if window is None else self._enter(record, window)
                if held_back is not None:
                    return held_back
                if mine.in_doubt:
                    record = self._journal.will_send(record, deadline, self.sender())
                return self._send(record, sent or request, deadline)

    def tag(self, mine: Claimed, match: Match, result: Result, deadline: datetime) -> None:
        """Tag the run that was queued. An error is only logged, because the tags are not essential."""
        if result.outcome is not Outcome.QUEUED or result.run_id is None or not match.tags:
            return
        # A reconciled run is in the project of the request that was sent, even if the route names another one now.
        request = RunRequest.from_json(mine.record.entry.request) if mine.in_doubt else match.request
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
            run = self._pipelines.run(request, deadline, orchestration_id(record.key))
        except RunExists as exc:
            return self.recovery.run_exists(record, request, exc, deadline)
        except AnswerLost as exc:
            try:
                self._journal.mark_uncertain(record, str(exc), in_progress=True)
            except ClaimLost:
                self.recovery.write_down(record, request, None)
                raise
            except JournalUnavailable:
                self.recovery.write_down_if_late(record, request, None)
                raise
            return Result.deferred(exc)
        except RequestRefused as exc:
            return self._park(record, str(exc), type(exc).__name__)
        except AzureDevOpsError as exc:
            self._journal.release(record, str(exc))
            return Result.deferred(exc)
        return self._complete(record, request, run)

    def _complete(self, record: Record, request: RunRequest, run: Run) -> Result:
        """Write down the run that Azure DevOps has named. It is ours, whatever the journal knows of its ID."""
        note = ""
        try:
            try:
                self._journal.complete(record, run.id, run.url)
            except RunAlreadyOwned:
                note = (
                    f"another record of this route names a run {run.id} too: the run IDs of {request.organization_url} "
                    "have begun again"
                )
                _log.warning("run %d was queued; %s", run.id, note)
                self._journal.complete(record, run.id, run.url, note, shares_run_id=True)
        except ClaimLost:
            return self.recovery.claim_lost_after_queuing(record, request, run)
        except JournalUnavailable:
            _log.error("run %d was queued, but the journal could not record it; the next delivery will find it", run.id)
            self.recovery.write_down_if_late(record, request, run)
            raise
        return Result(Outcome.QUEUED, note, run.id, run.url)

    def _park(self, record: Record, reason: str, cause: str = "") -> Result:
        self._journal.park(record, reason)
        return Result(Outcome.PARKED, reason, cause=cause)
