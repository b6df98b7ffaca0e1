"""Tasks that wait for runs: registration, the end of a run, and the completion of each task exactly once.

**Any order.** A registration writes the wait, then looks for the end of the run. The event that reports the end writes
the end, then looks for waits. The second one therefore finds the first, and if both happen at the same time, both find
each other. To complete the task, the wait's record is claimed like the record of an event, so only one of them does it.

**Exactly once.** The record becomes ``uncertain`` in three cases: a worker dies with its claim, an answer of Azure
DevOps is lost, or a task is completed before it receives the answer to its own request. Azure DevOps does not document
whether it accepts such an early completion. The next worker that claims an uncertain record first asks Azure DevOps
whether the task has ended.

**No task can starve.** A wait is kept only if Azure DevOps has accepted its token. The tasks of a run are completed
several at a time, each within a share of the time (``fairness/sharing.py``). Those that have been tried before come
last, and those whose organization does not answer are left out for a while (``fairness/backoff.py``).
"""

import sys
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from time import perf_counter
from typing import Final, NamedTuple, Protocol

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
    WaitNotVerified,
)
from shared.events.event import RunEnd
from shared.journal.journal import AlreadyFinal, Claimed, Journal, NotClaimable
from shared.journal.records import FINAL_STATES, NO_EVENT, OPEN_STATES, Entry, JournalKey, Record, Selection, State
from shared.logs import logger
from shared.telemetry import Decision, Outcome, Report, Result, delay_ms, log_decision
from shared.waits.ends import Ends
from shared.waits.fairness.backoff import BackOff
from shared.waits.fairness.quotas import Quotas
from shared.waits.fairness.sharing import SHORTEST, Shares, Workers
from shared.waits.plan_url import PlanUrls
from shared.waits.request import Task, WaitRequest, task_problem
from shared.waits.task_client import Access
from shared.waits.task_result import TaskResult, result_of
from shared.waits.tokens import TokenSeal
from shared.waits.wait import MAX_WAITS, Wait, run_of_task, task_record, waits_partition
from shared.waits.workspaces import Workspaces

_VERIFY_SECONDS: Final = 2.0
_LOG_SECONDS: Final = 4.0
_TIME_FOR_LOG: Final = timedelta(seconds=2.5)
_TIME_FOR_MESSAGES: Final = timedelta(seconds=2)
"""How long after its deadline a delivery still writes messages. Event Grid waits for five seconds more."""

_log = logger("nextstage.waits")


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


class Attempt(NamedTuple):
    """An attempt to complete a task, which is still to be reported.

    :param result: None if the task had been completed before.
    :param again: when it is tried again, if the resume queue sees to it.
    """

    key: JournalKey
    result: Result | None
    seconds: float
    again: datetime | None = None


