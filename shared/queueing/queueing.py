"""Drive a claimed record to a final state: adopt an existing run or queue a new one, and write down the outcome.

The choice of the state after an error is what makes "exactly once" work. A record is released only if it is certain
that no run was queued. Otherwise it becomes uncertain.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from shared.azure_devops.reconcile import Build, Expected, differences
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
    UnreadableRecord,
)
from shared.journal.cooldown import Cooldowns, Covered, Undecided, Window
from shared.journal.journal import SENT_AGAIN, Claimed, Journal, NotClaimable
from shared.journal.records import Record, State
from shared.logs import logger
from shared.queueing.orphans import Orphan, Orphans, reservation
from shared.queueing.pipelines import Pipelines, orchestration_id
from shared.queueing.search import Found, LostRequest, NotYet, Search, Unclear
from shared.routing.table import Match, Refusal
from shared.telemetry import Outcome, Result

_CANCEL_SECONDS: Final = 10.0
_WRITES_OF_AN_ORPHAN: Final = 5
_EXISTS: Final = "Azure DevOps has carried out an earlier request with the same orchestration ID"
_MAX_EXISTS: Final = 3
_DECIDE: Final = (
    "If there is one, 'manage.py redrive KEY --adopt RUN_ID' adopts it; if there is none, 'manage.py redrive KEY "
    "--without-looking' queues one"
)

_log = logger("nextstage.queueing")


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
        self.orphans = Orphans(journal, pipelines, clock)

    def sender(self) -> str:
        """Return a fingerprint of the credential that a request is sent with, for its record."""
        return self._pipelines.sender()

    def act(self, mine: Claimed, decided: Match | Refusal, deadline: datetime) -> Result:
        """Carry out the route's decision once.

        :param deadline: every request ends before this time, and before the lease expires.
        :raises ClaimLost: another delivery has taken over the record.
        :raises JournalUnavailable: the outcome could not be recorded; a later delivery determines it.
        """
        deadline = min(deadline, self._journal.act_until(mine.record))
        result = self._act(mine, decided, deadline)
        if mine.in_doubt:
            self.settle_orphans(mine.record)
        return result

    def adoptable(self, record: Record, run_id: int, deadline: datetime) -> Build:
        """Return an existing run that a person may make that of a record. Changes nothing.

        :raises RequestRefused: the run does not exist, or not in this record's pipeline, or another record owns it.
        :raises AzureDevOpsError: Azure DevOps does not answer.
        :raises JournalUnavailable: the journal does not answer.
        """
        try:
            lost = LostRequest.of(record)
        except ValueError as exc:
            raise RequestRefused(f"the record {record.key.key[:12]} has no request that a run could belong to") from exc
        request = lost.request
        build = self._pipelines.build(request, run_id, deadline)
        if build is None:
            raise RequestRefused(f"there is no run {run_id} in project {request.project} of {request.organization_url}")
        if build.pipeline_id != self._pipelines.pipeline_id(request, deadline):
            raise RequestRefused(f"run {run_id} is one of another pipeline, not of {request.pipeline}")
        search = Search(self._journal, self._pipelines, lost)
        for other in self._journal.may_own([run_id]):
            if other.key != record.key and search.owns(other, build):
                raise RequestRefused(f"run {run_id} belongs to the record {other.key.key[:12]} of {other.key.route}")
        return build

    def differences(self, record: Record, build: Build, deadline: datetime) -> list[str]:
        """Return in words what shows that a run is not that of a record.

        :raises AzureDevOpsError: Azure DevOps does not answer.
        """
        request = RunRequest.from_json(record.entry.request)
        own_id = orchestration_id(record.key)
        if own_id in build.plan_ids:
            return []
        is_same_sender = bool(record.sender) and record.sender == self.sender()
        requester = self._pipelines.requester(request, deadline) if is_same_sender else None
        return differences(build, Expected(request, own_id, requester))

    def adopt(self, record: Record, run_id: int, deadline: datetime) -> Result:
        """Make an existing run that of a record, because a person says so.

        :raises ClaimLost: another worker has changed the record, or is at work on it.
        :raises RequestRefused: see ``adoptable``, which also raises all other errors.
        """
        build = self.adoptable(record, run_id, deadline)
        if not self._journal.reserve(reservation(RunRequest.from_json(record.entry.request), build), record.key):
            raise RequestRefused(f"run {run_id} has just been adopted for another record")
        if record.state is not State.PARKED:
            claim = self._journal.take(record, deadline)
            if not isinstance(claim, Claimed):
                reason = claim.reason if isinstance(claim, NotClaimable) else f"it is {claim.record.state} already"
                raise ClaimLost(f"the record {record.key.key[:12]} cannot be changed now: {reason}")
            record = claim.record
        note = "adopted by an operator"
        try:
            self._journal.complete(record, run_id, build.run.url, note)
        except RunAlreadyOwned:
            self._journal.complete(record, run_id, build.run.url, note, shares_run_id=True)
        self.settle_orphans(record)
        return Result(Outcome.QUEUED, note, run_id, build.run.url)

    def settle_orphans(self, record: Record) -> None:
        """Cancel the orphans of this record, if there can be any."""
        if any(step.state is State.UNCERTAIN for step in record.history):
            self.orphans.settle(_CANCEL_SECONDS, record.key)

    def _act(self, mine: Claimed, decided: Match | Refusal, deadline: datetime) -> Result:
        record = mine.record
        sent: RunRequest | None = None
        if mine.in_doubt:
            try:
                lost = LostRequest.of(record)
            except ValueError:  # the store cut it; reasonable requests are far below the limit
                reason = "a run may have been queued, but the journal has only a part of its request to search with"
                return self._park(record, reason)
            if (result := self._reconcile(record, lost, deadline)) is not None:
                return result
            sent = lost.request
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
            return self._run_exists(record, request, exc, deadline)
        except AnswerLost as exc:
            try:
                self._journal.mark_uncertain(record, str(exc), in_progress=True)
            except ClaimLost:
                self._write_down(record, request, None)
                raise
            except JournalUnavailable:
                self._write_down_if_late(record, request, None)
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
            return self._claim_lost_after_queuing(record, request, run)
        except JournalUnavailable:
            _log.error("run %d was queued, but the journal could not record it; the next delivery will find it", run.id)
            self._write_down_if_late(record, request, run)
            raise
        return Result(Outcome.QUEUED, note, run.id, run.url)

    def _run_exists(self, record: Record, request: RunRequest, error: RunExists, deadline: datetime) -> Result:
        """Adopt the run of an earlier request, which was sent at any time since the record was created."""
        first = record.history[0].at
        lost = LostRequest(record.key, request, record.sender, min(first, record.claimed_at), self._journal.now())
        if (result := self._reconcile(record, lost, deadline)) is not None:
            return result
        reason = f"{_EXISTS}: {error}"
        if sum(step.note.startswith(_EXISTS) for step in record.history) + 1 >= _MAX_EXISTS:
            advice = "'manage.py redrive KEY' searches again, and with --adopt RUN_ID adopts a run that you have found"
            return self._park(record, f"{reason}; its run is not listed; {advice}", type(error).__name__)
        self._journal.mark_uncertain(record, reason, in_progress=True)
        return Result(Outcome.DEFERRED, reason, cause=type(error).__name__)

    def _reconcile(self, record: Record, lost: LostRequest, deadline: datetime) -> Result | None:
        """Search for the run that a lost request may have queued. Return None if it is certain that there is none."""
        search = Search(self._journal, self._pipelines, lost)
        try:
            found = search.find(deadline)
        except RequestRefused as exc:
            reason = f"a run may have been queued, but the search for it was refused: {exc}"
            return self._park(record, reason, type(exc).__name__)
        except (AzureDevOpsError, UnreadableRecord) as exc:
            about = "a run that was found may belong to another record" if isinstance(exc, UnreadableRecord) else None
            return self._search_later(record, search, Result.deferred(exc, about))
        match found:
            case Found():
                return self._adopt(record, lost, found)
            case NotYet(reason):
                return self._search_later(record, search, Result(Outcome.DEFERRED, reason))
            case Unclear(builds):
                runs = ", ".join(f"{build.run.id} ({build.run.url})" for build in builds)
                return self._park(record, f"cannot tell whether one of these runs was queued for it: {runs}. {_DECIDE}")
            case None:
                return None

    def _search_later(self, record: Record, search: Search, result: Result) -> Result:
        until = search.searched_until
        self._journal.mark_uncertain(record, result.reason, in_progress=False, searched_until=until)
        return result

    def _adopt(self, record: Record, lost: LostRequest, found: Found) -> Result | None:
        """Adopt the first run that is not reserved. Cancel the others if the request was sent more than once."""
        has_orphans = any(step.note == SENT_AGAIN for step in record.history)
        has_orphans = has_orphans and not found.is_certain and not found.has_rivals
        note = "found in Azure DevOps after the answer was lost"
        if len(found.builds) > 1:
            ids = ", ".join(str(build.run.id) for build in found.builds)
            note += f"; one of {len(found.builds)} matching runs: {ids}"
            _log.warning("the run of event %s was %s", record.entry.event_id, note)
        for build in found.builds:
            if not found.is_certain and not self._journal.reserve(reservation(lost.request, build), record.key):
                continue
            run = build.run
            for other in found.builds if has_orphans else ():
                if other is not build:
                    self.orphans.write_down(Orphan(lost, other.run))
            try:
                self._journal.complete(record, run.id, run.url, note)
            except RunAlreadyOwned:  # by a record of the time before the IDs began again
                self._journal.complete(record, run.id, run.url, note, shares_run_id=True)
            return Result(Outcome.QUEUED, note, run.id, run.url)
        return None

    def _park(self, record: Record, reason: str, cause: str = "") -> Result:
        self._journal.park(record, reason)
        return Result(Outcome.PARKED, reason, cause=cause)

    def _claim_lost_after_queuing(self, record: Record, request: RunRequest, run: Run) -> Result:
        """Handle a run that was queued after the lease expired: if the new holder has another run, cancel ours."""
        current = self._write_down(record, request, run)
        if current is not None and current.run_id == run.id:
            return Result(Outcome.DUPLICATE, "another delivery found and recorded this run", run.id, run.url)
        self.orphans.settle(_CANCEL_SECONDS, record.key)
        if current is None or current.run_id is None:
            return Result(Outcome.DEFERRED, f"the claim was lost while run {run.id} was being queued")
        reason = f"run {run.id} was queued too late and is canceled"
        return Result(Outcome.DUPLICATE, reason, current.run_id, current.run_url)

    def _write_down_if_late(self, record: Record, request: RunRequest, run: Run | None) -> None:
        """Keep the run as an orphan if the lease has expired: another delivery may have taken over in the meantime."""
        if self._journal.now() >= record.lease_until:
            self._write_down(record, request, run)

    def _write_down(self, record: Record, request: RunRequest, run: Run | None) -> Record | None:
        """Keep the run of a lost claim as an orphan, unless it is the event's run. Return the event's record.

        :raises JournalUnavailable: the journal does not answer for several seconds.
        """
        until = self._journal.now() + self._journal.settle
        orphan = Orphan(LostRequest(record.key, request, record.sender, record.changed_at, until), run)
        error = JournalUnavailable("the journal was not asked")
        for attempt in range(_WRITES_OF_AN_ORPHAN):
            if attempt:
                self._sleep(1.0)
            try:
                current = self._journal.get(record.key)
                if run is None or current is None or current.run_id != run.id:
                    self.orphans.write_down(orphan)
            except JournalUnavailable as exc:
                error = exc
            else:
                return current
        name = "a run may have been queued" if run is None else f"run {run.id} ({run.url}) was queued"
        _log.critical(
            "%s after its claim was lost, and that could not be written down (%s). The event may have another run: "
            "compare with the journal record %s, and cancel one of them by hand if there are two",
            *(name, error, record.key.key),
        )
        raise error
