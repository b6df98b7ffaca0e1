"""Model tests of deliveries: several workers in any order, with lost answers, crashes, lapsed leases and redeliveries.

Promises after every step:

- No occurrence has two runs.
- No final record changes.
- Every acknowledged delivery has a final record.

Promises after faults have stopped: every event has a final record, and each has one run. With a cooldown, each window
has one run.
"""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from shared.journal.records import FINAL_STATES, State
from shared.routing.table import RouteTable
from tests.model.interleaving import EXAMPLES, Interleaving, a_worker, play
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
    """Workers that deliver events."""

    table: RouteTable
    honors_ids: bool
    most_runs = len(EVENTS)
    fenced = True

    @initialize()
    def begin(self) -> None:
        self.world = World(MemoryStore(fenced=self.fenced), routes=self.table, honors_ids=self.honors_ids)
        self.workers = [Worker(self.world) for _ in range(3)]

    @rule(worker=a_worker, event=st.sampled_from(EVENTS))
    def deliver(self, worker: int, event: str) -> None:
        if not self.workers[worker].is_busy:
            self.workers[worker].begin(event)

    @invariant()
    def no_occurrence_has_two_runs(self) -> None:
        assert len(self.world.books) <= self.most_runs, "two runs were queued for one occurrence"

    @invariant()
    def final_records_do_not_change(self) -> None:
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
        self.no_occurrence_has_two_runs()
        self.final_records_do_not_change()
        records = [record for key, record in self.world.store.records.items() if key.is_about_event]
        assert {record.state for record in records} == {State.QUEUED}
        assert len(records) == len(self.world.books) == self.most_runs
        assert {record.run_id for record in records} == {queued.run.id for queued in self.world.books}

    def settle(self) -> None:
        """Deliver every event that is not acknowledged again, one after the other, as Event Grid does."""
        waiting = list(EVENTS)
        for _ in range(10):
            waiting = [event for event in waiting if not self._deliver_to_the_end(event)]
            if not waiting:
                return
            self.world.advance(LEASE)
        raise AssertionError("no progress although faults have stopped")

    def _deliver_to_the_end(self, event: str) -> bool:
        self.workers[0].begin(event)
        self.finish(self.workers[0])
        return bool(self.workers[0].acknowledged)


class DeliveriesWithCooldown(Deliveries):
    """Deliveries of a route with a cooldown: all events of a window share one run."""

    most_runs = 1

    def check_the_end(self) -> None:
        self.no_occurrence_has_two_runs()
        self.final_records_do_not_change()
        states = [record.state for key, record in self.world.store.records.items() if key.route == "r"]
        assert sorted(states) == [State.QUEUED, State.SUPPRESSED]
        assert len(self.world.books) == 1


class DeliveriesToTwoRoutes(Deliveries):
    """Deliveries of events that two routes turn into equal requests."""

    most_runs = 2 * len(EVENTS)


def over(machine: type[Deliveries], *entries: str, fenced: bool = True, honors_ids: bool = False) -> type[Deliveries]:
    """Return the machine for routes, with or without fencing in the store and orchestration IDs in Azure DevOps."""
    return type(machine.__name__, (machine,), {"table": routes(*entries), "fenced": fenced, "honors_ids": honors_ids})


@pytest.fixture(params=[False, True], ids=["ids ignored", "ids honored"])
def honors_ids(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("route", [DISTINCT, EQUAL, CORRELATED], ids=["distinct", "equal", "correlated"])
def test_the_promises_hold(route: str, honors_ids: bool) -> None:
    play(over(Deliveries, route, honors_ids=honors_ids), examples=EXAMPLES // (3 if honors_ids else 1))


def test_the_promises_hold_for_two_routes_with_equal_requests(honors_ids: bool) -> None:
    machine = over(DeliveriesToTwoRoutes, EQUAL, EQUAL.replace("name: r", "name: s"), honors_ids=honors_ids)
    play(machine, examples=EXAMPLES // 2)


def test_the_promises_hold_with_a_cooldown(honors_ids: bool) -> None:
    machine = over(DeliveriesWithCooldown, COOLDOWN, honors_ids=honors_ids)
    play(machine, examples=EXAMPLES // (3 if honors_ids else 1))


def overtake(*, fenced: bool) -> None:
    """Freeze a worker until its lease has lapsed and another worker has queued the run. Then let it continue."""
    machine = over(Deliveries, DISTINCT, fenced=fenced)()
    machine.begin()
    frozen, other, _ = machine.workers
    frozen.begin("event-a")
    while frozen.at != "in flight":
        machine.step(frozen, GO)
    machine.world.advance(LEASE)
    other.begin("event-a")
    machine.finish(other)
    machine.final_records_do_not_change()
    machine.finish(frozen)
    machine.final_records_do_not_change()
    machine.teardown()


def test_the_check_detects_a_store_without_fencing() -> None:
    """The check must be able to fail. Without fencing, every write succeeds, even after the record was taken over."""
    overtake(fenced=True)
    with pytest.raises(AssertionError, match="a final record has changed"):
        overtake(fenced=False)


@only_long
def test_the_search_finds_a_broken_promise_without_fencing() -> None:
    with pytest.raises(
        AssertionError, match=r"a final record has changed|two runs were queued|record that is not final"
    ):
        play(over(Deliveries, DISTINCT, fenced=False), examples=20_000, shrink=False)
