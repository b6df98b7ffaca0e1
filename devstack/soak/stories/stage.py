"""The processes of a story: one or two emulators, two hosts that share a journal, and a store that can fail."""

import itertools
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import requests
from azure.storage.queue import QueueServiceClient

from devstack.ado.books import FIRST_RUN_ID
from devstack.azurite import Azurite
from devstack.processes import RunningProcess, start, start_app
from devstack.soak.delivery import AS_EVENT_GRID, SOON, Deliveries, Pauses
from devstack.soak.stories.books import Kind, Outcome, StoryEvent, count, read_decisions
from shared.resume.azure_queue import API_VERSION

StoreName = Literal["sqlite", "azurite"]
Idempotency = Literal["honored", "ignored"]

ROOT: Final = Path(__file__).resolve().parents[3]
BUDGET_SECONDS, LEASE_SECONDS, SETTLE_SECONDS = 5.0, 6.0, 2.0
"""Much shorter than in production, so that a story ends within seconds. Its lags and outages are as much shorter."""
PATIENCE_SECONDS: Final = 300
PIPELINE, OTHER_PIPELINE = "story", "other"
PIPELINE_ID: Final = 1
PAT: Final = "devstack-pat"
RUNS_PATH: Final = r"/_apis/pipelines/\d+/runs/?$"
LIST_PATH: Final = "/_apis/build/builds/?$"

_PIPELINES: Final = """organization: contoso
project: mlops
branches: [main]
pipelines:
"""
_PIPELINE: Final = """  - id: {id}
    name: {name}
    parameters: [{{name: value, type: string}}, {{name: note, type: string, default: ""}}]
"""
_ROUTES: Final = "version: 1\nroutes:\n"
ROUTE: Final = """  - name: {name}
    event: RunCompleted
    organization_url: ${{{url}}}
    project: mlops
    pipeline: {pipeline}
    allow: '[^$#]*'
    parameters: {{ value: "{{{{ experiment_name }}}}"{more} }}
"""


@dataclass(frozen=True, kw_only=True)
class Route:
    """A route of a story.

    :param note: the value of a second parameter, or None.
    :param organization: 1 for the second one.
    """

    name: str = "first"
    note: str | None = None
    organization: Literal[0, 1] = 0

    @property
    def pipeline(self) -> str:
        """The pipeline's name, by which the runs of the organizations are told apart."""
        return (PIPELINE, OTHER_PIPELINE)[self.organization]

    def text(self) -> str:
        """Return the route as it is written in routes.yaml."""
        url = ("AZURE_DEVOPS_ORG_URL", "OTHER_ORG_URL")[self.organization]
        more = "" if self.note is None else f", note: {json.dumps(self.note)}"
        return ROUTE.format(name=self.name, url=url, pipeline=self.pipeline, more=more)


