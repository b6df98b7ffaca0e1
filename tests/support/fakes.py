"""Hand-written fakes. FakePipelines records runs as Azure DevOps does, so a test can count them.

tests/shared/azure_devops/test_client.py compares it with the real client.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from shared.azure_devops.reconcile import Build
from shared.azure_devops.runs import Run, RunRequest
from shared.clock import Clock
from shared.errors import AnswerLost, AzureDevOpsError, RequestNotSent, RunExists
from shared.http.sending import MIN_REQUEST_SECONDS
from shared.telemetry import Decision
from tests.support.clock import ManualClock

SKEW = timedelta(seconds=29)
"""How much the measured offset of Azure DevOps' clock may be wrong. A search for a run tolerates 30 s."""

USUAL_SKEW = timedelta(seconds=1)
"""How much it is wrong by default."""

IDENTITY = "11111111-0000-4000-8000-00000000000a"
"""The identity that sends the app's requests."""


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
    """A recorded run, with the time at which the search sees it."""

    run: Run
    request: RunRequest
    at: datetime
    orchestration_id: str = ""
    requester: str = IDENTITY
    reason: str = "manual"
    is_finished: bool = False

    def listed(self, *, is_canceled: bool) -> Build:
        """Return the run as the list of builds shows it."""
        request = self.request
        return Build(
            self.run,
            queue_time=self.at.isoformat(),
            queued_at=self.at,
            pipeline_id=1,
            is_canceled=is_canceled,
            is_finished=self.is_finished,
            reason=self.reason,
            requesters=frozenset({self.requester}),
            plan_ids=frozenset({self.orchestration_id or f"plan of {self.run.id}"}),
            branch=request.ref_name or "refs/heads/main",
            revision=request.pipeline_version,
            parameters=request.parameters,
            variables=request.variables,
        )


@dataclass
class FakePipelines:
    """Azure DevOps in memory. A call that starts too late for its deadline fails the test.

    :param clock: our clock. The server's clock seems to be ahead of it by ``skew``.
    :param honors_ids: the server uses orchestration IDs: it refuses a second run with the same one, and lists them.
    :param defaults: the values of template parameters that a request leaves out.
    :param held_seconds: what ``admit`` returns.
    :param asked: the calls of ``admit``: whether each was about work that had just been tried.
    :param plan: the results of the next requests to queue a run, in order. None: success. An error: raised, and no run
        is queued. ``LOST``: the run is queued and the answer is lost. ``HANGS``: no run is queued, and no answer comes
        until the deadline. A callable: called after the run is queued; it may advance the clock past the deadline.

    The errors for the other calls, which may be ``HANGS`` too, are raised until the test removes them.
    """

    clock: Clock
    skew: timedelta = USUAL_SKEW
    books: list[Queued] = field(default_factory=list)
    canceled: list[int] = field(default_factory=list)
    held_seconds: float = 0.0
    asked: list[bool] = field(default_factory=list)
    plan: deque[AzureDevOpsError | Callable[[], None] | None] = field(default_factory=deque)
    search_error: AzureDevOpsError | None = None
    cancel_error: AzureDevOpsError | None = None
    tag_error: AzureDevOpsError | None = None
    tags: dict[int, list[str]] = field(default_factory=dict)
    honors_ids: bool = False
    defaults: Mapping[str, str] = field(default_factory=dict)
    searches: int = 0
    ids: Iterator[int] = field(default_factory=lambda: count(100))

    def run(self, request: RunRequest, deadline: datetime, orchestration_id: str) -> Run:
        check_time("run", self.clock, deadline)
        planned = self.plan.popleft() if self.plan else None
        if planned is HANGS:
            hang(self.clock, deadline)
        if isinstance(planned, AzureDevOpsError) and planned is not LOST:
            raise planned
        if self.honors_ids and any(one.orchestration_id == orchestration_id for one in self.books):
            raise RunExists("RunOrchestrationExistsException")
        run = self.queue(request, orchestration_id)
        if planned is LOST:
            raise LOST
        if callable(planned):
            planned()
        return run

    def queue(self, request: RunRequest, orchestration_id: str = "", requester: str = IDENTITY) -> Run:
        run_id = next(self.ids)
        run = Run(run_id, url_of(run_id))
        used = orchestration_id if self.honors_ids else ""
        self.books.append(Queued(run, request, self.clock() + self.skew, used, requester))
        return run

    def builds(
        self, request: RunRequest, since: datetime, until: datetime, deadline: datetime
    ) -> Iterator[Sequence[Build]]:
        self.searches += 1
        self._call("builds", self.search_error, deadline)
        yield [
            queued.listed(is_canceled=queued.run.id in self.canceled)
            for queued in self.books
            if _place(queued.request) == _place(request) and since <= queued.at <= until
        ]

    def build(self, request: RunRequest, run_id: int, deadline: datetime) -> Build | None:
        self._call("build", self.search_error, deadline)
        found = (one for one in self.books if one.run.id == run_id and _place(one.request)[:2] == _place(request)[:2])
        return next((queued.listed(is_canceled=queued.run.id in self.canceled) for queued in found), None)

    def skipped_stages(self, request: RunRequest, run_id: int, deadline: datetime) -> frozenset[str] | None:
        self._call("skipped_stages", self.search_error, deadline)
        (queued,) = [one for one in self.books if one.run.id == run_id]
        return frozenset(stage.lower() for stage in queued.request.stages_to_skip)

    def adds_nothing(self, request: RunRequest, parameters: Mapping[str, str], deadline: datetime) -> bool:
        self._call("adds_nothing", self.search_error, deadline)
        return all(self.defaults.get(name) == value for name, value in parameters.items())

    def pipeline_id(self, request: RunRequest, deadline: datetime) -> int:
        return 1

    def requester(self, request: RunRequest, deadline: datetime) -> str | None:
        return IDENTITY

    def admit(self, organization_url: str, *, later: bool = False) -> float:
        self.asked.append(later)
        return self.held_seconds

    def sender(self) -> str:
        return "credential"

    def tag(self, request: RunRequest, run: Run, tags: Sequence[str], deadline: datetime) -> None:
        self._call("tag", self.tag_error, deadline)
        self._check_place(request, run)
        self.tags[run.id] = list(tags)

    def cancel(self, request: RunRequest, run: Run, deadline: datetime) -> None:
        self._call("cancel", self.cancel_error, deadline)
        self._check_place(request, run)
        self.canceled.append(run.id)

    def _check_place(self, request: RunRequest, run: Run) -> None:
        """Fail the test if the request names an organization or project in which the run was not queued."""
        places = {(one.request.organization_url, one.request.project) for one in self.books if one.run == run}
        assert places == {(request.organization_url, request.project)}

    def _call(self, name: str, error: AzureDevOpsError | None, deadline: datetime) -> None:
        check_time(name, self.clock, deadline)
        if error is HANGS:
            hang(self.clock, deadline)
        if isinstance(error, AnswerLost) and name not in {"tag", "cancel"}:
            raise RequestNotSent(f"{error} (during a lookup, so no run was queued)")
        if error is not None:
            raise error


def _place(request: RunRequest) -> tuple[str, str, int | str]:
    return request.organization_url, request.project, request.pipeline


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