class Waits:
    """The tasks that wait for runs. Safe for many threads, processes and machines, like the journal."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        journal: Journal,
        tasks: Tasks,
        seal: TokenSeal,
        plan_urls: PlanUrls,
        workspaces: Workspaces,
        quotas: Quotas,
        *,
        workers: Workers | None = None,
        come_again: Callable[[JournalKey, Result], datetime | None] | None = None,
        report: Report = log_decision,
        clock: Clock = utc_now,
    ) -> None:
        """
        :param workers: complete the tasks of a run; by default, one after the other.
        :param come_again: has a wait taken up later, and returns when; None if that fails. Raises nothing. Without it,
            the next delivery or a sweep does so.
        """
        self.ends = Ends(journal, workspaces)
        self._workspaces = workspaces
        self._quotas = quotas
        self._workers = workers or Workers()
        self._back_off = BackOff(clock)
        self._journal = journal
        self._tasks = tasks
        self._seal = seal
        self._plan_urls = plan_urls
        self._come_again = come_again
        self._report = report
        self._clock = clock

    def register(
        self,
        request: WaitRequest,
        deadline: datetime,
        after_answer: Callable[[Callable[[], object]], object] = lambda work: work(),
    ) -> Record:
        """Register a wait. If the run has already ended, complete the task at once. Safe to repeat.

        Return the wait's record as it was before the task was completed.

        :param after_answer: does what the answer must not wait for. By default, it is done at once.
        :raises InvalidWait: Azure DevOps does not know the plan, or rejects the token; or the workspace is ambiguous.
        :raises WaitNotVerified: Azure DevOps does not answer.
        :raises AlreadyWaiting: the same task already waits for another run.
        :raises TooManyWaits: no more tasks of the same plan or organization may wait.
        :raises CredentialUnavailable: there is no key to encrypt the token with.
        :raises JournalUnavailable: the wait may not have been stored.
        """
        key, wanted = task_record(request)
        noted = self._journal.get(key)
        _check_run(request, noted, wanted)
        wait = Wait(request.task, request.run_id, request.workspace, self._clock(), "", proven=True)
        record = None if noted is None else self._journal.get(wait.key)
        if record is None:
            wait = replace(wait, workspace=self._workspaces.resolved(request.workspace))
            wait = replace(wait, sealed=self._seal.seal(wait, request.token))
            with self._quotas.place_for(request.task):
                self._verify(request, deadline)
                _check_run(request, self._journal.write_once(key, State.NOTED, wanted), wanted)
                record = self._journal.write_once(wait.key, State.WAITING, wait.document())
        if record.state not in FINAL_STATES and (end := self.ends.of(Wait.of(record))) is not None:
            attempt = self.attempt(record, result_of(end), deadline, before_answer=True)
            self.report(attempt)
            if self._come_again is not None:  # what was completed before the answer must be checked later
                after_answer(lambda: self._again(attempt, {Outcome.DEFERRED, Outcome.COMPLETED}))
        return record

    def run_ended(
        self, end: RunEnd, entry: Entry, deadline: datetime, event_time: datetime | None = None
    ) -> tuple[tuple[Decision, datetime | None], ...]:
        """Store the end of a run and complete every task that waits for it. Failures become outcomes, not errors.

        Return the decisions, and when each deferred one is tried again; None if the event must be delivered again.

        :param entry: the event that reports the end.
        :param event_time: when the event happened.
        """
        source_event = SourceEvent(entry, event_time)
        try:
            end = self.ends.note(end)
            found = self._journal.select(Selection(waits_partition(end.run_id), OPEN_STATES), sys.maxsize)
            waiting = list(islice(self.ends.waiting_for(end, found), MAX_WAITS))
        except JournalUnavailable as exc:
            return ((self._report_decision(source_event, "", Result.deferred(exc), 0.0), None),)
        shares = Shares(len(waiting), deadline, self._workers.count, self._clock)
        task_result = result_of(end)

        def complete(record: Record) -> Attempt:
            attempt = self.attempt(record, task_result, shares.next())
            return attempt if self._clock() > deadline + _TIME_FOR_MESSAGES else self._again(attempt)

        attempts = self._workers.each(complete, longest_untried(waiting))
        told = [(decision, one.again) for one in attempts if (decision := self.report(one, source_event)) is not None]
        if len(waiting) == MAX_WAITS:
            reason = f"more than {MAX_WAITS} tasks wait for run {end.run_id}; the next delivery completes the others"
            told.append((self._report_decision(source_event, "", Result(Outcome.DEFERRED, reason), 0.0), None))
        return tuple(told)

    def take_up(self, record: Record, deadline: datetime) -> Result | None:
        """Try again to complete a task. Return the reported result; None if the task had been completed before.

        If it is not known that the run has ended, the sweep finds out.

        :raises JournalUnavailable: the journal does not answer, or the wait cannot be read.
        """
        if (end := self.ends.of(Wait.of(record))) is None:
            return None
        attempt = self.attempt(record, result_of(end), deadline)
        self.report(attempt)
        return attempt.result

    def attempt(
        self, record: Record, task_result: TaskResult, deadline: datetime, *, before_answer: bool = False
    ) -> Attempt:
        """Complete a task, unless it has been completed before. Reports nothing; see ``report``.

        :param before_answer: whether the task has not yet received the answer to its own request.
        """
        started = perf_counter()
        try:
            result = self._claim_and_complete(record, task_result, deadline, before_answer=before_answer)
        except (JournalUnavailable, ClaimLost) as exc:
            result = Result.deferred(exc)
        return Attempt(record.key, result, perf_counter() - started)

    def report(self, attempt: Attempt, source_event: SourceEvent | None = None) -> Decision | None:
        """Report an attempt. Return None if the task had been completed before.

        :param source_event: the event that reports the end of the run, if there is one.
        """
        if attempt.result is None:
            return None
        if attempt.result.outcome is Outcome.CLOSED and attempt.result.cause:
            _log.error("a wait was closed: %s", attempt.result.reason)
        is_deferred = attempt.result.outcome is Outcome.DEFERRED
        result = attempt.result.coming_again(attempt.again if is_deferred else None)
        return self._report_decision(source_event or SourceEvent(), attempt.key.key, result, attempt.seconds)

    def give_up(self, record: Record, reason: str) -> bool:
        """Close a wait although its task could not be completed, and return whether it was closed.

        :raises JournalUnavailable: the store does not answer.
        :raises ClaimLost: another worker has taken the record over.
        """
        claim = self._journal.take(record, send_by=self._clock())
        if isinstance(claim, Claimed):
            self._close(claim.record, Wait.of(claim.record), reason)
        return isinstance(claim, Claimed)

    def _again(self, attempt: Attempt, outcomes: Container[Outcome] = (Outcome.DEFERRED,)) -> Attempt:
        """Have the resume queue take up the wait again if the attempt has one of these outcomes."""
        if self._come_again is None or attempt.result is None or attempt.result.outcome not in outcomes:
            return attempt
        return attempt._replace(again=self._come_again(attempt.key, attempt.result))

    def _claim_and_complete(
        self, record: Record, task_result: TaskResult, deadline: datetime, *, before_answer: bool
    ) -> Result | None:
        task = Wait.of(record).task
        if deadline - self._clock() < SHORTEST:
            return Result(Outcome.DEFERRED, f"no time was left to complete {task}")
        if (asks_at := self._back_off.asks_at(task.plan_url)) is not None:
            reason = f"{task.plan_url} does not answer; {task} is tried again after {asks_at:%H:%M:%S} UTC"
            pause_seconds = (asks_at - self._clock()).total_seconds()
            return Result(Outcome.DEFERRED, reason, pause_seconds=pause_seconds)
        match self._journal.take(record, send_by=deadline):
            case AlreadyFinal():
                return None
            case NotClaimable(reason):
                return Result(Outcome.DEFERRED, f"{task}: {reason}")
            case Claimed() as mine:
                until = min(deadline, self._journal.act_until(mine.record))
                return self._complete_claimed(mine, task_result, until, before_answer=before_answer)

    def _complete_claimed(
        self, mine: Claimed, task_result: TaskResult, deadline: datetime, *, before_answer: bool
    ) -> Result:
        record, wait = mine.record, Wait.of(mine.record)
        in_doubt = mine.in_doubt
        try:
            access = self._access(record, wait)
            if in_doubt and self._tasks.has_ended(wait.task, access, deadline):
                return self._finish(record, wait, f"{wait.task} had already ended in Azure DevOps")
            if in_doubt:
                record, in_doubt = self._journal.will_send(record, deadline), False
            self._write_lines(wait, access, task_result, deadline)
            self._tasks.complete(wait.task, access, task_result.result, deadline)
            self._back_off.note(wait.task.plan_url, None)
        except AnswerLost as exc:
            self._back_off.note(wait.task.plan_url, exc)
            self._journal.mark_uncertain(record, str(exc), in_progress=True)
            return Result.deferred(exc, wait.task)
        except RequestRefused as exc:
            return self._close(record, wait, f"cannot complete {wait.task} although {task_result.reason}: {exc}", exc)
        except AzureDevOpsError as exc:
            self._back_off.note(wait.task.plan_url, exc)
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
        is_error = refusal is not None and not refusal.not_found  # a canceled pipeline is not an error
        return Result(Outcome.CLOSED, reason, cause=type(refusal).__name__ if is_error else "")

    def _access(self, record: Record, wait: Wait) -> Access:
        """Return the credentials for a task, whose record another program may have changed or copied.

        The app's own identity is permitted only for tasks in the app's own organization whose token was accepted.
        Otherwise a caller with invented coordinates could use it to end other people's tasks or checks. A record of
        0.1.0 does not prove what its token was accepted for.

        :raises RequestRefused: nothing may be sent to the address of the record.
        """
        if (problem := task_problem(wait.task, self._plan_urls)) is not None:
            raise RequestRefused(f"{problem}; the token is not sent there")
        token = self._seal.token_of(wait)
        if record.key != wait.key:
            raise RequestRefused("another program has copied the record of the wait, so the copy is not used")
        is_own = self._plan_urls.is_own_organization(wait.task.plan_url)
        is_proven = token is not None and bool(wait.sealed) and wait.proven
        return Access(token, identity=is_proven and is_own and wait.task.hub_name.lower() == "build")

    def _verify(self, request: WaitRequest, deadline: datetime) -> None:
        """Show in the task which run it waits for. This proves that the request comes from the task's own pipeline.

        :raises InvalidWait: Azure DevOps rejects the token or does not know the plan.
        :raises WaitNotVerified: Azure DevOps does not answer.
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
            raise WaitNotVerified(f"Azure DevOps could not be asked about {request.task}: {exc}") from exc

    def _write_lines(self, wait: Wait, access: Access, task_result: TaskResult, deadline: datetime) -> None:
        """Write the log of the task, if possible. Leave at least half of the time for completing the task.

        If many tasks have to share the time, they get no log.
        """
        now = self._clock()
        if deadline - now < _TIME_FOR_LOG:
            return
        until = now + min(timedelta(seconds=_LOG_SECONDS), (deadline - now) / 2)
        try:
            self._tasks.show_lines(wait.task, access, task_result.lines, until)
            self._tasks.write_log(wait.task, access, task_result.lines, until)
        except AzureDevOpsError as exc:
            _log.info("no log could be written for %s: %s", wait.task, exc)

    def _report_decision(self, source_event: SourceEvent, key: str, result: Result, seconds: float) -> Decision:
        delay = delay_ms(source_event.event_time, self._clock())
        decision = Decision.of(source_event.entry, result, key=key, seconds=seconds, delay_ms=delay)
        self._report(decision)
        return decision


def longest_untried(records: Iterable[Record]) -> list[Record]:
    """Return waits in the order in which they are tried: those never tried first, in the given order, then by time.

    Each attempt changes the record, so all processes know the order, also after a restart.
    """
    found = list(records)
    tried = (record for record in found if record.state is not State.WAITING)
    return [record for record in found if record.state is State.WAITING] + sorted(tried, key=lambda one: one.changed_at)


def _check_run(request: WaitRequest, noted: Record | None, wanted: str) -> None:
    """Check that a task does not wait for another run.

    :raises AlreadyWaiting: it does.
    """
    if noted is not None and noted.document != wanted:
        raise AlreadyWaiting(
            f"{request.task} already waits for run {run_of_task(noted)}; a task can wait for only one run"
        )
