"""A small world in which the test controls time, answers and crashes.

Each worker stands for a process and has its own relay and thread. It stops before and after every call to the journal's
store and to Azure DevOps, and continues when the test lets it. Any order of steps can therefore be played, and only one
thread runs at a time. The code under test is the real code: relay, queueing, cooldowns and journal.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from handlers import DISPATCH
from shared.azure_devops.reconcile import Build
from shared.azure_devops.runs import Run, RunRequest
from shared.errors import AnswerLost, DeliveryDeferred, JournalUnavailable, RequestNotSent, RunExists, Throttled
from shared.journal.cooldown import PARTITION_PREFIX, Cooldowns
from shared.journal.journal import Journal
from shared.journal.records import FINAL_STATES, JournalKey, Record
from shared.queueing.queueing import Queueing
from shared.relay import Deferrals, Delivery, Relay
from shared.routing.table import RouteTable
from tests.support.builders import run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import IDENTITY, USUAL_SKEW, Queued, Reports, url_of
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import Around, Call, WrappedStore

if TYPE_CHECKING:
    from shared.queueing.pipelines import Pipelines

BUDGET, LEASE, SETTLE = 25, 60, 30
GO, CRASH, LOSE = "go", "crash", "lose"


class Crashed(BaseException):
    """The process has died. No handler of ``Exception`` catches this."""


@dataclass
class Sent:
    """A request that was sent. The server carries it out within ``SETTLE`` seconds, or never."""

    request: Any
    sent_at: datetime
    run: Run | None = None
    arrived: bool = False
    dropped: bool = False

    @property
    def is_under_way(self) -> bool:
        return not self.arrived and not self.dropped


@dataclass
class SharedWorld(ABC):
    """What the workers share: the store, the time and every request."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)
    sent: list[Sent] = field(default_factory=list)
    finals: dict[JournalKey, Record] = field(default_factory=dict)

    def send(self, request: object) -> Sent:
        """Send a request."""
        self.sent.append(Sent(request, self.clock()))
        return self.sent[-1]

    @abstractmethod
    def carry_out(self, sent: Sent) -> None:
        """Carry out a request on the server."""

    def advance(self, seconds: float) -> None:
        """Let time pass. Carry out each request in progress before its settle time is over."""
        then = self.clock() + timedelta(seconds=seconds)
        for sent in self.sent:
            latest = sent.sent_at + timedelta(seconds=SETTLE)
            if sent.is_under_way and latest < then:
                self.clock.now = max(self.clock.now, latest)
                self.carry_out(sent)
        self.clock.now = then

    def check_finals(self) -> None:
        """Check that no final record has changed."""
        for key, record in self.store.records.items():
            if record.state in FINAL_STATES and not key.route.startswith(PARTITION_PREFIX):
                assert self.finals.setdefault(key, record) == record, "a final record has changed"
        assert all(key in self.store.records for key in self.finals)


@dataclass
class World(SharedWorld):
    """A world in which runs are queued."""

    routes: RouteTable = field(kw_only=True)
    honors_ids: bool = False
    books: list[Queued] = field(default_factory=list)
    closed_until: datetime | None = None
    """Until when Azure DevOps asks for a pause."""

    @property
    def pause_seconds(self) -> float:
        """How long Azure DevOps asks for a pause from now on."""
        return 0.0 if self.closed_until is None else max(0.0, (self.closed_until - self.clock()).total_seconds())

    def carry_out(self, sent: Sent) -> None:
        """Queue the run on the server, whose clock is ahead of the app's. If it honors IDs, only once for each ID."""
        request, orchestration_id = sent.request
        sent.arrived = True
        if self.honors_ids and any(queued.orchestration_id == orchestration_id for queued in self.books):
            return
        run_id = 100 + len(self.books)
        sent.run = Run(run_id, url_of(run_id))
        used = orchestration_id if self.honors_ids else ""
        self.books.append(Queued(sent.run, request, self.clock() + USUAL_SKEW, used))


def losing(pause: Callable[[str], str], error: type[Exception]) -> Around:
    """Stop before and after each call. If the test says LOSE, it fails there, before or after its work is done."""

    def around(name: str, call: Call) -> Call:
        def step(*arguments: Any, **options: Any) -> Any:
            if pause(f"before {name}") == LOSE:
                raise error("nothing was done, says the test")
            answer = call(*arguments, **options)
            if pause(f"after {name}") == LOSE:
                raise error("the answer was lost, says the test")
            return answer

        return step

    return around


