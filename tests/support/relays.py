"""A relay with everything around it, for the tests of the flow."""

from dataclasses import dataclass

import pytest

from handlers import DISPATCH
from shared.errors import DeliveryDeferred
from shared.journal.cooldown import Cooldowns
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, JournalKey, Record, Store
from shared.queueing import Queueing
from shared.redrive import Redriven
from shared.relay import Delivery, Relay
from shared.routing.table import RouteTable
from shared.telemetry import Outcome
from tests.support.building import routes
from tests.support.clock import ManualClock
from tests.support.fakes import FakePipelines, Reports

PLAIN = "name: plain\nevent: RunCompleted\npipeline: p\nparameters: { run: '{{ run_id }}' }"

LEASE, SETTLE, BUDGET = 60, 30, 25


@dataclass
class Bench:
    """A relay with everything around it."""

    store: Store
    clock: ManualClock
    pipelines: FakePipelines
    reports: Reports
    slept: list[float]

    def relay(self, *entries: str, store: Store | None = None) -> Relay:
        table = routes(*entries) if entries else routes(PLAIN)
        return self.relay_of(table, store or self.store)

    def relay_of(self, table: RouteTable, store: Store) -> Relay:
        journal = Journal(store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=self.clock)
        return Relay(
            dispatch=DISPATCH,
            routes=table,
            journal=journal,
            queueing=Queueing(
                journal, self.pipelines, Cooldowns(store, self.clock), clock=self.clock, sleep=self.slept.append
            ),
            budget_seconds=BUDGET,
            report=self.reports,
            clock=self.clock,
        )

    def record(self, index: int = -1) -> Record:
        """The record of a reported decision, by default of the last one."""
        decision = self.reports[index]
        record = self.store.get(JournalKey(decision.route or UNROUTED, decision.key))
        assert record is not None
        return record


def outcomes(done: Delivery | Redriven) -> list[Outcome]:
    return [decision.outcome for decision in done.decisions]


def deferred(relay: Relay, raw: str) -> str:
    with pytest.raises(DeliveryDeferred) as caught:
        relay.deliver(raw)
    return str(caught.value)
