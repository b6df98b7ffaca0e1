"""Two or three workers, any interleaving, lost answers, crashes, lapsed leases, late completions and redeliveries.

Promises, held after every step: never two runs for one occurrence; no final record changes; every acknowledged
delivery has a final record. And once faults stop: every event ends in a final record, and there is one run for each
(with a cooldown: one for each window).
"""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from shared.journal.records import FINAL_STATES, State
from shared.routing.table import RouteTable
from tests.model.interleaving import Interleaving, a_worker, play
from tests.model.world import GO, LEASE, Process, Worker, World
from tests.support.builders import routes
from tests.support.effort import only_long
from tests.support.journal.memory_store import MemoryStore

EVENTS = ("event-a", "event-b")
DISTINCT = "name: r\nevent: RunCompleted\npipeline: p\nparameters: { run: '{{ run_id }}' }"
EQUAL = "name: r\nevent: RunCompleted\npipeline: p\nparameters: { what: the same }"
CORRELATED = EQUAL + "\ncorrelation_parameter: key"
COOLDOWN = DISTINCT + "\ncooldown: 6h"


class Deliveries(Interleaving):
    """The rules are what may happen next; hypothesis looks for an order that breaks a promise."""

    table: RouteTable
    most_runs = len(EVENTS)
    fenced = True

    @initialize()
    def begin(self) -> None:
        self.world = World(MemoryStore(fenced=self.fenced), routes=self.table)
        self.workers = [Worker(self.world) for _ in range(3)]

    @rule(worker=a_worker, event=st.sampled_from(EVENTS))
    def deliver(self, worker: int, event: str) -> None:
        if not self.workers[worker].is_busy:
            self.workers[worker].begin(event)

    @invariant()
    def never_a_run_too_many(self) -> None:
        assert len(self.world.books) <= self.most_runs, "two runs were queued for one occurrence"

    @invariant()
    def final_records_stay_as_they_are(self) -> None:
        self.world.check_finals()

    def step(self, worker: Process, command: str) -> None:
        super().step(worker, command)
        assert isinstance(worker, Worker)
        if worker.delivery is not None:
            for decision in worker.delivery.decisions:
                states = {record.state for key, record in self.world.store.records.items() if key.key == decision.key}
                assert states, "an acknowledged delivery has no record"
                assert states <= FINAL_STATES, "an acknowledged delivery has a record that is not final"
            worker.delivery, worker.acknowledged = None, True

    def check_the_end(self) -> None:
        self.never_a_run_too_many()
        self.final_records_stay_as_they_are()
        records = [record for key, record in self.world.store.records.items() if key.route == "r"]
        assert {record.state for record in records} == {State.QUEUED}
        assert len(records) == len(self.world.books) == len(EVENTS)
        assert {record.run_id for record in records} == {run.id for run, _, _ in self.world.books}

    def settle(self) -> None:
        """Deliver as Event Grid does: every event that is not acknowledged comes again, one after the other."""
        waiting = list(EVENTS)
        for _ in range(10):
            waiting = [event for event in waiting if not self._deliver_to_the_end(event)]
            if not waiting:
                return
            self.world.advance(LEASE)
        raise AssertionError("no progress though faults have stopped")

    def _deliver_to_the_end(self, event: str) -> bool:
        self.workers[0].begin(event)
        self.finish(self.workers[0])
        return bool(self.workers[0].acknowledged)


class DeliveriesWithCooldown(Deliveries):
    """One run for all events of a window."""

    most_runs = 1

    def check_the_end(self) -> None:
        self.never_a_run_too_many()
        self.final_records_stay_as_they_are()
        states = [record.state for key, record in self.world.store.records.items() if key.route == "r"]
        assert sorted(states) == [State.QUEUED, State.SUPPRESSED]
        assert len(self.world.books) == 1


def over(machine: type[Deliveries], route: str, *, fenced: bool = True) -> type[Deliveries]:
    """The machine for a route and a store."""
    return type(machine.__name__, (machine,), {"table": routes(route), "fenced": fenced})


@pytest.mark.parametrize("route", [DISTINCT, EQUAL, CORRELATED], ids=["distinct", "equal", "correlated"])
def test_the_promises_hold(route: str) -> None:
    play(over(Deliveries, route))


def test_the_promises_hold_with_a_cooldown() -> None:
    play(over(DeliveriesWithCooldown, COOLDOWN))


def overtake(*, fenced: bool) -> None:
    """A worker hears that its run was queued after its lease has lapsed and another one has finished its work."""
    machine = over(Deliveries, DISTINCT, fenced=fenced)()
    machine.begin()
    sleeper, other, _ = machine.workers
    sleeper.begin("event-a")
    while sleeper.at != "in flight":
        machine.step(sleeper, GO)
    machine.world.advance(LEASE)
    other.begin("event-a")
    machine.finish(other)
    machine.final_records_stay_as_they_are()
    machine.finish(sleeper)
    machine.final_records_stay_as_they_are()
    machine.teardown()


def test_without_fencing_a_promise_is_seen_to_be_broken() -> None:
    """The check must be able to fail: without fencing every write succeeds, whoever has taken the record over."""
    overtake(fenced=True)
    with pytest.raises(AssertionError, match="a final record has changed"):
        overtake(fenced=False)


@only_long
def test_without_fencing_a_broken_promise_is_found() -> None:
    with pytest.raises(
        AssertionError, match=r"a final record has changed|two runs were queued|record that is not final"
    ):
        play(over(Deliveries, DISTINCT, fenced=False), examples=20_000, shrink=False)
