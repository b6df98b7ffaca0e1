"""The books record every queued run, agentless task, Azure ML job and request, for tests and people.

The books are in memory. All records are immutable, so readers need no lock. The books contain no credentials: they
store only the request headers in ``KEPT_HEADERS``, and replace secret values in bodies with ``MASK``.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from devstack.ado.declaration import AgentlessDeclaration
from devstack.ado.errors import orchestration_exists
from devstack.ado.runs.records import RunReason, RunRecord, RunResult, ValidatedRun
from devstack.ado.tasks.hub import TaskHub
from devstack.ado.times import timestamp, utc_now
from devstack.aml.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from devstack.ado.access import User
    from devstack.ado.runs.behavior import Behavior
    from devstack.ado.tasks.records import TaskRecord

KEPT_HEADERS = ("Accept", "Content-Type", "User-Agent", "X-TFS-FedAuthRedirect", "X-VSS-E2EID")
FIRST_RUN_ID = 501
CANCEL_SECONDS = 10
"""How long a run is being canceled before it ends."""

Dropped = Literal["dropped"]


@dataclass(frozen=True)
class RequestRecord:
    """A request that was received.

    ``status`` is the status of the answer, "dropped" if a fault dropped the connection, or None if the request is not
    yet answered. ``body`` is the JSON document in the request, or None.
    """

    method: str
    path: str
    query: str
    received: datetime
    credential: str
    headers: Mapping[str, str]
    body: object
    status: int | Dropped | None = None

    def document(self) -> dict[str, object]:
        """Return the request as ``GET /_emulator/books`` shows it."""
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "status": self.status,
            "time": timestamp(self.received),
            "credential": self.credential,
            "headers": dict(self.headers),
            "body": self.body,
        }


class Books:
    """The runs, the agentless tasks, the Azure ML jobs and the requests of one emulator."""

    def __init__(
        self,
        clock: Callable[[], datetime] = utc_now,
        agentless: AgentlessDeclaration | None = None,
        first_run_id: int = FIRST_RUN_ID,
    ) -> None:
        self.clock = clock
        self.task_hub = TaskHub(agentless or AgentlessDeclaration(), clock)
        self.jobs = Jobs(clock)
        self._lock = threading.Lock()
        self._forgotten: tuple[RunRecord, ...] = ()
        self._first_run_id = first_run_id
        self._runs: dict[int, RunRecord] = {}
        self._orchestration_ids: set[str] = set()
        self._counts: dict[tuple[int, str], int] = {}
        self._requests: list[RequestRecord] = []

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """Every run, in the order of queuing. Several may have the same ID, after a restart."""
        with self._lock:
            return tuple(map(self._now, (*self._forgotten, *self._runs.values())))

    @property
    def known_runs(self) -> tuple[RunRecord, ...]:
        """The runs that the service knows: those since the last restart."""
        with self._lock:
            return tuple(map(self._now, self._runs.values()))

    def restart(self, first_run_id: int) -> None:
        """Let the service forget all runs, like a server that was restored, and begin with this run ID."""
        with self._lock:
            self._forgotten = (*self._forgotten, *self._runs.values())
            self._first_run_id = first_run_id
            for memory in (self._runs, self._counts, self._orchestration_ids):
                memory.clear()

    @property
    def tasks(self) -> tuple[TaskRecord, ...]:
        """Every agentless task, in the order of their start."""
        return self.task_hub.tasks

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request except those to ``/_emulator``, in the order of arrival."""
        with self._lock:
            return tuple(self._requests)

    def run(self, run_id: int) -> RunRecord | None:
        return self._change(run_id, lambda run: run)

    def queue(
        self,
        request: ValidatedRun,
        requester: User,
        behavior: Behavior,
        *,
        orchestration_id: str | None = None,
        reason: RunReason = "manual",
        build: Mapping[str, object] = MappingProxyType({}),
    ) -> RunRecord:
        """Queue a run with the next ID and the pipeline's next name of the day (``yyyymmdd.n``).

        :param orchestration_id: None for a random one.
        :param build: fields of the build that are shown instead of the real ones.
        :raises ApiError: 400, there is already a run with this orchestration ID.
        """
        with self._lock:
            if orchestration_id is not None and orchestration_id in self._orchestration_ids:
                raise orchestration_exists(orchestration_id)
            plan_id = orchestration_id or str(uuid.uuid4())
            self._orchestration_ids.add(plan_id)
            created = self.clock()
            day = created.strftime("%Y%m%d")
            count = self._counts[request.pipeline_id, day] = self._counts.get((request.pipeline_id, day), 0) + 1
            run = RunRecord(
                **vars(request),
                id=self._first_run_id + len(self._runs),
                name=f"{day}.{count}",
                plan_id=plan_id,
                requester=requester,
                created=created,
                listed_from=created + timedelta(seconds=behavior.list_lag_seconds),
                starts=None if request.is_paused else created + timedelta(seconds=behavior.start_after_seconds),
                parameter_form=behavior.parameters,
                reason=reason,
                build=build,
            )
            self._runs[run.id] = run
            return run

    def finish(self, run_id: int, result: RunResult) -> RunRecord | None:
        """End a run and return it, or None if it is unknown. A run that has already ended keeps its first result."""
        return self._change(run_id, lambda run: run.ended(result, self.clock()))

    def cancel(self, run_id: int) -> RunRecord | None:
        """Start to cancel a run, which ends a moment later. Do nothing if it is being canceled or has ended."""

        def canceling(run: RunRecord) -> RunRecord:
            if run.state != "inProgress":
                return run
            return replace(run, state="canceling", cancels=self.clock() + timedelta(seconds=CANCEL_SECONDS))

        return self._change(run_id, canceling)

    def add_tags(self, run_id: int, add: Iterable[str]) -> RunRecord | None:
        """Add tags to a run. As in Azure DevOps, tags are not case-sensitive."""

        def changed(run: RunRecord) -> RunRecord:
            tags = {tag.lower(): tag for tag in (*add, *reversed(run.tags))}
            return replace(run, tags=tuple(sorted(tags.values(), key=str.lower)))

        return self._change(run_id, changed)

    def _now(self, run: RunRecord) -> RunRecord:
        """Return the run as it is now: one that is being canceled may have ended."""
        if run.state == "canceling" and run.cancels is not None and run.cancels <= self.clock():
            return run.ended("canceled", run.cancels)
        return run

    def _change(self, run_id: int, change: Callable[[RunRecord], RunRecord]) -> RunRecord | None:
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None:
                run = self._runs[run_id] = change(self._now(run))
            return run

    def receive(self, request: RequestRecord) -> int:
        """Record a request that has just arrived, and return its index for ``answered``."""
        with self._lock:
            self._requests.append(request)
            return len(self._requests) - 1

    def answered(self, index: int, status: int | Dropped) -> None:
        """Record the answer to a request."""
        with self._lock:
            self._requests[index] = replace(self._requests[index], status=status)

    def document(self) -> dict[str, object]:
        """Return all books as ``{"runs": […], "tasks": […], "jobs": […], "requests": […]}``, with tokens masked."""
        books = {
            "runs": [run.document() for run in self.runs],
            "tasks": [task.document() for task in self.tasks],
            "jobs": [job.book_entry() for job in self.jobs.all],
            "requests": [request.document() for request in self.requests],
        }
        return {name: self.task_hub.masker.document(entries) for name, entries in books.items()}
