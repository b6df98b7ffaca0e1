"""The same small world for tasks that wait: messages to tasks instead of requests to queue runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.credentials import Secret
from shared.errors import AnswerLost, RequestNotSent
from shared.journal.journal import Journal
from shared.journal.records import FINAL_STATES, JournalKey, Record, Selection
from shared.telemetry import Outcome
from shared.waits.request import Task
from shared.waits.sweep import Sweep
from shared.waits.tasks import Access
from shared.waits.tokens import TokenSeal
from shared.waits.wait import WAIT_PREFIX
from shared.waits.waits import Waits
from tests.model.world import BUDGET, LEASE, LOSE, SETTLE, Process
from tests.support.clock import ManualClock
from tests.support.fakes import Reports
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import WrappedStore
from tests.support.waits import EVENT, KEY, PLAN_URLS, a_request, a_task, the_end

RUN_BY_TASK = {"task-a": "run-1", "task-b": "run-1", "task-c": "run-2"}
RUNS = ("run-1", "run-2")


@dataclass
class Message:
    """That a task has come to its end, on its way. The server acts on it within ``SETTLE``, or never."""

    task_id: str
    sent_at: datetime
    arrived: bool = False
    dropped: bool = False

    @property
    def is_under_way(self) -> bool:
        return not self.arrived and not self.dropped


@dataclass
class WaitsWorld:
    """Everything that workers share."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)
    sent: list[Message] = field(default_factory=list)
    heard: dict[str, int] = field(default_factory=dict)
    """From each task to how often it was told of its end."""
    finals: dict[JournalKey, Record] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=lambda: {name: a_task() for name in RUN_BY_TASK})

    def carry_out(self, sent: Message) -> None:
        """The server ends the task."""
        sent.arrived = True
        self.heard[sent.task_id] = self.heard.get(sent.task_id, 0) + 1

    def advance(self, seconds: float) -> None:
        """Time passes; what is under way arrives before it would be later than the settle time allows."""
        then = self.clock() + timedelta(seconds=seconds)
        for message in self.sent:
            latest = message.sent_at + timedelta(seconds=SETTLE)
            if message.is_under_way and latest < then:
                self.clock.now = max(self.clock.now, latest)
                self.carry_out(message)
        self.clock.now = then

    def waits(self) -> list[Record]:
        return list(self.store.select(Selection(route_prefix=WAIT_PREFIX), 100))

    def check(self) -> None:
        """No task was told twice, and what is final stays as it is."""
        assert all(times == 1 for times in self.heard.values()), "a task was told twice"
        for record in self.waits():
            if record.state in FINAL_STATES:
                assert self.finals.setdefault(record.key, record) == record, "a final record has changed"


class WaitsWorker(Process):
    """A process that registers tasks, brings the end of runs, and sweeps."""

    def __init__(self, world: WaitsWorld) -> None:
        super().__init__()
        self._world = world
        self.is_done = False
        journal = Journal(
            WrappedStore(world.store, self.stepping), lease_seconds=LEASE, settle_seconds=SETTLE, clock=world.clock
        )
        self._waits = Waits(
            journal,
            SteppingTasks(world, self.pause),
            TokenSeal(lambda: [Secret(KEY)]),
            PLAN_URLS,
            report=Reports(),
            clock=world.clock,
        )
        self._sweep = Sweep(
            journal, self._waits, None, after=timedelta(days=9), timeout=timedelta(days=9), clock=world.clock
        )

    def register(self, name: str) -> None:
        request = a_request(self._world.tasks[name], RUN_BY_TASK[name])
        self._begin(lambda: self._waits.register(request, self._deadline(2.5)) is not None)

    def end(self, run_id: str) -> None:
        def bring() -> bool:
            decisions = self._waits.run_ended(the_end(run_id), EVENT, self._deadline(BUDGET))
            return all(decision.outcome is not Outcome.DEFERRED for decision in decisions)

        self._begin(bring)

    def sweep(self) -> None:
        self._begin(lambda: self._sweep.run() is not None)

    def _begin(self, job: Callable[[], bool]) -> None:
        def noted() -> None:
            self.is_done = job()

        self.is_done = False
        self.start(noted)

    def _deadline(self, seconds: float) -> datetime:
        return self._world.clock() + timedelta(seconds=seconds)


class SteppingTasks:
    """Azure DevOps, slowly. To look at the clock and to send is one step: see "the sleeper" in ADR 1."""

    def __init__(self, world: WaitsWorld, pause: Callable[[str], str]) -> None:
        self._world = world
        self._pause = pause

    def complete(self, task: Task, access: Access, result: str, deadline: datetime) -> None:
        self._pause("before complete")
        if self._world.clock() >= deadline:
            raise RequestNotSent("no time is left")
        message = Message(task.task_instance_id, self._world.clock())
        self._world.sent.append(message)
        command = self._pause("in flight")
        if not message.arrived or command == LOSE:
            raise AnswerLost("the answer was lost")

    def is_over(self, task: Task, access: Access, deadline: datetime) -> bool:
        self._pause("before is_over")
        over = task.task_instance_id in self._world.heard
        self._pause("after is_over")
        return over

    def say(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Nothing depends on it."""

    write_log = say
