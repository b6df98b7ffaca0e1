"""Tasks that wait for runs: from the first request to the task's end, whatever comes first and whatever fails.

**The order does not matter.** Who registers writes the wait, then looks for the run's end; who brings the end writes
the end, then looks for waits. So whichever is second finds the other, and where both are at once, both do. The wait's
record is claimed as any other record of the journal is, so only one of them tells the task.

**Exactly once.** A claim whose holder died, and an answer that was lost, leave the record ``uncertain``: whoever takes
it over first asks Azure DevOps whether the task is over. So does a task that was told before it has heard our answer
to its own request, because it is documented nowhere whether Azure DevOps listens by then.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final, Protocol

from shared.clock import Clock, utc_now
from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    ClaimLost,
    CredentialRejected,
    InvalidWait,
    JournalUnavailable,
    PermissionDenied,
    RequestRefused,
    WaitsForAnother,
)
from shared.events.event import RunEnd
from shared.journal.journal import Done, Journal, Mine, NotYet
from shared.journal.records import FINAL_STATES, NO_EVENT, Entry, Record, Selection, State
from shared.telemetry import Decision, Outcome, Report, Result, delay_ms, log_decision
from shared.waits.plan_url import PlanUrls
from shared.waits.request import Task, WaitRequest
from shared.waits.task_client import Access
from shared.waits.task_result import Telling, telling_of
from shared.waits.tokens import TokenSeal
from shared.waits.wait import Wait, end_record, ends_partition, read_end, run_of_task, task_record, waits_partition

MAX_WAITS_PER_RUN: Final = 1000
_MAX_WORKSPACES: Final = 100
_INTRODUCTION_SECONDS: Final = 1.0
_LOG_SECONDS: Final = 4.0

_log = logging.getLogger("nextstage.waits")


class Tasks(Protocol):
    """Requests to Azure DevOps; see ``shared.waits.task_client.TasksClient``. Every call ends before its deadline."""

    def complete(self, task: Task, access: Access, result: str, deadline: datetime) -> None:
        """End the task; only after AnswerLost may it have ended in spite of the error."""

    def is_over(self, task: Task, access: Access, deadline: datetime) -> bool:
        """Whether the task has ended."""

    def say(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Show lines to whoever looks at the task now."""

    def write_log(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Give the task a log of these lines."""


@dataclass(frozen=True, slots=True)
class Bringer:
    """The event that brings a run's end; empty if no event is at hand: a registration, a sweep."""

    entry: Entry = NO_EVENT
    event_time: datetime | None = None


class Waits:
    """Safe for many threads, processes and machines, as the journal is."""

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
        """Let a task wait, and tell it at once where its run has ended already; harmless to repeat.

        Returns the wait's record, as it was before the task was told.

        :raises InvalidWait: Azure DevOps does not know the plan, or not with this token.
        :raises WaitsForAnother: the same task waits for another run.
        :raises CredentialUnavailable: there is no key to encrypt the token with.
        :raises JournalUnavailable: the wait may not have been kept.
        """
        key, wanted = task_record(request)
        noted = self._journal.get(key)
        _check_run(request, noted, wanted)
        wait = Wait(request.task, request.run_id, request.workspace, self._clock(), "", proven=False)
        record = None if noted is None else self._journal.get(wait.key)
        if record is None:
            token = self._seal.close(request.token)
            wait = replace(wait, sealed_token=token, proven=self._introduce(request, deadline))
            _check_run(request, self._journal.write_once(key, State.NOTED, wanted), wanted)
            record = self._journal.write_once(wait.key, State.WAITING, wait.document())
        if record.state not in FINAL_STATES and (end := self.known_end(Wait.of(record))) is not None:
            self.tell(record, telling_of(end), deadline, before_answer=True)
        return record

    def run_ended(
        self, end: RunEnd, entry: Entry, deadline: datetime, event_time: datetime | None = None
    ) -> tuple[Decision, ...]:
        """Remember the end and tell every task that waits for it. Whatever fails becomes an outcome.

        :param entry: the event that brings it; ``event_time`` is when it happened.
        """
        bringer = Bringer(entry, event_time)
        try:
            key, document = end_record(end)
            end = read_end(self._journal.write_once(key, State.NOTED, document))
            waiting = [record for record in self._waiting_for(end.run_id) if Wait.of(record).waits_for(end)]
        except JournalUnavailable as exc:
            return (self._decided(bringer, "", Result.deferred(exc), 0.0),)
        told = [self.tell(record, telling_of(end), deadline, bringer) for record in waiting]
        return tuple(decision for decision in told if decision is not None)

    def known_end(self, wait: Wait) -> RunEnd | None:
        """The end of the run that a task waits for, where its event has come already.

        :raises JournalUnavailable: the store does not answer.
        """
        noted = self._journal.select(Selection(ends_partition(wait.run_id)), _MAX_WORKSPACES)
        return next((end for end in map(read_end, noted) if wait.waits_for(end)), None)

    def tell(
        self,
        record: Record,
        telling: Telling,
        deadline: datetime,
        bringer: Bringer | None = None,
        *,
        before_answer: bool = False,
    ) -> Decision | None:
        """Tell a task what has become of its run, once. None where it has been told.

        :param bringer: the event that brings it, where one does.
        :param before_answer: the task has not heard our answer to its own request yet.
        """
        started = perf_counter()
        try:
            result = self._claim_and_tell(record, telling, deadline, before_answer=before_answer)
        except (JournalUnavailable, ClaimLost) as exc:
            result = Result.deferred(exc)
        if result is None:
            return None
        return self._decided(bringer or Bringer(), record.key.key, result, perf_counter() - started)

    def give_up(self, record: Record, reason: str) -> None:
        """Close a wait though its task could not be told.

        :raises JournalUnavailable: the store does not answer.
        :raises ClaimLost: somebody else has taken the record over.
        """
        claim = self._journal.take(record, send_by=self._clock())
        if isinstance(claim, Mine):
            self._close(claim.record, Wait.of(claim.record), reason)

    def _claim_and_tell(
        self, record: Record, telling: Telling, deadline: datetime, *, before_answer: bool
    ) -> Result | None:
        if self._clock() >= deadline:
            return Result(Outcome.DEFERRED, "the time of this delivery went to what came before this task")
        match self._journal.take(record, send_by=deadline):
            case Done():
                return None
            case NotYet(reason):
                return Result(Outcome.DEFERRED, f"{Wait.of(record).task}: {reason}")
            case Mine() as mine:
                return self._tell(mine, telling, min(deadline, mine.record.lease_until), before_answer=before_answer)

    def _tell(self, mine: Mine, telling: Telling, deadline: datetime, *, before_answer: bool) -> Result:
        record, wait = mine.record, Wait.of(mine.record)
        in_doubt = mine.lost_until is not None
        try:
            access = self._access(wait)
            if in_doubt and self._tasks.is_over(wait.task, access, deadline):
                return self._complete(record, wait, f"{wait.task} was found to be over in Azure DevOps")
            in_doubt = False
            self._write_lines(wait, access, telling, deadline)
            self._tasks.complete(wait.task, access, telling.result, deadline)
        except AnswerLost as exc:
            self._journal.doubt(record, str(exc), under_way=True)
            return Result.deferred(exc, wait.task)
        except RequestRefused as exc:
            return self._close(record, wait, f"{wait.task} cannot be told that {telling.reason}: {exc}", exc)
        except AzureDevOpsError as exc:
            if in_doubt:
                self._journal.doubt(record, str(exc), under_way=False)
            else:
                self._journal.release(record, str(exc))
            return Result.deferred(exc, wait.task)
        reason = f"{wait.task} was told '{telling.result}', because {telling.reason}"
        if before_answer:
            self._journal.doubt(record, f"{reason}, before it had our answer; to be looked up", under_way=True)
            return Result(Outcome.COMPLETED, reason)
        return self._complete(record, wait, reason)

    def _complete(self, record: Record, wait: Wait, reason: str) -> Result:
        self._journal.finish(record, State.COMPLETED, reason, wait.without_token().document())
        return Result(Outcome.COMPLETED, reason)

    def _close(self, record: Record, wait: Wait, reason: str, refusal: RequestRefused | None = None) -> Result:
        self._journal.finish(record, State.CLOSED, reason, wait.without_token().document())
        if refusal is None or not refusal.not_found:  # that a pipeline was cancelled is nobody's trouble
            _log.error("a wait was closed: %s", reason)
        return Result(Outcome.CLOSED, reason, cause="" if refusal is None else type(refusal).__name__)

    def _access(self, wait: Wait) -> Access:
        """The app's own identity is for tasks of its own organization whose pipeline has shown a good token.

        So nobody can use it to end tasks of others, or checks, by calling us with made-up coordinates.
        """
        token = self._seal.open(wait.sealed_token) if wait.sealed_token else None
        is_own = self._plan_urls.is_own_organization(wait.task.plan_url)
        return Access(token, identity=wait.proven and is_own and wait.task.hub_name.lower() == "build")

    def _introduce(self, request: WaitRequest, deadline: datetime) -> bool:
        """Tell the task's readers whom it waits for. Whether Azure DevOps has taken the token is known by that.

        :raises InvalidWait: it surely has not, or knows no such plan.
        """
        line = f"nextstage: waiting for Azure ML run {request.run_id}; no agent is held meanwhile"
        until = min(deadline, self._clock() + timedelta(seconds=_INTRODUCTION_SECONDS))
        try:
            self._tasks.say(request.task, Access(request.token), [line], until)
        except (CredentialRejected, PermissionDenied) as exc:
            raise InvalidWait({"AuthToken": "is not taken by Azure DevOps for this plan"}) from exc
        except RequestRefused as exc:
            raise InvalidWait({"PlanId": f"is not known to Azure DevOps with this task: {exc}"}) from exc
        except AzureDevOpsError as exc:
            _log.warning("%s was taken without proof of its token: %s", request.task, exc)
            return False
        return True

    def _write_lines(self, wait: Wait, access: Access, telling: Telling, deadline: datetime) -> None:
        """Best effort, and never at the cost of the message itself."""
        now = self._clock()
        until = now + min(timedelta(seconds=_LOG_SECONDS), (deadline - now) / 2)
        try:
            self._tasks.say(wait.task, access, telling.lines, until)
            self._tasks.write_log(wait.task, access, telling.lines, until)
        except AzureDevOpsError as exc:
            _log.info("%s has no log of its end: %s", wait.task, exc)

    def _waiting_for(self, run_id: str) -> Iterator[Record]:
        found = self._journal.select(Selection(waits_partition(run_id)), MAX_WAITS_PER_RUN)
        return (record for record in found if record.state not in FINAL_STATES)

    def _decided(self, bringer: Bringer, key: str, result: Result, seconds: float) -> Decision:
        delay = delay_ms(bringer.event_time, self._clock())
        decision = Decision.of(bringer.entry, result, key=key, seconds=seconds, delay_ms=delay)
        self._report(decision)
        return decision


def _check_run(request: WaitRequest, noted: Record | None, wanted: str) -> None:
    """:raises WaitsForAnother: the task waits for another run."""
    if noted is not None and noted.document != wanted:
        raise WaitsForAnother(
            f"{request.task} waits for run {run_of_task(noted)} already, and a task can wait for one run only"
        )
