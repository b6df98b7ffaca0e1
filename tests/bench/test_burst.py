"""The models of the Azure services by value, and invariants of every burst."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import simulate
from bench.burst.azure_devops import AzureDevOps
from bench.burst.burst import Burst
from bench.burst.event_grid import RETRY_SECONDS, TIME_TO_LIVE_SECONDS, Cohort, EventGrid
from bench.burst.functions import Fleet
from bench.burst.outage import POLLING_SECONDS, SETTLE_SECONDS, with_event_grid, with_resume
from bench.burst.plot import draw
from bench.burst.resume import (
    DELIVERY_HELD,
    DELIVERY_QUEUED,
    DELIVERY_REFUSED,
    MESSAGE_HELD,
    MESSAGE_QUEUED,
    MESSAGE_REFUSED,
    MESSAGES_PER_INSTANCE,
    Instances,
    ResumedBurst,
)
from bench.burst.scenario import Outcome, Point, Scenario
from devstack.arm import sample
from shared.errors import Throttled
from shared.journal.journal import Journal
from shared.resume.deferrals import DeliveryDeferrals
from shared.resume.resume import Resume
from tests.support import ROOT
from tests.support.builders import routes, run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import FakePipelines, Reports
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import Call, WrappedQueue, WrappedStore
from tests.support.relays import PLAIN, relay_over
from tools.azure.answers import Answer
from tools.azure.event_resources import subscriptions
from tools.azure.plan import Plan

TABLE_CALLS = ("insert", "get", "replace")
QUEUE_CALLS = ("put", "move", "drop")
SMALL = Scenario(events=20_000, burst_seconds=60)


class TestEventGrid:
    def test_a_burst_is_delivered_evenly_and_once(self) -> None:
        grid = EventGrid(10, 4, random.Random(1))
        delivered = []
        while (second := grid.next_second) is not None:
            delivered.append((second, grid.deliver(second).total()))
        assert delivered == [(0, 2), (1, 3), (2, 2), (3, 3)]
        assert grid.deliveries == 10

    @pytest.mark.parametrize("attempt", range(1, len(RETRY_SECONDS)))
    def test_a_failed_delivery_is_repeated_on_schedule(self, attempt: int) -> None:
        grid = EventGrid(0, 0, random.Random(attempt))
        grid.was_not_acknowledged(1000, Cohort(16, attempt), 50)
        after = RETRY_SECONDS[attempt - 1]
        again: Counter[Cohort] = Counter()
        while (second := grid.next_second) is not None:
            assert 1000 + 0.9 * after - 1 <= second <= 1000 + 1.1 * after + 1
            again += grid.deliver(second)
        assert again == {Cohort(16, attempt + 1): 50}

    def test_after_a_day_an_event_is_a_dead_letter(self) -> None:
        grid = EventGrid(0, 0, random.Random(1))
        grid.was_not_acknowledged(TIME_TO_LIVE_SECONDS - 1, Cohort(0, 3), 7)
        assert (grid.dead_lettered, grid.next_second) == (7, None)


class TestAzureDevOps:
    def test_usage_counts_for_five_minutes(self) -> None:
        azure_devops = AzureDevOps(run_tstu=50, refusal_tstu=0)
        assert azure_devops.may_queue(0) == 4
        azure_devops.serve(0, 1, 0)
        azure_devops.serve(100, 3, 0)
        assert [azure_devops.may_queue(second) for second in (100, 299, 300, 399, 400)] == [0, 0, 1, 1, 4]

    def test_it_returns_how_long_to_wait(self) -> None:
        azure_devops = AzureDevOps(run_tstu=100, refusal_tstu=1)
        azure_devops.serve(10, 1, 0)
        azure_devops.serve(20, 1, 0)
        assert azure_devops.retry_after_seconds(30) == 280
        assert azure_devops.may_queue(30 + 280) == 1

    def test_refusals_use_tstu_too(self) -> None:
        azure_devops = AzureDevOps(run_tstu=50, refusal_tstu=10)
        azure_devops.serve(0, 2, 6)
        assert azure_devops.usage == 160
        assert azure_devops.may_queue(1) == 0


class TestFleet:
    def test_instances_are_added_for_waiting_deliveries_up_to_the_maximum(self) -> None:
        fleet = Fleet(most=3, concurrency=10, added_per_second=1, start_seconds=2)
        ready = []
        for second in range(8):
            fleet.scale(second, waiting=25)
            ready.append(fleet.ready)
        assert ready == [0, 0, 1, 2, 3, 3, 3, 3]

    def test_instances_are_removed_after_an_idle_minute(self) -> None:
        fleet = Fleet(most=2, concurrency=10, added_per_second=2, start_seconds=0)
        fleet.scale(0, waiting=20)
        fleet.scale(1, waiting=20)
        assert fleet.ready == 2
        fleet.scale(60, waiting=0)
        assert fleet.ready == 2
        fleet.scale(61, waiting=0)
        assert (fleet.ready, fleet.peak) == (0, 2)

    def test_closed_gates_open_again(self) -> None:
        fleet = Fleet(most=2, concurrency=10, added_per_second=2, start_seconds=0)
        fleet.scale(0, waiting=20)
        fleet.scale(1, waiting=20)
        fleet.close(until=9, instances=1)
        assert fleet.open == 1
        fleet.scale(9, waiting=20)
        assert fleet.open == 2


class TestBurst:
    @settings(max_examples=25)
    @given(
        st.builds(
            Scenario,
            events=st.integers(1, 30_000),
            burst_seconds=st.just(60),
            has_gate=st.booleans(),
            run_tstu=st.sampled_from([0.01, 0.05, 0.2, 3.0]),
            refusal_tstu=st.sampled_from([0.0, 0.002]),
            routes=st.integers(1, 3),
            most_instances=st.integers(1, 5),
        )
    )
    def test_no_event_is_lost_or_counted_twice(self, scenario: Scenario) -> None:
        outcome = Burst(scenario).play()
        assert outcome.queued + outcome.dead_lettered == scenario.events
        assert outcome.executions + outcome.timed_out == scenario.events + outcome.redeliveries
        assert outcome.peak_instances <= scenario.most_instances
        # A day and the burst itself contain at most this number of whole windows.
        assert outcome.queued <= (24 * 12 + 2) * 200 / scenario.run_tstu

    def test_a_burst_within_the_limit_is_queued_without_redeliveries(self) -> None:
        outcome = Burst(replace(SMALL, events=3_000)).play()
        assert (outcome.queued, outcome.redeliveries, outcome.refused) == (3_000, 0, 0)
        assert outcome.last_queued_hours < 0.05

    def test_with_the_gate_azure_devops_refuses_less(self) -> None:
        gate, none = (Burst(replace(SMALL, has_gate=has_gate)).play() for has_gate in (True, False))
        assert gate.refused < none.refused
        assert gate.queued == none.queued == SMALL.events

    def test_the_partition_limits_a_single_route(self) -> None:
        much = replace(SMALL, events=300_000, added_per_second=40, start_seconds=1)
        one, eight = (Burst(replace(much, routes=routes)).play() for routes in (1, 8))
        assert one.timed_out > 0
        assert eight.timed_out == 0

    def test_the_cost(self) -> None:
        free: dict[str, Any] = {field.name: 0.0 for field in fields(Scenario) if field.name.endswith("_price")}

        def cost(**prices: float) -> float:
            return Burst(replace(SMALL, events=3_000, **free | prices)).play().cost

        assert cost(million_executions_price=1e6) == pytest.approx(3_000)
        assert cost(million_event_grid_operations_price=1e6) == pytest.approx(6_000)  # published, and delivered
        assert cost(ten_thousand_transactions_price=1e4) == pytest.approx(6_000)  # claim, complete
        # At least the thread time of the deliveries on 2 GB instances, at most all instances for two minutes.
        assert 3_000 * 0.36 / 32 * 2 <= cost(gb_second_price=1) <= 40 * 120 * 2


class Counted:
    """The app on a journal and a queue in memory, and a count of the requests to both."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.clock = ManualClock()
        self.pipelines = FakePipelines(self.clock)
        store = WrappedStore(MemoryStore(), self._count)
        self.messages = MemoryQueue(self.clock)
        queue = WrappedQueue(self.messages, self._count)
        journal = Journal(store, clock=self.clock)
        deferrals = DeliveryDeferrals(journal, queue, self.clock)
        self.relay = relay_over(store, self.pipelines, routes(PLAIN), self.clock, report=Reports(), deferrals=deferrals)
        self._resume = Resume(self.relay, journal, queue, give_up=timedelta(days=7), clock=self.clock, report=Reports())

    def deliver(self) -> tuple[int, int]:
        """Return the requests to the journal and to the queue."""
        return self._counted(lambda: self.relay.deliver(run_completed()))

    def resume(self) -> tuple[int, int]:
        """Take up the message. The host takes it before, and removes it afterwards."""
        self.clock.advance(3600)
        taken = self.messages.take()
        assert taken is not None
        transactions, operations = self._counted(lambda: self._resume.take_up(taken[1]))
        return transactions, operations + 2

    def _counted(self, act: Callable[[], object]) -> tuple[int, int]:
        self.calls.clear()
        act()
        return tuple(sum(self.calls[name] for name in names) for names in (TABLE_CALLS, QUEUE_CALLS))  # type: ignore[return-value]

    def _count(self, name: str, call: Call) -> Call:
        def step(*arguments: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return call(*arguments, **options)

        return step


class TestWork:
    """The simulation counts the requests that the app makes."""

    def test_of_a_delivery_that_queues_a_run(self) -> None:
        assert Counted().deliver() == (DELIVERY_QUEUED.transactions, DELIVERY_QUEUED.operations)

    def test_of_what_is_held(self) -> None:
        app = Counted()
        app.pipelines.held_seconds = 60
        assert app.deliver() == (DELIVERY_HELD.transactions, DELIVERY_HELD.operations)
        assert app.resume() == (MESSAGE_HELD.transactions, MESSAGE_HELD.operations)

    def test_of_what_is_refused_and_then_queued(self) -> None:
        app = Counted()
        app.pipelines.plan += [Throttled("HTTP 429", 20), Throttled("HTTP 429", 20)]
        assert app.deliver() == (DELIVERY_REFUSED.transactions, DELIVERY_REFUSED.operations)
        assert app.resume() == (MESSAGE_REFUSED.transactions, MESSAGE_REFUSED.operations)
        assert app.resume() == (MESSAGE_QUEUED.transactions, MESSAGE_QUEUED.operations)


class TestInstances:
    def test_they_start_for_waiting_work_and_leave_when_not_needed_for_a_minute(self) -> None:
        instances = Instances(replace(SMALL, start_seconds=2, most_instances=3), random.Random(1))
        ready = []
        for second in range(70):
            instances.scale(second, 1000 if second < 6 else 1)
            ready.append(len(instances.paces))
        assert (ready[:6], ready[64], ready[65], instances.peak) == ([0, 0, 1, 2, 3, 3], 3, 1, 3)

    @pytest.mark.parametrize(("visible", "invisible", "wanted"), [(0, 1000, 0), (1, 23, 1), (1, 24, 2), (1, 1000, 3)])
    def test_if_a_message_is_due_those_that_are_not_count_too(self, visible: int, invisible: int, wanted: int) -> None:
        instances = Instances(replace(SMALL, start_seconds=0, added_per_second=9, most_instances=3), random.Random(1))
        for second in range(2):
            instances.scale(second, 0, visible, invisible)
        assert len(instances.paces) == wanted


class TestResumedBurst:
    @settings(max_examples=10)
    @given(
        st.builds(
            Scenario,
            events=st.integers(1, 10_000),
            burst_seconds=st.just(60),
            has_resume=st.just(True),
            run_tstu=st.sampled_from([0.01, 0.05, 0.2]),
            refusal_tstu=st.sampled_from([0.0, 0.002]),
            routes=st.integers(1, 3),
            most_instances=st.integers(1, 5),
        )
    )
    def test_each_event_is_queued_once(self, scenario: Scenario) -> None:
        outcome = ResumedBurst(scenario).play()
        assert (outcome.queued, outcome.dead_lettered) == (scenario.events, 0)
        assert outcome.peak_instances <= scenario.most_instances
        windows = outcome.last_queued_hours * 12 + 1
        assert outcome.queued <= windows * 200 / scenario.run_tstu + 1

    def test_event_grid_delivers_each_event_once(self) -> None:
        outcome = ResumedBurst(SMALL).play()
        assert (outcome.redeliveries, outcome.timed_out) == (0, 0)

    @pytest.mark.parametrize(
        ("changes", "most"),
        [
            ({"most_instances": 1}, 1.05),
            ({"least_instances": 40}, 1.05),
            ({}, 1.05),
            ({"run_tstu": 0.2, "refusal_tstu": 0.02, "events": 5_000}, 1.2),  # five windows: 1.05 to 1.2, by seed
            ({"run_tstu": 0.01, "refusal_tstu": 0.001, "events": 100_000, "burst_seconds": 600}, 1.2),
        ],
        ids=["1 instance", "40 instances", "0.05 TSTU", "0.2 TSTU", "0.01 TSTU"],
    )
    def test_it_keeps_close_to_the_limit(self, changes: dict[str, Any], most: float) -> None:
        """However many instances there are, without knowing of each other. No event becomes a dead letter."""
        scenario = replace(SMALL, **changes)
        outcome = ResumedBurst(scenario).play()
        assert outcome.dead_lettered == 0
        assert outcome.last_queued_hours * 3600 <= most * scenario.events * scenario.run_tstu * 300 / 200

    def test_the_page_meets_the_targets(self) -> None:
        """A million events at 90 % of the limit or more, 100,000 in at most 1.2 times the limit's time."""
        document = json.loads(simulate.RESULTS.read_text())
        for name, scenario in simulate.SCENARIOS.items():
            if scenario.has_resume:
                hours = scenario.events * scenario.run_tstu * 300 / 200 / 3600
                assert document[name]["dead_lettered"] == 0
                assert document[name]["last_queued_hours"] <= hours * (1 / 0.9 if scenario.events == 1_000_000 else 1.2)

    def test_azure_wants_an_instance_for_as_many_messages_as_it_hands_over(self) -> None:
        queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
        assert queues["batchSize"] + queues["newBatchSize"] == MESSAGES_PER_INSTANCE


class TestOutage:
    def test_with_resume_the_last_run_is_queued_when_the_lost_requests_have_settled(self) -> None:
        """The gate opens at most 10 s after the recovery."""
        for settle_seconds, most in ((5, 40), (120, 130)):
            assert 0 < with_resume(100, 600, random.Random(1), settle_seconds=settle_seconds) < most

    def test_event_grid_alone_takes_as_long_as_the_outage(self) -> None:
        assert 500 < with_event_grid(1000, 600, random.Random(1)) < 700

    def test_lost_requests_settle_as_a_deployment_says(self) -> None:
        bicep = (ROOT / "infra" / "modules" / "function-app.bicep").read_text()
        assert f"JOURNAL_SETTLE_SECONDS: '{SETTLE_SECONDS:g}'" in bicep
        queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
        assert queues["maxPollingInterval"] == f"00:00:{POLLING_SECONDS:02.0f}"


class TestDefaultsOfTheScenario:
    """They equal the values in infra/ and docs/cost.md."""

    def test_instances(self) -> None:
        bicep = (ROOT / "infra" / "modules" / "function-app.bicep").read_text()

        def number(pattern: str) -> int:
            found = re.search(pattern, bicep)
            assert found is not None, pattern
            return int(found[1])

        scenario = Scenario()
        assert scenario.most_instances == number(r"maximumInstanceCount: (\d+)")
        assert scenario.instance_gb == number(r"instanceMemoryMB: (\d+)") / 1024
        assert scenario.concurrency == number(r"var threads = (\d+)")

    def test_prices(self) -> None:
        rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", (ROOT / "docs" / "cost.md").read_text(), re.MULTILINE)
        prices = {name: float(price) for name, price in rows}
        scenario = Scenario()
        assert scenario.gb_second_price == prices["gb_second"]
        assert scenario.million_executions_price == prices["execution"]
        assert scenario.million_event_grid_operations_price == prices["event_grid"]
        assert scenario.ten_thousand_transactions_price == prices["table_transaction"]
        assert scenario.ten_thousand_queue_operations_price == prices["queue_operation"]

    def test_event_grid_retries(self) -> None:
        plan = Plan.of({"AML_WORKSPACE_ID": sample.WORKSPACE})
        for subscription in subscriptions(plan, plan.workspaces[0], Answer({}, "")).values():
            policy = subscription["properties"]["retryPolicy"]
            assert policy["eventTimeToLiveInMinutes"] == TIME_TO_LIVE_SECONDS // 60
            assert policy["maxDeliveryAttempts"] == 30  # more attempts than fit into a day


def test_the_plot_is_labeled_and_reproducible() -> None:
    outcomes = {
        "first": Outcome(queued=60, curve=[Point(0.1, 10, 5.0), Point(3.0, 60, 210.0)], drained_hours=4.0),
        "second": Outcome(queued=100, curve=[Point(0.1, 20, 5.0), Point(2.0, 100, 90.0)], drained_hours=2.0),
    }
    svg = draw(outcomes, events=100, limit_tstu=200.0)
    for text in (
        "A burst of 100 events",
        "first: 60 queued",
        "first: dead letters, redriven",
        "second: 100 queued",
        "limit: 200 TSTU",
        "hours since the burst began",
    ):
        assert text in svg
    assert "second: dead letters" not in svg  # there are none
    assert draw(outcomes, events=100, limit_tstu=200.0) == svg
