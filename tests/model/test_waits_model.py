"""Tasks that wait, ends of runs and sweeps, in any interleaving, with lost answers, crashes and lapsed leases.

Promises, held after every step: no task is told twice; no final record changes. And once faults stop: every task whose
wait was kept and whose run has ended was told, and its token is gone.
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
    """The rules are what may happen next; hypothesis looks for an order that breaks a promise."""

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
        told = {task.task_instance_id for task in self.world.tasks.values()}
        assert set(self.world.heard) == told, "a task was never told"
        assert {record.state for record in self.world.waits()} == {State.COMPLETED}
        assert not any(Wait.of(record).sealed_token for record in self.world.waits())


class Unfenced(Waiting):
    """Every write succeeds, whoever has taken the record over."""

    fenced = False


def test_the_promises_hold() -> None:
    play(Waiting)


def overtake(machine: Waiting) -> None:
    """A worker hears that it has told a task after its lease has lapsed and another one has finished its work."""
    machine.begin()
    sleeper, other, _ = machine.workers
    sleeper.register("task-a")
    machine.finish(sleeper)
    sleeper.end("run-1")
    while sleeper.at != "in flight":
        machine.step(sleeper, GO)
    machine.world.advance(LEASE)
    other.sweep()
    machine.finish(other)
    machine.the_promises()
    machine.finish(sleeper)
    machine.the_promises()
    machine.teardown()


def test_without_fencing_a_promise_is_seen_to_be_broken() -> None:
    """The check must be able to fail."""
    overtake(Waiting())
    with pytest.raises(AssertionError, match="a final record has changed"):
        overtake(Unfenced())


@only_long
def test_without_fencing_a_broken_promise_is_found() -> None:
    with pytest.raises(AssertionError, match=r"a task was told twice|a final record has changed"):
        play(Unfenced, examples=20_000, shrink=False)
