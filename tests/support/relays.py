"""A relay with all its collaborators, for the tests of the flow.

A neighbor works in the same journal: another route, in another project of another organization.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Self

import pytest

from handlers import DISPATCH
from shared.clock import Clock, utc_now
from shared.errors import DeliveryDeferred
from shared.journal.cooldown import Cooldowns
from shared.journal.journal import RESERVATIONS, Journal
from shared.journal.records import NO_EVENT, ORPHANS, UNROUTED, JournalKey, Record, Selection, Store
from shared.queueing.pipelines import Pipelines
from shared.queueing.queueing import Queueing
from shared.redrive import Redriven, may_have_run
from shared.relay import Deferrals, Delivery, Gatherings, Relay, WaitingTasks
from shared.routing.table import RouteTable
from shared.telemetry import Outcome, Report
from tests.support.builders import routes, run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import FakePipelines, Reports

PLAIN = "name: plain\nevent: RunCompleted\npipeline: p\nparameters: { run: '{{ run_id }}' }"

NEIGHBOR = """
name: neighbor
event: RunCompleted
organization_url: https://dev.azure.com/fabrikam
project: research
pipeline: p
parameters: { run: '{{ run_id }}' }
cooldown: 30d
"""

LEASE, SETTLE, BUDGET = 60, 30, 25


def relay_over(
    store: Store,
    pipelines: Pipelines,
    table: RouteTable,
    clock: Clock = utc_now,
    *,
    report: Report,
    lease_seconds: float = LEASE,
    budget_seconds: float = BUDGET,
    sleep: Callable[[float], None] = time.sleep,
    waits: WaitingTasks | None = None,
    deferrals: Deferrals | None = None,
    gatherings: Gatherings | None = None,
) -> Relay:
    """Return a relay whose journal and cooldowns are in the store."""
    spares_others = deferrals is not None
    journal = Journal(
        store, lease_seconds=lease_seconds, settle_seconds=SETTLE, spares_others=spares_others, clock=clock
    )
    come_again = None if deferrals is None else partial(deferrals.come_again, NO_EVENT)
    cooldowns = Cooldowns(store, clock)
    queueing = Queueing(journal, pipelines, cooldowns, come_again=come_again, clock=clock, sleep=sleep)
    return Relay(
        dispatch=DISPATCH,
        routes=table,
        journal=journal,
        queueing=queueing,
        waits=waits,
        deferrals=deferrals,
        gatherings=gatherings,
        budget_seconds=budget_seconds,
        report=report,
        clock=clock,
    )


@dataclass
class Bench:
    """The collaborators of a relay. All its relays share a journal and Azure DevOps."""

    store: Store
    clock: ManualClock
    pipelines: FakePipelines
    reports: Reports = field(default_factory=Reports)
    slept: list[float] = field(default_factory=list)

    @classmethod
    @contextmanager
    def with_neighbor(cls, store: Store, clock: ManualClock) -> Iterator[Self]:
        """Yield a bench whose journal is also used by a route of another organization, with equal run ids.

        At the end, check that the bench did not affect the neighbor: its event is a duplicate, and its cooldown is
        still running. Also check that every run of the bench belongs to a record, or may belong to one.
        """
        neighbor = Bench(store, clock, FakePipelines(clock))
        relay = neighbor.relay(NEIGHBOR)
        relay.deliver(run_completed("run-1"))
        bench = cls(store, clock, FakePipelines(clock))
        yield bench
        runs = {queued.run.id for queued in bench.pipelines.books} - {*bench.pipelines.canceled}
        assert len(runs) <= sum(record.run_id is not None or may_have_run(record) for record in bench.records)
        for run_id in ("run-1", "run-2"):
            relay.deliver(run_completed(run_id))
        assert [decision.outcome for decision in neighbor.reports] == [
            Outcome.QUEUED,
            Outcome.DUPLICATE,
            Outcome.SUPPRESSED,
        ]

    def relay(
        self,
        *entries: str,
        store: Store | None = None,
        lease_seconds: float = LEASE,
        deferrals: Deferrals | None = None,
        gatherings: Gatherings | None = None,
    ) -> Relay:
        return relay_over(
            store or self.store,
            self.pipelines,
            routes(*(entries or (PLAIN,))),
            self.clock,
            report=self.reports,
            lease_seconds=lease_seconds,
            sleep=self.slept.append,
            deferrals=deferrals,
            gatherings=gatherings,
        )

    @property
    def queueing(self) -> Queueing:
        journal = Journal(self.store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=self.clock)
        return Queueing(journal, self.pipelines, Cooldowns(self.store, self.clock), clock=self.clock)

    @property
    def soon(self) -> datetime:
        return self.clock() + timedelta(seconds=BUDGET)

    @property
    def records(self) -> list[Record]:
        """The records of the bench's routes, without the neighbor's, reservations of runs and orphans."""
        found = [record for record in self.store.select(Selection(), 100) if "neighbor" not in record.key.route]
        return [record for record in found if record.key.route not in {RESERVATIONS, ORPHANS}]

    @property
    def orphans(self) -> list[Record]:
        """The records of the orphans."""
        return [*self.store.select(Selection(route=ORPHANS), 100)]

    def record(self, index: int = -1) -> Record:
        """Return the record of a reported decision, by default of the last one."""
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
