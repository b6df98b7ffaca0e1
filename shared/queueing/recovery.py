"""Find the runs that lost requests may have queued, and adopt or cancel them.

Most processes never need this: it begins when an answer or a claim was lost, or when an operator adopts a run.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from shared.azure_devops.reconcile import Build, Expected, differences
from shared.azure_devops.runs import Run, RunRequest
from shared.clock import Clock, utc_now
from shared.errors import (
    AzureDevOpsError,
    ClaimLost,
    JournalUnavailable,
    RequestRefused,
    RunAlreadyOwned,
    RunExists,
    UnreadableRecord,
)
from shared.journal.journal import SENT_AGAIN, Claimed, Journal, NotClaimable
from shared.journal.records import JournalKey, Record, State
from shared.logs import logger
from shared.queueing.orphans import Orphan, Orphans, reservation
from shared.queueing.pipelines import Pipelines, orchestration_id
from shared.queueing.search import Found, LostRequest, NotYet, Search, Unclear
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


class Recovery:
    """Acts on records that may have a run which they do not name. Safe for many threads."""

    def __init__(
        self,
        journal: Journal,
        pipelines: Pipelines,
        *,
        come_again: Callable[[JournalKey, Result], object] | None = None,
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """:param come_again: see ``Orphans``."""
        self._journal = journal
        self._pipelines = pipelines
        self._sleep = sleep
        self.orphans = Orphans(journal, pipelines, clock, come_again)

    def search(self, record: Record, deadline: datetime) -> Result | RunRequest:
        """Search for the run of a record in doubt. Return the result, or the request to send again if it has no run."""
        try:
            lost = LostRequest.of(record)
        except ValueError:  # the store cut it; reasonable requests are far below the limit
            reason = "a run may have been queued, but the journal has only a part of its request to search with"
            return self._park(record, reason)
        result = self._reconcile(record, lost, deadline)
        return lost.request if result is None else result

    def run_exists(self, record: Record, request: RunRequest, error: RunExists, deadline: datetime) -> Result:
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

    def claim_lost_after_queuing(self, record: Record, request: RunRequest, run: Run) -> Result:
        """Handle a run that was queued after the lease expired: if the new holder has another run, cancel ours."""
        current = self.write_down(record, request, run)
        if current is not None and current.run_id == run.id:
            return Result(Outcome.DUPLICATE, "another delivery found and recorded this run", run.id, run.url)
        self.orphans.settle(_CANCEL_SECONDS, record.key)
        if current is None or current.run_id is None:
            return Result(Outcome.DEFERRED, f"the claim was lost while run {run.id} was being queued")
        reason = f"run {run.id} was queued too late and is canceled"
        return Result(Outcome.DUPLICATE, reason, current.run_id, current.run_url)

    def write_down_if_late(self, record: Record, request: RunRequest, run: Run | None) -> None:
        """Keep the run as an orphan if the lease has expired: another delivery may have taken over in the meantime."""
        if self._journal.now() >= record.lease_until:
            self.write_down(record, request, run)

    def write_down(self, record: Record, request: RunRequest, run: Run | None) -> Record | None:
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

    def settle_orphans(self, record: Record) -> None:
        """Cancel the orphans of this record, if there can be any."""
        if record.may_have_orphans:
            self.orphans.settle(_CANCEL_SECONDS, record.key)

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
        is_same_sender = bool(record.sender) and record.sender == self._pipelines.sender()
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
