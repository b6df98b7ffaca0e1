"""Queues the run of a job, once, although the job's compute keeps no journal.

What takes the journal's place is Azure DevOps itself: a run is found again by what it carries, and its tag
``aml-run:<job>`` says whose it is. So every attempt looks before it sends, and it sends only once a request of an
attempt before it can no longer be under way.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.runs import Run, RunRequest
from shared.clock import Clock, utc_now
from shared.errors import AnswerLost, AzureDevOpsError, RequestNotSent, Throttled

TAG_PREFIX: Final = "aml-run:"
_CALL_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 5.0
_CLOCK_SKEW: Final = timedelta(minutes=5)  # generous, since it lets in nothing that is wrong

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Triggered:
    """The job's run, and how it came to be it."""

    run: Run
    how: str


class Trigger:
    """One attempt of one job to have its run.

    :param look_back: for how long an attempt before this one may have been at work.
    :param settle: how long a request may still be under way at Azure DevOps after its sender has gone.
    :param time_limit: how long the attempt may take.
    :param say: tells what happens.
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
        self._look_back = look_back
        self._settle = settle
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._ends_at = clock() + time_limit

    def fire(self, request: RunRequest) -> Triggered:
        """Find the job's run, or queue it.

        :raises AzureDevOpsError: there is none now; only after AnswerLost may one have been queued.
        """
        # At once, so that a step that is tried again after all went well need not wait.
        if (found := self._find(request)) is not None:
            return self._adopt(request, found)
        self._say(f"no run is there; waiting {self._settle.total_seconds():g} s for a request that may be under way")
        self._sleep(self._settle.total_seconds())
        lost: AnswerLost | None = None
        while True:
            if (found := self._find_after(request, lost)) is not None:
                return self._adopt(request, found)
            try:
                run = self._patiently(lambda: self._pipelines.run(request, self._deadline()))
            except AnswerLost as exc:
                self._say(f"{exc}; looking for the run in {self._settle.total_seconds():g} s")
                self._wait(self._settle.total_seconds(), exc)
                lost = exc
            else:
                self._mark(request, run)
                return self._give_way(request, run)

    def _find_after(self, request: RunRequest, lost: AnswerLost | None) -> Run | None:
        """The same as ``_find``; where an answer was lost, that is what an error here leaves behind."""
        try:
            return self._find(request)
        except AzureDevOpsError as exc:
            if lost is None:
                raise
            raise AnswerLost(f"{lost}, and the run cannot be looked for: {exc}") from exc

    def _find(self, request: RunRequest) -> Run | None:
        """The oldest run that is the job's, or may be."""
        found = self._candidates(request)
        return min((run for run in found if self._tag in run.tags), key=_id, default=min(found, key=_id, default=None))

    def _candidates(self, request: RunRequest) -> list[Run]:
        """The runs that carry what is asked for and are not some other job's."""
        now = self._clock()
        since, until = now - self._look_back, now + _CLOCK_SKEW
        found = self._patiently(lambda: self._pipelines.find_runs(request, since, until, self._deadline()))
        return [run for run in found if request.correlation_parameter or not self._is_foreign(run)]

    def _is_foreign(self, run: Run) -> bool:
        return self._tag not in run.tags and any(tag.startswith(TAG_PREFIX) for tag in run.tags)

    def _adopt(self, request: RunRequest, run: Run) -> Triggered:
        if self._tag not in run.tags:
            self._mark(request, run)
        return Triggered(run, "found: an attempt before this one has queued it")

    def _give_way(self, request: RunRequest, run: Run) -> Triggered:
        """Look whether another attempt, at the very same time, was faster; then that one's run stays."""
        try:
            first = min(self._candidates(request), key=_id, default=run)
        except AzureDevOpsError as exc:
            self._say(f"warning: run {run.id} is queued, and whether it is the only one is not known: {exc}")
            return Triggered(run, "queued")
        if first.id >= run.id:
            return Triggered(run, "queued")
        if self._tag not in first.tags:
            self._mark(request, first)  # or the next attempt would take the one that is cancelled here
        try:
            self._pipelines.cancel(request, run, self._deadline())
        except AzureDevOpsError as exc:
            self._say(f"warning: run {run.id} is one too many and could not be cancelled, so cancel it by hand: {exc}")
        return Triggered(first, f"found: another attempt was faster, so run {run.id} is cancelled")

    def _mark(self, request: RunRequest, run: Run) -> None:
        """Best effort: without its mark a run is still known by what it carries."""
        try:
            self._pipelines.tag(request, run, [self._tag], self._deadline())
        except AzureDevOpsError as exc:
            self._say(f"warning: run {run.id} could not be tagged with {self._tag}: {exc}")

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        """Try again what surely queued nothing and may go well soon."""
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
        """:raises AzureDevOpsError: the reason, where there would be no time left after the wait."""
        if self._clock() + timedelta(seconds=seconds) >= self._ends_at:
            raise reason
        self._sleep(seconds)

    def _deadline(self) -> datetime:
        return self._clock() + timedelta(seconds=_CALL_SECONDS)


def _id(run: Run) -> int:
    return run.id
