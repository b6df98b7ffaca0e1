"""The world of the model tests of waits: requests that complete tasks instead of requests that queue runs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.credentials import Secret
from shared.errors import AnswerLost, RequestNotSent
from shared.journal.records import WAIT_PREFIX, Record, Selection
from shared.waits.fairness.quotas import Quotas
from shared.waits.request import Task
from shared.waits.sweep import Sweep
from shared.waits.task_client import Access
from shared.waits.tokens import TokenSeal
from shared.waits.waits import Waits
from shared.waits.workspaces import Workspaces
from tests.model.world import BUDGET, LOSE, Process, Sent, SharedWorld
from tests.support.builders import WORKSPACE
from tests.support.fakes import Reports
from tests.support.waits import EVENT, KEY, PLAN_URLS, a_request, a_task, the_end

RUN_BY_TASK = {"task-a": "run-1", "task-b": "run-1", "task-c": "run-2"}
RUNS = ("run-1", "run-2")


@dataclass
class WaitsWorld(SharedWorld):
    """A world in which tasks are completed."""

    completions: Counter[str] = field(default_factory=Counter)
    """How often each task was completed."""
    tasks: dict[str, Task] = field(default_factory=lambda: {name: a_task() for name in RUN_BY_TASK})

    def carry_out(self, sent: Sent) -> None:
        """Complete the task on the server."""
        sent.arrived = True
        self.completions[sent.request] += 1

    def waits(self) -> list[Record]:
        return list(self.store.select(Selection(route_prefix=WAIT_PREFIX), 100))

    def check(self) -> None:
        """Check that no task was completed twice and no final record has changed."""
        assert all(times == 1 for times in self.completions.values()), "a task was completed twice"
        self.check_finals()


class WaitsWorker(Process):
    """A process that registers tasks, reports ends of runs and sweeps."""

    def __init__(self, world: WaitsWorld) -> None:
        super().__init__(world)
        self._world = world
        workspaces = Workspaces(self.journal, WORKSPACE)
        self._waits = Waits(
            self.journal,
            SteppingTasks(world, self.pause),
            TokenSeal(lambda: [Secret(KEY)]),
            PLAN_URLS,
            workspaces,
            Quotas(self.journal, per_organization=10, per_plan=10, clock=world.clock),
            report=Reports(),
            clock=world.clock,
        )
        self._sweep = Sweep(
            self.journal,
            self._waits,
            workspaces,
            [],
            after=timedelta(days=9),
            timeout=timedelta(days=9),
            clock=world.clock,
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
    """Azure DevOps, one step at a time. Checking the clock and sending is one step: see "a frozen worker" in ADR 1."""

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

    def has_ended(self, task: Task, access: Access, deadline: datetime) -> bool:
        self._pause("before has_ended")
        over = task.task_instance_id in self._world.completions
        self._pause("after has_ended")
        return over

    def show_lines(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        """Do nothing: no promise depends on the lines."""

    write_log = show_lines
