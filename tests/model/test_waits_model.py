"""Model tests of waits: registrations, ends of runs and sweeps in any order, with lost answers and crashes.

Promises after every step:

- No task is completed twice.
- No final record changes.

Promise after faults have stopped: every task with a stored wait whose run has ended is completed, and its token is
erased.
"""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from shared.journal.records import State
from shared.waits.wait import Wait, ends_partition
from tests.model.interleaving import Interleaving, a_worker, play
from tests.model.waits_world import RUN_BY_TASK, RUNS, WaitsWorker, WaitsWorld
from tests.model.world import GO, LEASE
from tests.support.effort import only_long
from tests.support.journal.memory_store import MemoryStore


class Waiting(Interleaving):
    """Workers that register tasks, report ends of runs and sweep."""

    fenced = True

    @initialize()
    def begin(self) -> None:
        self.world = WaitsWorld(MemoryStore(fenced=self.fenced))
        self.workers = [WaitsWorker(self.world) for _ in range(3)]

    @rule(worker=a_worker, task=st.sampled_from(sorted(RUN_BY_TASK)))
    def register(self, worker: int, task: str) -> None:
        if not self.workers[worker].is_busy:
            self.workers[worker].register(task)

    @rule(worker=a_worker, run_id=st.sampled_from(RUNS))
    def end(self, worker: int, run_id: str) -> None:
        if not self.workers[worker].is_busy:
            self.workers[worker].end(run_id)

    @rule(worker=a_worker)
    def sweep(self, worker: int) -> None:
        if not self.workers[worker].is_busy:
            self.workers[worker].sweep()

    @invariant()
    def the_promises(self) -> None:
        self.world.check()

    def settle(self) -> None:
        worker = self.workers[0]
        kept = {record.key.key for record in self.world.waits()}
        for name, task in self.world.tasks.items():
            if task.key not in kept:
                worker.register(name)
                self.finish(worker)
        ended = {key.route for key in self.world.store.records}
        for run_id in RUNS:
            if ends_partition(run_id) not in ended:
                worker.end(run_id)
                self.finish(worker)
        for _ in range(4):
            self.world.advance(LEASE)
            worker.sweep()
            self.finish(worker)

    def check_the_end(self) -> None:
        self.world.check()
        expected = {task.task_instance_id for task in self.world.tasks.values()}
        assert set(self.world.completions) == expected, "a task was never completed"
        assert {record.state for record in self.world.waits()} == {State.COMPLETED}
        assert not any(Wait.of(record).sealed_token for record in self.world.waits())


class Unfenced(Waiting):
    """Waits in a store without fencing: every write succeeds, even after the record was taken over."""

    fenced = False


def test_the_promises_hold() -> None:
    play(Waiting)


def overtake(machine: Waiting) -> None:
    """Freeze a worker until its lease has lapsed and another worker has completed the task. Then let it continue."""
    machine.begin()
    frozen, other, _ = machine.workers
    frozen.register("task-a")
    machine.finish(frozen)
    frozen.end("run-1")
    while frozen.at != "in flight":
        machine.step(frozen, GO)
    machine.world.advance(LEASE)
    other.sweep()
    machine.finish(other)
    machine.the_promises()
    machine.finish(frozen)
    machine.the_promises()
    machine.teardown()


def test_the_check_detects_a_store_without_fencing() -> None:
    """The check must be able to fail."""
    overtake(Waiting())
    with pytest.raises(AssertionError, match="a final record has changed"):
        overtake(Unfenced())


@only_long
def test_the_search_finds_a_broken_promise_without_fencing() -> None:
    with pytest.raises(AssertionError, match=r"a task was completed twice|a final record has changed"):
        play(Unfenced, examples=20_000, shrink=False)
