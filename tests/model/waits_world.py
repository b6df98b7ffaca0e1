"""The same small world for tasks that wait: messages to tasks instead of requests to queue runs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.credentials import Secret
from shared.errors import AnswerLost, RequestNotSent
from shared.journal.records import Record, Selection
from shared.waits.request import Task
from shared.waits.sweep import Sweep
from shared.waits.task_client import Access
from shared.waits.tokens import TokenSeal
from shared.waits.wait import WAIT_PREFIX
from shared.waits.waits import Waits
from tests.model.world import BUDGET, LOSE, Process, Sent, SharedWorld
from tests.support.fakes import Reports
from tests.support.waits import EVENT, KEY, PLAN_URLS, a_request, a_task, the_end

RUN_BY_TASK = {"task-a": "run-1", "task-b": "run-1", "task-c": "run-2"}
RUNS = ("run-1", "run-2")


@dataclass
class WaitsWorld(SharedWorld):
    """A world in which tasks are told of their end."""

    heard: Counter[str] = field(default_factory=Counter)
    """From each task to how often it was told."""
    tasks: dict[str, Task] = field(default_factory=lambda: {name: a_task() for name in RUN_BY_TASK})

    def carry_out(self, sent: Sent) -> None:
        """The server ends the task."""
        sent.arrived = True
        self.heard[sent.request] += 1

    def waits(self) -> list[Record]:
        return list(self.store.select(Selection(route_prefix=WAIT_PREFIX), 100))

    def check(self) -> None:
        """No task was told twice, and what is final stays as it is."""
        assert all(times == 1 for times in self.heard.values()), "a task was told twice"
        self.check_finals()


class WaitsWorker(Process):
    """A process that registers tasks, brings the end of runs, and sweeps."""

    def __init__(self, world: WaitsWorld) -> None:
        super().__init__(world)
        self._world = world
        self._waits = Waits(
            self.journal,
            SteppingTasks(world, self.pause),
            TokenSeal(lambda: [Secret(KEY)]),
            PLAN_URLS,
            report=Reports(),
            clock=world.clock,
        )
        self._sweep = Sweep(
            self.journal, self._waits, None, after=timedelta(days=9), timeout=timedelta(days=9), clock=world.clock
        )

    def register(self, name: str) -> None:
        request = a_request(self._world.tasks[name], RUN_BY_TASK[name])
        self.start(lambda: self._waits.register(request, self._deadline(2.5)))

    def end(self, run_id: str) -> None:
        self.start(lambda: self._waits.run_ended(the_end(run_id), EVENT, self._deadline(BUDGET)))

    def sweep(self) -> None:
        self.start(self._sweep.run)

    def _deadline(self, seconds: float) -> datetime:
        return self._world.clock() + timedelta(seconds=seconds)


class SteppingTasks:
    """Azure DevOps, slowly. To look at the clock and to send is one step: see "a frozen worker" in ADR 1."""

    def __init__(self, world: WaitsWorld, pause: Callable[[str], str]) -> None:
        self._world = world
        self._pause = pause

    def complete(self, task: Task, access: Access, result: str, deadline: datetime) -> None:
        self._pause("before complete")
        if self._world.clock() >= deadline:
            raise RequestNotSent("no time is left")
        sent = self._world.send(task.task_instance_id)
        command = self._pause("in flight")
        if not sent.arrived or command == LOSE:
            raise AnswerLost("the answer was lost")

    def is_over(self, task: Task, access: Access, deadline: datetime) -> bool:
        self._pause("before is_over")
        over = task.task_instance_id in self._world.heard
        self._pause("after is_over")
        return over

    def say(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Nothing depends on it."""

    write_log = say