class Stage:
    """The processes of one story, for one story after the other with different behaviors of Azure DevOps."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        store: StoreName,
        routes: Sequence[Route] = (Route(),),
        *,
        clocks: Sequence[float] = (0, 0),
        settle_seconds: float = SETTLE_SECONDS,
        size: float = 1,
        resumes: bool = False,
    ) -> None:
        """Start all processes. They are stopped when the stack is closed.

        :param clocks: how many seconds each host's clock is ahead.
        :param settle_seconds: longer than the emulator needs to carry out a request.
        :param size: makes the story smaller.
        :param resumes: whether deferred events come back without a redelivery.
        """
        self.store = store
        self._size = size
        self._session = stack.enter_context(requests.Session())
        self._folder = folder
        self._routes = routes
        self._azurite = (
            stack.enter_context(Azurite(folder / "azurite", in_memory=resumes, queues=resumes))
            if store == "azurite"
            else None
        )
        (folder / "routes.yaml").write_text(_ROUTES + "".join(route.text() for route in routes))
        organizations = 1 + max(route.organization for route in routes)
        ados = [self._start_ado(stack, number) for number in range(organizations)]
        self._organization = ados[0].url
        self._controls = ["/".join(ado.url.split("/")[:3]) + "/_emulator" for ado in ados]
        settings = {
            "AZURE_DEVOPS_ORG_URL": ados[0].url,
            "OTHER_ORG_URL": ados[-1].url,
            "AZURE_DEVOPS_AUTH": "pat",
            "AZURE_DEVOPS_EXT_PAT": PAT,
            "JOURNAL_CONNECTION": self._azurite.connection_string if self._azurite else f"sqlite:{self._sqlite}",
            "ROUTES_FILE": str(folder / "routes.yaml"),
            "DELIVERY_BUDGET_SECONDS": str(BUDGET_SECONDS),
            "JOURNAL_LEASE_SECONDS": str(LEASE_SECONDS),
            "JOURNAL_SETTLE_SECONDS": str(settle_seconds),
            "PYTHON_THREADPOOL_THREAD_COUNT": "32",
        }
        if resumes:
            settings["RESUME_STORAGE"] = self._azurite.connection_string if self._azurite else "sqlite"
        self.hosts = [self._start_host(stack, number, clock, settings) for number, clock in enumerate(clocks)]
        self._first_run_id = FIRST_RUN_ID
        self._next = 0
        self.begin("ignored")

    @property
    def _sqlite(self) -> Path:
        return self._folder / "journal.sqlite3"

    def _start_ado(self, stack: ExitStack, number: int) -> RunningProcess:
        """Start an emulator. All of them begin with the same run ID."""
        file = self._folder / f"pipelines{number}.yaml"
        file.write_text(_PIPELINES + _PIPELINE.format(id=PIPELINE_ID, name=(PIPELINE, OTHER_PIPELINE)[number]))
        arguments = ("--pipelines", str(file), "--first-run-id", str(FIRST_RUN_ID))
        log = self._folder / f"ado{number}.log"
        return stack.enter_context(start("devstack.ado", *arguments, env={}, cwd=self._folder, log=log))

    def _start_host(self, stack: ExitStack, number: int, clock: float, settings: dict[str, str]) -> RunningProcess:
        app = Path(__file__).parent / "app" if clock else ROOT
        settings = {**settings, "SOAK_CLOCK_SECONDS": str(clock)}
        log = self._log(number)
        in_work_seconds = 2 * LEASE_SECONDS  # also much shorter than in production
        arguments = ("--no-reload", "--in-work-seconds", str(in_work_seconds))
        return stack.enter_context(start_app(*arguments, env=settings, cwd=self._folder, log=log, app_dir=app))

    def _log(self, number: int) -> Path:
        return self._folder / f"host{number}.log"

    def begin(self, idempotency: Idempotency, **switches: Any) -> None:
        """Start over: the emulators forget their runs and faults, and everything is counted from now on.

        :param switches: of the emulators' behavior.
        """
        # Far from the IDs of before, which belong to records in the journal.
        self._first_run_id += 100_000
        self.forget_runs()
        self._behavior = {"clock_offset_seconds": 0, "idempotency": idempotency}
        self.behave(**switches)
        self.stop_faults()
        self.events: list[StoryEvent] = []
        self.wrong: list[str] = []
        self.notes: list[str] = []
        self._left = 0
        self._strangers: set[str] = set()
        self._books_begin = [len(books["runs"]) for books in self.books()]
        self._requests_begin = len(self.books()[0]["requests"])

    def forget_runs(self) -> None:
        """Let the emulators begin again with the same run IDs, like a server that was restored from a backup."""
        for url in self._controls:
            self._post(f"{url}/restart", {"first_run_id": self._first_run_id})

    def behave(self, **switches: Any) -> None:
        """Change switches of the emulators' behavior."""
        for url in self._controls:
            self._post(f"{url}/behavior", {**self._behavior, **switches})

    @property
    def is_full(self) -> bool:
        """Whether the story has its full size."""
        return self._size >= 1

    def amount(self, full: int) -> int:
        """Return how many events or runs a story of this size has."""
        return max(4, round(full * self._size))

    def make_events(self, values: Sequence[str], copies: int = 1) -> list[StoryEvent]:
        """Return new events, one for each value. Events with the same value have equal requests on each route.

        :param copies: how often each is delivered, at the same time.
        """
        made = [self._event(value, copies) for value in values]
        self.events += made
        return made

    def _event(self, value: str, copies: int) -> StoryEvent:
        self._next += 1
        document = {
            "id": str(uuid.UUID(int=self._next)),
            "source": "/subscriptions/0/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/soak",
            "type": "Microsoft.MachineLearningServices.RunCompleted",
            "subject": f"story/{self._next}",
            "time": "2026-11-20T10:00:00Z",
            "specversion": "1.0",
            "data": {"experimentName": value, "runId": f"story_run_{self._next}"},
        }
        kinds = (Kind.of(each.pipeline, {"value": value, "note": each.note or ""}) for each in self._routes)
        return StoryEvent(json.dumps(document), [], copies, kinds=tuple(kinds))

    def values(self, full: int) -> list[str]:
        """Return different values for so many events."""
        return [f"value-{self._next}-{number}" for number in range(self.amount(full))]

    def deliver(
        self, events: Sequence[StoryEvent], host: int | None = None, senders: int = 16, pauses: Pauses = SOON
    ) -> None:
        """Deliver events until all are acknowledged.

        :param host: the only host to deliver to; otherwise, both in turn.
        :param senders: how many deliveries to make at once.
        """
        turn = iter(range(1_000_000))
        lock = threading.Lock()

        def pick() -> str:
            with lock:
                return self.hosts[next(turn) % len(self.hosts) if host is None else host].url

        deliveries = Deliveries(events, pick, seed=1, pauses=pauses)
        deliveries.run(senders, until=time.monotonic() + PATIENCE_SECONDS)
        self._left += deliveries.left
        reasons = (f"{number} times: {reason}" for reason, number in deliveries.reasons().most_common(3))
        self.wrong += reasons

    def deliver_evenly(self, events: Sequence[StoryEvent], seconds: float) -> None:
        """Deliver events evenly over a time, and note how many of them were not acknowledged and came again."""
        pick = (host.url for host in itertools.cycle(self.hosts))
        deliveries = Deliveries(events, lambda: next(pick), seed=1, pauses=AS_EVENT_GRID, seconds=seconds)
        deliveries.run(16, until=time.monotonic() + seconds + PATIENCE_SECONDS)
        self._left += deliveries.left
        self.notes.append(f"{deliveries.progress.deliveries - len(events)} redeliveries")

    @contextmanager
    def delivering(self, events: Sequence[StoryEvent], host: int | None = None) -> Iterator[threading.Thread]:
        """Deliver events in the meantime, in a thread that ends when all are acknowledged."""
        with self.meanwhile(lambda: self.deliver(events, host)) as thread:
            yield thread

    @contextmanager
    def meanwhile(self, work: Callable[[], None]) -> Iterator[threading.Thread]:
        """Do some work in a thread, and wait for its end."""
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield thread
        finally:
            thread.join()

    def plan(self, faults: Sequence[Mapping[str, Any]], organization: int = 0) -> None:
        """Plan faults for the next run requests, or those that the faults name."""
        self._post(f"{self._controls[organization]}/faults", list(faults))

    def stop_faults(self) -> None:
        """Remove all planned faults."""
        for url in self._controls:
            self._session.delete(f"{url}/faults", timeout=60).raise_for_status()

    def refuse_connections(self, seconds: float) -> None:
        """Let the emulators refuse connections for a while, also those of this stage."""
        for url in self._controls:
            self._post(f"{url}/outage", {"seconds": seconds})

    def messages_left(self) -> int:
        """Return how many messages of deferred events there are, visible or not."""
        if self._azurite is None:
            with closing(sqlite3.connect(self._sqlite, timeout=30)) as connection:
                return int(connection.execute("SELECT count(*) FROM due").fetchone()[0])
        connection_string = self._azurite.connection_string
        with QueueServiceClient.from_connection_string(connection_string, api_version=API_VERSION) as service:
            queues = [service.get_queue_client(queue.name).get_queue_properties() for queue in service.list_queues()]
        return sum(queue.approximate_message_count or 0 for queue in queues)

    def queue_by_others(self, order: Mapping[str, Any]) -> int:
        """Queue a run as somebody else would, and return its ID."""
        run = self._post(f"{self._controls[0]}/runs", {"pipeline": PIPELINE_ID, **order})
        self._strangers.add(run["planId"])
        return int(run["id"])

    def identity(self) -> str:
        """Return the ID of the app's own identity."""
        url = f"{self._organization}/_apis/connectionData"
        answer = self._session.get(url, auth=("", PAT), timeout=60)
        answer.raise_for_status()
        return str(answer.json()["authenticatedUser"]["id"])

    def cancel_by_others(self, run_id: int) -> None:
        """End a run as canceled."""
        self._post(f"{self._controls[0]}/runs/{run_id}", {"result": "canceled"})

    def books(self) -> list[dict[str, Any]]:
        """Return the books of each emulator."""
        return [self._session.get(f"{url}/books", timeout=60).json() for url in self._controls]

    def run_requests(self) -> list[dict[str, Any]]:
        """Return the run requests that the first emulator has received."""
        return [each for each in self.requests() if each["method"] == "POST" and each["path"].endswith("/runs")]

    def requests(self) -> list[dict[str, Any]]:
        """Return all requests that the first emulator has received since the story began."""
        found: list[dict[str, Any]] = self.books()[0]["requests"][self._requests_begin :]
        return found

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs that were queued since the story began."""
        return [
            run for books, first in zip(self.books(), self._books_begin, strict=True) for run in books["runs"][first:]
        ]

    def wait_for(self, condition: Callable[[], bool], look_every_seconds: float = 0.02) -> None:
        """Wait until a condition is true; if it takes too long, the story is wrong."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > limit:
                self.wrong.append("the story did not take its course")
                return
            time.sleep(look_every_seconds)

    def sweep(self) -> None:
        """Call the timer function of a host that cancels second runs of events."""
        requests.post(f"{self.hosts[-1].url}/admin/functions/purge_journal", json={}, timeout=60).raise_for_status()

    @contextmanager
    def no_storage(self) -> Iterator[None]:
        """Let no host write to the journal in the meantime."""
        if self._azurite is not None:
            self._azurite.stop()
            yield
            self._azurite.start()
            return
        with closing(sqlite3.connect(self._sqlite, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def outcome(self) -> Outcome:
        """Return what came out."""
        ids = {json.loads(event.text)["id"] for event in self.events}
        decisions = read_decisions(self._log(number) for number in range(len(self.hosts)))
        mine = [each for each in decisions if each["event_id"] in ids]
        return count(self.events, self.runs(), self._strangers, mine, self._left, self.wrong, self.notes)

    def _post(self, url: str, document: object) -> Any:
        answer = self._session.post(url, json=document, timeout=60)
        answer.raise_for_status()
        return answer.json()
