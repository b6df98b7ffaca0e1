"""The steps of every model test: workers continue, crash and lose answers, and time passes."""

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.model.world import CRASH, GO, LEASE, LOSE, SETTLE, Process
from tests.support.effort import amount

EXAMPLES = amount(75, long=2000)

a_worker = st.integers(0, 2)


class Interleaving(RuleBasedStateMachine):
    """Rules for any kind of worker. Hypothesis searches for an order of steps that breaks a promise.

    ``workers`` are instances of ``Process``, and ``world`` is a ``SharedWorld``.
    """

    world: Any
    workers: list[Any]
    losable = frozenset({"in flight"})
    """The calls whose answer may be lost."""

    @rule(worker=a_worker, steps=st.integers(1, 4))
    def go_on(self, worker: int, steps: int) -> None:
        for _ in range(steps):
            if self.workers[worker].is_busy:
                self.step(self.workers[worker], GO)

    @rule(worker=a_worker)
    def crash(self, worker: int) -> None:
        if self.workers[worker].is_busy:
            self.step(self.workers[worker], CRASH)

    @precondition(lambda self: any(worker.at in self.losable for worker in self.workers))
    @rule(worker=a_worker)
    def lose_the_answer(self, worker: int) -> None:
        if self.workers[worker].at in self.losable:
            self.step(self.workers[worker], LOSE)

    @precondition(lambda self: self.under_way())
    @rule(data=st.data())
    def carry_out(self, data: st.DataObject) -> None:
        self.world.carry_out(data.draw(st.sampled_from(self.under_way())))

    @precondition(lambda self: self.under_way())
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.under_way())).dropped = True

    @rule(seconds=st.sampled_from([1, 10, SETTLE, LEASE]))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    def under_way(self) -> list[Any]:
        return [sent for sent in self.world.sent if sent.is_under_way]

    def step(self, worker: Process, command: str) -> None:
        """Let a worker continue to its next call."""
        worker.go_on(command)
        assert worker.error is None, repr(worker.error)

    def finish(self, worker: Process) -> None:
        """Let a worker finish its job without further faults."""
        while worker.is_busy:
            for sent in self.under_way():
                self.world.carry_out(sent)
            self.step(worker, GO)

    def settle(self) -> None:
        """Do what still has to happen after faults have stopped."""
        raise NotImplementedError

    def check_the_end(self) -> None:
        """Check the final state."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Stop faults, let each worker finish, settle and check the final state. Leave no thread running."""
        try:
            for worker in self.workers:
                self.finish(worker)
            self.settle()
            self.check_the_end()
        finally:
            for worker in self.workers:
                while worker.is_busy:
                    worker.go_on(CRASH)


def play(machine: type[Interleaving], *, examples: int = EXAMPLES, shrink: bool = True) -> None:
    """Search for an order of steps that breaks a promise.

    :param shrink: whether to search for the shortest such order. For a deliberate bug, that is not needed.
    """
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        ),
    )
