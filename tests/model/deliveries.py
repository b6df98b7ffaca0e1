"""The machines of the model tests of deliveries: workers that deliver events, and what must hold."""

from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from shared.journal.records import FINAL_STATES, State
from shared.relay import Delivery
from shared.routing.table import RouteTable
from tests.model.interleaving import Interleaving, a_worker
from tests.model.world import LEASE, Process, Worker, World
from tests.support.builders import routes
from tests.support.journal.memory_store import MemoryStore

EVENTS = ("event-a", "event-b")
DISTINCT = "name: r\nevent: RunCompleted\npipeline: p\nparameters: { run: '{{ run_id }}' }"
EQUAL = "name: r\nevent: RunCompleted\npipeline: p\nparameters: { what: the same }"
CORRELATED = EQUAL + "\ncorrelation_parameter: key"
COOLDOWN = DISTINCT + "\ncooldown: 6h"

Machine = TypeVar("Machine", bound="Deliveries")


class Deliveries(Interleaving):
    """Workers that deliver events."""

    table: RouteTable
    most_runs = len(EVENTS)
    fenced = True
    """Whether the store checks versions."""
    honors_ids = False
    """Whether Azure DevOps honors orchestration IDs."""

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
        if isinstance(worker, Worker) and worker.delivery is not None:
            self.acknowledge(worker, worker.delivery)
            worker.delivery, worker.acknowledged = None, True

    def acknowledge(self, worker: Worker, delivery: Delivery) -> None:
        """Check what a delivery that was acknowledged has left in the journal."""
        for decision in delivery.decisions:
            states = {record.state for key, record in self.world.store.records.items() if key.key == decision.key}
            assert states, "an acknowledged delivery has no record"
            assert states <= FINAL_STATES, "an acknowledged delivery has a record that is not final"

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


def over(machine: type[Machine], *entries: str, **attributes: Any) -> type[Machine]:
    """Return the machine for routes, with other attributes of its class."""
    return type(machine.__name__, (machine,), {"table": routes(*entries), **attributes})
