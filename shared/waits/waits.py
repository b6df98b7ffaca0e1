"""Tasks that wait for runs: registration, the end of a run, and the completion of each task exactly once.

**Any order.** A registration writes the wait, then looks for the end of the run. The event that reports the end writes
the end, then looks for waits. The second one therefore finds the first, and if both happen at the same time, both find
each other. To complete the task, the wait's record is claimed like the record of an event, so only one of them does it.

**Exactly once.** The record becomes ``uncertain`` in three cases: a worker dies with its claim, an answer of Azure
DevOps is lost, or a task is completed before it receives the answer to its own request. Azure DevOps does not document
whether it accepts such an early completion. The next worker that claims an uncertain record first asks Azure DevOps
whether the task has ended.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final, Protocol

from shared.clock import Clock, utc_now
from shared.errors import (
    AlreadyWaiting,
    AnswerLost,
    AzureDevOpsError,
    ClaimLost,
    CredentialRejected,
    InvalidWait,
    JournalUnavailable,
    PermissionDenied,
    RequestRefused,
)
from shared.events.event import RunEnd
from shared.journal.journal import AlreadyFinal, Claimed, Journal, NotClaimable
from shared.journal.records import FINAL_STATES, NO_EVENT, Entry, Record, Selection, State
from shared.telemetry import Decision, Outcome, Report, Result, delay_ms, log_decision
from shared.waits.plan_url import PlanUrls
from shared.waits.request import Task, WaitRequest
from shared.waits.task_client import Access
from shared.waits.task_result import TaskResult, result_of
from shared.waits.tokens import TokenSeal
from shared.waits.wait import (
    Wait,
    end_record,
    ends_partition,
    read_each,
    read_end,
    run_of_task,
    task_record,
    waits_partition,
)

MAX_WAITS_PER_RUN: Final = 1000
_MAX_WORKSPACES: Final = 100
_VERIFY_SECONDS: Final = 1.0
_LOG_SECONDS: Final = 4.0

_log = logging.getLogger("nextstage.waits")


class Tasks(Protocol):
    """Requests to Azure DevOps; see ``shared.waits.task_client.TasksClient``. Every call ends before its deadline."""

    def complete(self, task: Task, access: Access, result: str, deadline: datetime) -> None:
        """Complete the task. After AnswerLost, the task may have been completed; after other errors, it has not."""

    def has_ended(self, task: Task, access: Access, deadline: datetime) -> bool:
        """Return whether the task has ended."""

    def show_lines(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Show lines in the live console of the task."""

    def write_log(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Write a permanent log for the task."""


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """The event that reports the end of a run. Empty if it is known from a registration or a sweep."""

    entry: Entry = NO_EVENT
    event_time: datetime | None = None


class Waits:
    """The tasks that wait for runs. Safe for many threads, processes and machines, like the journal."""

    def __init__(
        self,
        journal: Journal,
        tasks: Tasks,
        seal: TokenSeal,
        plan_urls: PlanUrls,
        *,
        report: Report = log_decision,
        clock: Clock = utc_now,
    ) -> None:
        self._journal = journal
        self._tasks = tasks
        self._seal = seal
        self._plan_urls = plan_urls
        self._report = report
        self._clock = clock

    def register(self, request: WaitRequest, deadline: datetime) -> Record:
        """Register a wait. If the run has already ended, complete the task at once. Safe to repeat.

        Return the wait's record as it was before the task was completed.

        :raises InvalidWait: Azure DevOps does not know the plan, or rejects the token.
        :raises AlreadyWaiting: the same task already waits for another run.
        :raises CredentialUnavailable: there is no key to encrypt the token with.
        :raises JournalUnavailable: the wait may not have been stored.
        """
        key, wanted = task_record(request)
        noted = self._journal.get(key)
        _check_run(request, noted, wanted)
        wait = Wait(request.task, request.run_id, request.workspace, self._clock(), "", proven=False)
        record = None if noted is None else self._journal.get(wait.key)
        if record is None:
            token = self._seal.encrypt(request.token)
            wait = replace(wait, sealed_token=token, proven=self._verify_token(request, deadline))
            _check_run(request, self._journal.write_once(key, State.NOTED, wanted), wanted)
            record = self._journal.write_once(wait.key, State.WAITING, wait.document())
        if record.state not in FINAL_STATES and (end := self.known_end(Wait.of(record))) is not None:
            self.complete(record, result_of(end), deadline, before_answer=True)
        return record

    def run_ended(
        self, end: RunEnd, entry: Entry, deadline: datetime, event_time: datetime | None = None
    ) -> tuple[Decision, ...]:
        """Store the end of a run and complete every task that waits for it. Failures become outcomes, not errors.

        :param entry: the event that reports the end.
        :param event_time: when the event happened.
        """
        source_event = SourceEvent(entry, event_time)
        try:
            key, document = end_record(end)
            end = read_end(self._journal.write_once(key, State.NOTED, document))
            open_waits = read_each(Wait.of, self._waiting_for(end.run_id))
            waiting = [record for record, wait in open_waits if wait.waits_for(end)]
        except JournalUnavailable as exc:
            return (self._report_decision(source_event, "", Result.deferred(exc), 0.0),)
        decisions = [self.complete(record, result_of(end), deadline, source_event) for record in waiting]
        return tuple(decision for decision in decisions if decision is not None)

    def known_end(self, wait: Wait) -> RunEnd | None:
        """Return the end of the run that a task waits for; None if its event has not arrived.

        :raises JournalUnavailable: the store does not answer.
        """
        noted = self._journal.select(Selection(ends_partition(wait.run_id)), _MAX_WORKSPACES)
        return next((end for _, end in read_each(read_end, noted) if wait.waits_for(end)), None)

    def complete(
        self,
        record: Record,
        task_result: TaskResult,
        deadline: datetime,
        source_event: SourceEvent | None = None,
        *,
        before_answer: bool = False,
    ) -> Decision | None:
        """Complete a task, unless it has been completed before. Return None if it has been.

        :param source_event: the event that reports the end of the run, if there is one.
        :param before_answer: whether the task has not yet received the answer to its own request.
        """
        started = perf_counter()
        try:
            result = self._claim_and_complete(record, task_result, deadline, before_answer=before_answer)
        except (JournalUnavailable, ClaimLost) as exc:
            result = Result.deferred(exc)
        if result is None:
            return None
        return self._report_decision(source_event or SourceEvent(), record.key.key, result, perf_counter() - started)

    def give_up(self, record: Record, reason: str) -> None:
        """Close a wait although its task could not be completed.

        :raises JournalUnavailable: the store does not answer.
        :raises ClaimLost: another worker has taken the record over.
        """
        claim = self._journal.take(record, send_by=self._clock())
        if isinstance(claim, Claimed):
            self._close(claim.record, Wait.of(claim.record), reason)

    def _claim_and_complete(
        self, record: Record, task_result: TaskResult, deadline: datetime, *, before_answer: bool
    ) -> Result | None:
        if self._clock() >= deadline:
            return Result(Outcome.DEFERRED, f"no time was left to complete {Wait.of(record).task}")
        match self._journal.take(record, send_by=deadline):
            case AlreadyFinal():
                return None
            case NotClaimable(reason):
                return Result(Outcome.DEFERRED, f"{Wait.of(record).task}: {reason}")
            case Claimed() as mine:
                until = min(deadline, self._journal.act_until(mine.record))
                return self._complete_claimed(mine, task_result, until, before_answer=before_answer)

    def _complete_claimed(
        self, mine: Claimed, task_result: TaskResult, deadline: datetime, *, before_answer: bool
    ) -> Result:
        record, wait = mine.record, Wait.of(mine.record)
        in_doubt = mine.in_doubt
        try:
            access = self._access(wait)
            if in_doubt and self._tasks.has_ended(wait.task, access, deadline):
                return self._finish(record, wait, f"{wait.task} had already ended in Azure DevOps")
            if in_doubt:
                record, in_doubt = self._journal.will_send(record, deadline), False
            self._write_lines(wait, access, task_result, deadline)
            self._tasks.complete(wait.task, access, task_result.result, deadline)
        except AnswerLost as exc:
            self._journal.mark_uncertain(record, str(exc), in_progress=True)
            return Result.deferred(exc, wait.task)
        except RequestRefused as exc:
            return self._close(record, wait, f"cannot complete {wait.task} although {task_result.reason}: {exc}", exc)
        except AzureDevOpsError as exc:
            if in_doubt:
                self._journal.mark_uncertain(record, str(exc), in_progress=False)
            else:
                self._journal.release(record, str(exc))
            return Result.deferred(exc, wait.task)
        reason = f"{wait.task} was completed with '{task_result.result}', because {task_result.reason}"
        if before_answer:
            note = f"{reason}, before it received the answer to its request; this must be checked later"
            self._journal.mark_uncertain(record, note, in_progress=True)
            return Result(Outcome.COMPLETED, reason)
        return self._finish(record, wait, reason)

    def _finish(self, record: Record, wait: Wait, reason: str) -> Result:
        self._journal.finish(record, State.COMPLETED, reason, wait.without_token().document())
        return Result(Outcome.COMPLETED, reason)

    def _close(self, record: Record, wait: Wait, reason: str, refusal: RequestRefused | None = None) -> Result:
        self._journal.finish(record, State.CLOSED, reason, wait.without_token().document())
        if refusal is None or not refusal.not_found:  # a canceled pipeline is not an error
            _log.error("a wait was closed: %s", reason)
        return Result(Outcome.CLOSED, reason, cause="" if refusal is None else type(refusal).__name__)

    def _access(self, wait: Wait) -> Access:
        """Return the credentials for a task.

        The app's own identity is permitted only for tasks in the app's own organization whose token was accepted.
        Otherwise a caller with invented coordinates could use it to end other people's tasks or checks.
        """
        token = self._seal.decrypt(wait.sealed_token) if wait.sealed_token else None
        is_own = self._plan_urls.is_own_organization(wait.task.plan_url)
        return Access(token, identity=wait.proven and is_own and wait.task.hub_name.lower() == "build")

    def _verify_token(self, request: WaitRequest, deadline: datetime) -> bool:
        """Show in the task which run it waits for. Return whether this proves that Azure DevOps accepts the token.

        :raises InvalidWait: Azure DevOps rejects the token or does not know the plan.
        """
        line = f"nextstage: waiting for Azure ML run {request.run_id}; no agent is occupied"
        until = min(deadline, self._clock() + timedelta(seconds=_VERIFY_SECONDS))
        try:
            self._tasks.show_lines(request.task, Access(request.token), [line], until)
        except (CredentialRejected, PermissionDenied) as exc:
            raise InvalidWait({"AuthToken": "is rejected by Azure DevOps for this plan"}) from exc
        except RequestRefused as exc:
            raise InvalidWait(
                {"PlanId": f"is not known to Azure DevOps, or does not contain this task: {exc}"}
            ) from exc
        except AzureDevOpsError as exc:
            _log.warning("%s was registered without a check of its token: %s", request.task, exc)
            return False
        return True

    def _write_lines(self, wait: Wait, access: Access, task_result: TaskResult, deadline: datetime) -> None:
        """Write the log of the task, if possible. Leave at least half of the time for completing the task."""
        now = self._clock()
        until = now + min(timedelta(seconds=_LOG_SECONDS), (deadline - now) / 2)
        try:
            self._tasks.show_lines(wait.task, access, task_result.lines, until)
            self._tasks.write_log(wait.task, access, task_result.lines, until)
        except AzureDevOpsError as exc:
            _log.info("no log could be written for %s: %s", wait.task, exc)

    def _waiting_for(self, run_id: str) -> Iterator[Record]:
        found = self._journal.select(Selection(waits_partition(run_id)), MAX_WAITS_PER_RUN)
        return (record for record in found if record.state not in FINAL_STATES)

    def _report_decision(self, source_event: SourceEvent, key: str, result: Result, seconds: float) -> Decision:
        delay = delay_ms(source_event.event_time, self._clock())
        decision = Decision.of(source_event.entry, result, key=key, seconds=seconds, delay_ms=delay)
        self._report(decision)
        return decision


def _check_run(request: WaitRequest, noted: Record | None, wanted: str) -> None:
    """Check that a task does not wait for another run.

    :raises AlreadyWaiting: it does.
    """
    if noted is not None and noted.document != wanted:
        raise AlreadyWaiting(
            f"{request.task} already waits for run {run_of_task(noted)}; a task can wait for only one run"
        )
