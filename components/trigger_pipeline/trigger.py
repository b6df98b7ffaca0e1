"""Queueing the run of a job exactly once, without a journal.

The list of runs in Azure DevOps replaces the journal. A run is recognized by its orchestration ID, otherwise by its
requester, parameters, variables and branch, and its tag ``aml-run:<job>`` names the job. Every attempt searches before
it queues a run, and it queues one only when no request of an earlier attempt can still be in progress.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Final, TypeVar

from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.reconcile import Build, Expected, extra_parameters, group_by_likeness
from shared.azure_devops.runs import Run, RunRequest
from shared.azure_devops.values import Likeness
from shared.clock import Clock, utc_now
from shared.errors import AnswerLost, AzureDevOpsError, RequestNotSent, Throttled

TAG_PREFIX: Final = "aml-run:"
_NAMESPACE: Final = uuid.UUID("8a1c1f0a-53d4-5f0c-8f0e-6e6578747374")
_CALL_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 5.0
_CLOCK_SKEW: Final = timedelta(minutes=5)  # generous, because a large value does no harm

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Triggered:
    """The run of the job.

    :param how: how the attempt got it, for the log.
    """

    run: Run
    how: str


class Trigger:
    """One attempt to trigger the run of a job.

    :param look_back: how far back to search for runs of earlier attempts.
    :param settle: how long a request may still be in progress at Azure DevOps after the attempt that sent it has ended.
    :param time_limit: how long the attempt may take.
    :param say: writes a line to the log.
    """

    def __init__(
        self,
        pipelines: PipelinesClient,
        job_run_id: str,
        *,
        look_back: timedelta,
        settle: timedelta,
        time_limit: timedelta,
        say: Callable[[str], None],
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pipelines = pipelines
        self._tag = f"{TAG_PREFIX}{job_run_id}"
        self._orchestration_id = str(uuid.uuid5(_NAMESPACE, job_run_id))
        self._look_back = look_back
        self._settle = settle
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._ends_at = clock() + time_limit

    def fire(self, request: RunRequest) -> Triggered:
        """Adopt an existing run of the job, or queue one.

        :raises AnswerLost: if it is unknown whether a run was queued.
        :raises AzureDevOpsError: any other error, if no run was queued.
        """
        # Search before the wait: an attempt that follows a successful one then ends immediately.
        if (found := self._find(request)) is not None:
            return self._adopt(request, found)
        self._say(f"found no run; waiting {self._settle.total_seconds():g} s, as a request may still be in progress")
        self._sleep(self._settle.total_seconds())
        lost: AnswerLost | None = None
        while True:
            if (found := self._find_after(request, lost)) is not None:
                return self._adopt(request, found)
            try:
                run = self._with_retries(lambda: self._pipelines.run(request, self._deadline(), self._orchestration_id))
            except AnswerLost as exc:
                self._say(f"{exc}; searching for the run in {self._settle.total_seconds():g} s")
                self._wait(self._settle.total_seconds(), exc)
                lost = exc
            else:
                self._tag_run(request, run)
                return self._prefer_earlier(request, run)

    def _find_after(self, request: RunRequest, lost: AnswerLost | None) -> Run | None:
        """Find a run like ``_find``. If an answer was lost before, an error here is an AnswerLost too."""
        try:
            return self._find(request)
        except AzureDevOpsError as exc:
            if lost is None:
                raise
            raise AnswerLost(f"{lost}, and the search for the run failed: {exc}") from exc

    def _find(self, request: RunRequest) -> Run | None:
        """Return the oldest run with the tag of the job, otherwise the oldest run that may belong to it."""
        found = self._candidates(request)
        return min((run for run in found if self._tag in run.tags), key=_id, default=min(found, key=_id, default=None))

    def _candidates(self, request: RunRequest) -> list[Run]:
        """Return the runs of the job, or else the runs that may be one and do not have the tag of another job.

        :raises AnswerLost: the listing does not show whether a run is one.
        """
        now = self._clock()
        since, until = now - self._look_back, now + _CLOCK_SKEW
        requester = self._with_retries(lambda: self._pipelines.requester(request, self._deadline()))
        pages = self._with_retries(lambda: [*self._pipelines.builds(request, since, until, self._deadline())])
        judged = group_by_likeness(chain(*pages), Expected(request, self._orchestration_id, requester))
        if judged[Likeness.EXACT]:
            return [build.run for build in judged[Likeness.EXACT]]
        fitting = [build for build in judged[Likeness.FIT] if not self._is_foreign(build.run)]
        unclear = [build.run.url for build in judged[Likeness.UNCLEAR] if not self._is_foreign(build.run)]
        if unclear and not fitting:
            raise AnswerLost(f"it cannot be told whether this job has queued one of these runs: {', '.join(unclear)}")
        return [build.run for build in fitting if self._is_same(request, build)]

    def _is_same(self, request: RunRequest, build: Build) -> bool:
        """Return whether the parameters that a run has in addition to those of the request are the defaults."""
        extras = extra_parameters(build, request)
        if not extras:
            return True
        return self._with_retries(lambda: self._pipelines.adds_nothing(request, extras, self._deadline()))

    def _is_foreign(self, run: Run) -> bool:
        return self._tag not in run.tags and any(tag.startswith(TAG_PREFIX) for tag in run.tags)

    def _adopt(self, request: RunRequest, run: Run) -> Triggered:
        if self._tag not in run.tags:
            self._tag_run(request, run)
        return Triggered(run, "found: an earlier attempt has queued it")

    def _prefer_earlier(self, request: RunRequest, run: Run) -> Triggered:
        """Search for a run that another attempt queued at the same time. If it is older, adopt it and cancel ours."""
        try:
            first = min(self._candidates(request), key=_id, default=run)
        except AzureDevOpsError as exc:
            self._say(f"warning: run {run.id} is queued, but it is unknown whether it is the only one: {exc}")
            return Triggered(run, "queued")
        if first.id >= run.id:
            return Triggered(run, "queued")
        if self._tag not in first.tags:
            self._tag_run(request, first)  # otherwise the next attempt would adopt the run that is canceled here
        try:
            self._pipelines.cancel(request, run, self._deadline())
        except AzureDevOpsError as exc:
            self._say(f"warning: run {run.id} is an orphan and could not be canceled; cancel it by hand: {exc}")
        return Triggered(first, f"found: another attempt was faster, so run {run.id} is canceled")

    def _tag_run(self, request: RunRequest, run: Run) -> None:
        """Tag the run. If that fails, log a warning: the run can still be recognized by its parameters."""
        try:
            self._pipelines.tag(request, run, [self._tag], self._deadline())
        except AzureDevOpsError as exc:
            self._say(f"warning: run {run.id} could not be tagged with {self._tag}: {exc}")

    def _with_retries(self, call: Callable[[], Answer]) -> Answer:
        """Repeat a call while it fails with an error that queues nothing and may be temporary."""
        while True:
            try:
                return call()
            except Throttled as exc:
                self._say(str(exc))
                self._wait(exc.retry_after_seconds, exc)
            except RequestNotSent as exc:
                self._say(str(exc))
                self._wait(_PAUSE_SECONDS, exc)

    def _wait(self, seconds: float, reason: AzureDevOpsError) -> None:
        """Sleep, or raise ``reason`` if the attempt would have no time left afterwards."""
        if self._clock() + timedelta(seconds=seconds) >= self._ends_at:
            raise reason
        self._sleep(seconds)

    def _deadline(self) -> datetime:
        return self._clock() + timedelta(seconds=_CALL_SECONDS)


def _id(run: Run) -> int:
    return run.id
