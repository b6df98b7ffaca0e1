"""Hand-written collaborators. FakePipelines keeps books as Azure DevOps does, so a test can count runs."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from shared.azure_devops.runs import Run, RunRequest
from shared.errors import AnswerLost, AzureDevOpsError
from shared.telemetry import Decision


def url_of(run_id: int) -> str:
    return f"https://dev.azure.com/contoso/mlops/_build/results?buildId={run_id}"


@dataclass(frozen=True, slots=True)
class Queued:
    """One run in the fake's books."""

    run: Run
    request: RunRequest
    at: datetime


@dataclass
class FakePipelines:
    """Azure DevOps in memory.

    :param plan: what happens to the next requests to queue a run, in order: None lets one pass; an error is raised
        without queuing; ``LOST`` queues and then loses the answer; a callable is called first, and the run queued.
    """

    clock: Callable[[], datetime]
    books: list[Queued] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    plan: deque[AzureDevOpsError | Callable[[], None] | None] = field(default_factory=deque)
    search_error: AzureDevOpsError | None = None
    cancel_error: AzureDevOpsError | None = None
    tag_error: AzureDevOpsError | None = None
    tags: dict[int, list[str]] = field(default_factory=dict)
    searches: int = 0
    deadlines: list[datetime] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: count(100))

    def run(self, request: RunRequest, deadline: datetime) -> Run:
        self.deadlines.append(deadline)
        planned = self.plan.popleft() if self.plan else None
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
        self.books.append(Queued(run, request, self.clock()))
        return run

    def find_runs(self, request: RunRequest, since: datetime, until: datetime, deadline: datetime) -> list[Run]:
        self.searches += 1
        if self.search_error is not None:
            raise self.search_error
        return [queued.run for queued in self.books if queued.request == request and since <= queued.at <= until]

    def tag(self, request: RunRequest, run: Run, tags: Sequence[str], deadline: datetime) -> None:
        if self.tag_error is not None:
            raise self.tag_error
        self.tags[run.id] = list(tags)

    def cancel(self, request: RunRequest, run: Run, deadline: datetime) -> None:
        if self.cancel_error is not None:
            raise self.cancel_error
        self.cancelled.append(run.id)


LOST = AnswerLost("the answer was lost: ReadTimeout")
"""Planned: a run is queued, and nobody hears of it."""

LOST_UNQUEUED = AnswerLost("the answer was lost: reset")
"""Planned: nothing is queued, and nobody hears of it."""


class Reports(list[Decision]):
    """Keeps every decision that was reported."""

    def __call__(self, decision: Decision) -> None:
        self.append(decision)