class Process:
    """A process that does one job at a time, and stops at each call of ``pause``."""

    def __init__(self, world: SharedWorld) -> None:
        self.store = WrappedStore(world.store, losing(self.pause, JournalUnavailable))
        self.journal = Journal(self.store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=world.clock)
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._command = GO
        self._thread: threading.Thread | None = None
        self.at = ""
        self.error: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        return self._thread is not None

    def start(self, job: Callable[[], object]) -> None:
        """Begin a job, and stop at the first call."""
        self.error = None
        self._thread = threading.Thread(target=self._work, args=(job,), daemon=True)
        self._thread.start()
        self._wait()

    def go_on(self, command: str = GO) -> None:
        """Continue to the next call, crash, or lose the answer to the call in progress."""
        self._command = command
        self._turn.release()
        self._wait()

    def pause(self, at: str) -> str:
        """Stop the worker's own thread until ``go_on`` is called."""
        self.at = at
        self._back.release()
        self._turn.acquire()
        if self._command == CRASH:
            raise Crashed
        return self._command

    def _wait(self) -> None:
        assert self._back.acquire(timeout=60), "the worker hangs"
        if self._thread is not None and self.at == "":
            self._thread.join()
            self._thread = None

    def _work(self, job: Callable[[], object]) -> None:
        try:
            job()
        except (DeliveryDeferred, Crashed):
            pass
        except Exception as exc:  # noqa: BLE001 - the thread of the test reports any error
            self.error = exc
        self.at = ""
        self._back.release()


class Worker(Process):
    """A process that delivers one event at a time."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.event = ""
        self.delivery: Delivery | None = None
        self.acknowledged = False
        self.relay = Relay(
            dispatch=DISPATCH,
            routes=world.routes,
            journal=self.journal,
            queueing=Queueing(
                self.journal,
                cast("Pipelines", SteppingPipelines(world, self.pause)),
                Cooldowns(self.store, world.clock),
                clock=world.clock,
                sleep=lambda _: None,
            ),
            deferrals=self.deferrals(world),
            budget_seconds=BUDGET,
            report=Reports(),
            clock=world.clock,
        )

    def deferrals(self, world: World) -> Deferrals | None:
        """Return what brings deferred records back."""
        return None

    def begin(self, event: str) -> None:
        """Begin to deliver an event, and stop at the first call."""
        self.event, self.delivery, self.acknowledged = event, None, False

        def deliver() -> None:
            self.delivery = self.relay.deliver(run_completed(event))

        self.start(deliver)


class SteppingPipelines:
    """Azure DevOps, one step at a time. Checking the clock and sending is one step: see "a frozen worker" in ADR 1."""

    def __init__(self, world: World, pause: Callable[[str], str]) -> None:
        self._world = world
        self._pause = pause

    def run(self, request: RunRequest, deadline: datetime, orchestration_id: str) -> Run:
        self._pause("before run")
        if self._world.clock() >= deadline:
            raise RequestNotSent("no time is left")
        if (seconds := self._world.pause_seconds) > 0:
            raise Throttled("Azure DevOps asks for a pause", seconds)
        sent = self._world.send((request, orchestration_id))
        command = self._pause("in flight")
        if not sent.arrived or command == LOSE:
            raise AnswerLost("the answer was lost")
        if sent.run is None:
            raise RunExists("RunOrchestrationExistsException")
        return sent.run

    def builds(
        self, request: RunRequest, since: datetime, until: datetime, deadline: datetime
    ) -> Iterator[Sequence[Build]]:
        self._pause("before builds")
        found = [queued.listed(is_canceled=False) for queued in self._world.books if since <= queued.at <= until]
        self._pause("after builds")
        yield found

    def requester(self, request: RunRequest, deadline: datetime) -> str:
        return IDENTITY

    def admit(self, organization_url: str, *, later: bool = False) -> float:
        return self._world.pause_seconds

    def sender(self) -> str:
        return "credential"

    def tag(self, request: RunRequest, run: Run, tags: Iterable[str], deadline: datetime) -> None:
        self._pause("tag")

    def build(self, request: RunRequest, run_id: int, deadline: datetime) -> Build:
        (queued,) = [one for one in self._world.books if one.run.id == run_id]
        return queued.listed(is_canceled=False)

    def cancel(self, request: RunRequest, run: Run, deadline: datetime) -> None:
        raise AssertionError("since the clock is checked when a request is sent, there is never an orphan to cancel")
