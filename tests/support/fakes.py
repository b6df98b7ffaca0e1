"""Hand-written fakes. FakePipelines records runs as Azure DevOps does, so a test can count them.

tests/shared/azure_devops/test_client.py compares it with the real client.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from shared.azure_devops.runs import Run, RunRequest
from shared.clock import Clock
from shared.errors import AnswerLost, AzureDevOpsError, RequestNotSent
from shared.http.sending import MIN_REQUEST_SECONDS
from shared.telemetry import Decision
from tests.support.clock import ManualClock

SKEW = timedelta(seconds=29)
"""Default lead of Azure DevOps' clock over ours. A search for a run tolerates 30 s."""


def url_of(run_id: int) -> str:
    return f"https://dev.azure.com/contoso/mlops/_build/results?buildId={run_id}"


def check_time(call: str, clock: Clock, deadline: datetime) -> None:
    """Fail the test if a call starts when the client would no longer send it.

    With a real clock nothing is checked, because the machine may be slow.
    """
    left = (deadline - clock()).total_seconds()
    assert left >= MIN_REQUEST_SECONDS or not isinstance(clock, ManualClock), f"{call}: {left:g} s before its deadline"


def hang(clock: Clock, deadline: datetime) -> None:
    """Advance the clock to the deadline of the call, as if no answer came."""
    assert isinstance(clock, ManualClock)
    clock.now = deadline


@dataclass(frozen=True, slots=True)
class Queued:
    """A recorded run, with the time of the server's clock."""

    run: Run
    request: RunRequest
    at: datetime


@dataclass
class FakePipelines:
    """Azure DevOps in memory. A call that starts too late for its deadline fails the test.

    :param clock: our clock. The server's clock is ahead of it by ``skew``.
    :param plan: the results of the next requests to queue a run, in order. None: success. An error: raised, and no run
        is queued. ``LOST``: the run is queued and the answer is lost. ``HANGS``: no run is queued, and no answer comes
        until the deadline. A callable: called after the run is queued; it may advance the clock past the deadline.

    The errors for the other calls, which may be ``HANGS`` too, are raised until the test removes them.
    """

    clock: Clock
    skew: timedelta = SKEW
    books: list[Queued] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    plan: deque[AzureDevOpsError | Callable[[], None] | None] = field(default_factory=deque)
    search_error: AzureDevOpsError | None = None
    cancel_error: AzureDevOpsError | None = None
    tag_error: AzureDevOpsError | None = None
    tags: dict[int, list[str]] = field(default_factory=dict)
    searches: int = 0
    ids: Iterator[int] = field(default_factory=lambda: count(100))

    def run(self, request: RunRequest, deadline: datetime) -> Run:
        check_time("run", self.clock, deadline)
        planned = self.plan.popleft() if self.plan else None
        if planned is HANGS:
            hang(self.clock, deadline)
        if isinstance(planned, AzureDevOpsError) and planned is not LOST:
            raise planned
        run = self.queue(request)
        if planned is LOST:
            raise LOST
        if callable(planned):
            planned()
        return run

    def queue(self, request: RunRequest) -> Run:
        run_id = next(self.ids)
        run = Run(run_id, url_of(run_id))
        self.books.append(Queued(run, request, self.clock() + self.skew))
        return run

    def find_runs(self, request: RunRequest, since: datetime, until: datetime, deadline: datetime) -> list[Run]:
        self.searches += 1
        self._call("find_runs", self.search_error, deadline)
        return [queued.run for queued in self.books if queued.request == request and since <= queued.at <= until]

    def tag(self, request: RunRequest, run: Run, tags: Sequence[str], deadline: datetime) -> None:
        self._call("tag", self.tag_error, deadline)
        self._check_place(request, run)
        self.tags[run.id] = list(tags)

    def cancel(self, request: RunRequest, run: Run, deadline: datetime) -> None:
        self._call("cancel", self.cancel_error, deadline)
        self._check_place(request, run)
        self.cancelled.append(run.id)

    def _check_place(self, request: RunRequest, run: Run) -> None:
        """Fail the test if the request names an organization or project in which the run was not queued."""
        places = {(one.request.organization_url, one.request.project) for one in self.books if one.run == run}
        assert places == {(request.organization_url, request.project)}

    def _call(self, name: str, error: AzureDevOpsError | None, deadline: datetime) -> None:
        check_time(name, self.clock, deadline)
        if error is HANGS:
            hang(self.clock, deadline)
        if isinstance(error, AnswerLost) and name == "find_runs":
            raise RequestNotSent(f"{error} (during a lookup, so no run was queued)")
        if error is not None:
            raise error


LOST = AnswerLost("the answer was lost: ReadTimeout")
"""Plan: the run is queued, and the answer is lost."""

LOST_UNQUEUED = AnswerLost("the answer was lost: reset")
"""Plan: no run is queued, and the answer is lost."""

HANGS = AnswerLost("the answer was lost: it never came")
"""Plan: nothing is done, and the call ends at its deadline."""


class Reports(list[Decision]):
    """The list of reported decisions."""

    def __call__(self, decision: Decision) -> None:
        self.append(decision)
