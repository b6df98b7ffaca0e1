"""A small world in which time, answers and crashes happen when the test says so.

Each worker is a process with a relay of its own, on a thread of its own. It stops before and after every call to the
journal's store and to Azure DevOps, and goes on when it is told to, so that any interleaving can be played; only one
thread ever runs. The code under test is the real one: relay, queueing, cooldowns and journal.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from handlers import DISPATCH
from shared.azure_devops.runs import Run, RunRequest
from shared.errors import AnswerLost, DeliveryDeferred, RequestNotSent
from shared.journal.cooldown import Cooldowns
from shared.journal.journal import Journal
from shared.journal.records import FINAL_STATES, JournalKey, Record
from shared.queueing import Queueing
from shared.relay import Delivery, Relay
from shared.routing.table import RouteTable
from tests.support.building import run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import SKEW, Reports, url_of
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import WrappedStore

BUDGET, LEASE, SETTLE = 25, 60, 30
GO, CRASH, LOSE = "go", "crash", "lose"


class Crashed(BaseException):
    """The process is gone: nothing that would catch an exception gets to see this one."""


@dataclass
class Request:
    """A request to queue a run, on its way. The server carries it out within ``SETTLE`` after it was sent, or never."""

    request: RunRequest
    sent_at: datetime
    run: Run | None = None
    dropped: bool = False

    @property
    def is_under_way(self) -> bool:
        return self.run is None and not self.dropped


@dataclass
class World:
    """Everything that workers share."""

    routes: RouteTable
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)
    sent: list[Request] = field(default_factory=list)
    books: list[tuple[Run, RunRequest, datetime]] = field(default_factory=list)
    finals: dict[JournalKey, Record] = field(default_factory=dict)

    def carry_out(self, sent: Request) -> None:
        """The server, whose clock is ahead of ours, queues the run."""
        run_id = 100 + len(self.books)
        sent.run = Run(run_id, url_of(run_id))
        self.books.append((sent.run, sent.request, self.clock() + SKEW))

    def advance(self, seconds: float) -> None:
        """Time passes; what is under way is carried out before it would be later than the settle time allows."""
        then = self.clock() + timedelta(seconds=seconds)
        for request in self.sent:
            latest = request.sent_at + timedelta(seconds=SETTLE)
            if request.is_under_way and latest < then:
                self.clock.now = max(self.clock.now, latest)
                self.carry_out(request)
        self.clock.now = then

    def check_finals(self) -> None:
        """A final record never changes again."""
        for key, record in self.store.records.items():
            if record.state in FINAL_STATES and not key.route.startswith("$cooldown."):
                assert self.finals.setdefault(key, record) == record, "a final record has changed"
        assert all(key in self.store.records for key in self.finals)


class Process:
    """A process that does one job at a time, and stops wherever ``pause`` is called."""

    def __init__(self) -> None:
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
        """Begin a job; stops at the first call."""
        self.error = None
        self._thread = threading.Thread(target=self._work, args=(job,), daemon=True)
        self._thread.start()
        self._wait()

    def go_on(self, command: str = GO) -> None:
        """Go on to the next call, crash, or lose the answer to the request that is under way."""
        self._command = command
        self._turn.release()
        self._wait()

    def pause(self, at: str) -> str:
        """Called by the worker's own thread: stop here until told to go on."""
        self.at = at
        self._back.release()
        self._turn.acquire()
        if self._command == CRASH:
            raise Crashed
        return self._command

    def stepping(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, with a stop before and after it."""

        def stepped(*arguments: Any) -> Any:
            self.pause(f"before {name}")
            answer = call(*arguments)
            self.pause(f"after {name}")
            return answer

        return stepped

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
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test's own thread must hear of it
            self.error = exc
        self.at = ""
        self._back.release()


class Worker(Process):
    """A process that delivers one event at a time."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.event = ""
        self.delivery: Delivery | None = None
        self.acknowledged = False
        journal = Journal(
            WrappedStore(world.store, self.stepping), lease_seconds=LEASE, settle_seconds=SETTLE, clock=world.clock
        )
        self._relay = Relay(
            dispatch=DISPATCH,
            routes=world.routes,
            journal=journal,
            queueing=Queueing(
                journal,
                SteppingPipelines(world, self.pause),
                Cooldowns(WrappedStore(world.store, self.stepping), world.clock),
                clock=world.clock,
                sleep=lambda _: None,
            ),
            budget_seconds=BUDGET,
            report=Reports(),
            clock=world.clock,
        )

    def begin(self, event: str) -> None:
        """Begin to deliver an event; stops at the first call."""
        self.event, self.delivery, self.acknowledged = event, None, False
        self.start(self._deliver)

    def _deliver(self) -> None:
        self.delivery = self._relay.deliver(run_completed(self.event))


class SteppingPipelines:
    """Azure DevOps, slowly. To look at the clock and to send is one step: see "the sleeper" in ADR 1."""

    def __init__(self, world: World, pause: Callable[[str], str]) -> None:
        self._world = world
        self._pause = pause

    def run(self, request: RunRequest, deadline: datetime) -> Run:
        self._pause("before run")
        if self._world.clock() >= deadline:
            raise RequestNotSent("no time is left")
        sent = Request(request, self._world.clock())
        self._world.sent.append(sent)
        command = self._pause("in flight")
        if sent.run is None or command == LOSE:
            raise AnswerLost("the answer was lost")
        return sent.run

    def find_runs(self, request: RunRequest, since: datetime, until: datetime, deadline: datetime) -> list[Run]:
        self._pause("before find_runs")
        found = [run for run, queued, at in self._world.books if queued == request and since <= at <= until]
        self._pause("after find_runs")
        return found

    def tag(self, request: RunRequest, run: Run, tags: Iterable[str], deadline: datetime) -> None:
        self._pause("tag")

    def cancel(self, request: RunRequest, run: Run, deadline: datetime) -> None:
        raise AssertionError("with the clock looked at when sending, no run is ever one too many")
