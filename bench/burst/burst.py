"""A discrete-event simulation that plays one scenario over cohorts of events.

Time jumps to the next second in which something is due. Events are counted, not simulated one by one, which would take
hours.

Documented: a partition of a table accepts 2,000 entities per second. Each route has its own partition.
https://learn.microsoft.com/azure/storage/tables/scalability-targets (read in November 2026)
"""

import random
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import Final

from bench.burst.azure_devops import LIMIT_TSTU, WINDOW_SECONDS, AzureDevOps
from bench.burst.event_grid import ANSWER_SECONDS, TIME_TO_LIVE_SECONDS, Cohort, EventGrid
from bench.burst.functions import Fleet
from bench.burst.scenario import Outcome, Point, Scenario

PARTITION_ENTITIES_PER_SECOND: Final = 2_000
# Entities written for a queued run: claim, complete and the run's marker. For a deferred delivery: claim and release.
# Both take two transactions.
QUEUED_ENTITIES: Final = 3
DEFERRED_ENTITIES: Final = 2
_TRANSACTIONS: Final = 2
_POINT_SECONDS: Final = 300


@dataclass(slots=True)
class _Capacity:
    """The capacity that is left in one second.

    :param thread_seconds: time of the instances' threads.
    :param entities: entities that the routes' partitions still accept.
    """

    thread_seconds: float
    entities: int

    def take(self, number: int, seconds: float, entities: int) -> int:
        """Use capacity for up to ``number`` deliveries and return how many of them fit.

        :param seconds: thread time of one delivery.
        :param entities: entities that one delivery writes.
        """
        fitting = min(number, int(self.thread_seconds / seconds), self.entities // entities)
        self.thread_seconds -= fitting * seconds
        self.entities -= fitting * entities
        return fitting


class Burst:
    """A simulation of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._grid = EventGrid(scenario.events, scenario.burst_seconds, random.Random(scenario.seed))  # noqa: S311
        self._azure_devops = AzureDevOps(scenario.run_tstu, scenario.refusal_tstu)
        self._fleet = Fleet(
            scenario.most_instances, scenario.concurrency, scenario.added_per_second, scenario.start_seconds
        )
        self._waiting: deque[tuple[int, Cohort, int]] = deque()
        self._outcome = Outcome()

    def play(self) -> Outcome:
        """Run the simulation from the first event to the last delivery and return the outcome."""
        second: int | None = 0
        while second is not None:
            self._play_second(second)
            second = self._next_second(second)
        outcome = self._outcome
        outcome.dead_lettered = self._grid.dead_lettered
        outcome.redeliveries = self._grid.deliveries - self._scenario.events
        outcome.peak_instances = self.peak_instances
        outcome.drained_hours = outcome.last_queued_hours
        if outcome.dead_lettered:
            seconds_per_run = WINDOW_SECONDS * self._scenario.run_tstu / LIMIT_TSTU
            outcome.drained_hours = (TIME_TO_LIVE_SECONDS + outcome.dead_lettered * seconds_per_run) / 3600
        outcome.cost = self._cost()
        return outcome

    @property
    def peak_instances(self) -> int:
        return self._fleet.peak

    def _next_second(self, second: int) -> int | None:
        return second + 1 if self._waiting else self._grid.next_second

    def _receive(self, second: int) -> None:
        self._waiting.extend((second, cohort, count) for cohort, count in sorted(self._grid.deliver(second).items()))
        self._time_out(second)

    def _play_second(self, second: int) -> None:
        self._receive(second)
        waiting = sum(count for _, _, count in self._waiting)
        self._fleet.scale(second, waiting)
        queued, refused, gated = self._serve(second, waiting)
        self._azure_devops.serve(second, queued, refused)
        if refused and self._scenario.has_gate:
            # Each instance closes its gate after its own refusal; instances do not share the information.
            self._fleet.close(second + self._azure_devops.retry_after_seconds(second), self._fleet.open)
        self._take(queued)
        for cohort, count in self._take(refused + gated):
            self._grid.was_not_acknowledged(second, cohort, count)
        self._outcome.refused += refused
        self._note(second, queued, refused + gated, _TRANSACTIONS * (queued + refused + gated))

    def _serve(self, second: int, waiting: int) -> tuple[int, int, int]:
        """Serve waiting deliveries within the limits of threads, partitions and TSTU.

        Return how many were queued, how many were refused, and how many were deferred without a request because the
        gate of their instance is closed.
        """
        scenario, fleet = self._scenario, self._fleet
        if not fleet.ready:
            return 0, 0, 0
        left = _Capacity(fleet.ready * scenario.concurrency, scenario.routes * PARTITION_ENTITIES_PER_SECOND)
        # Deliveries are spread evenly over the instances. An instance whose gate is closed sends no request.
        sent = waiting * fleet.open // fleet.ready if scenario.has_gate else waiting
        taken = min(sent, self._azure_devops.may_queue(second))
        queued = left.take(taken, scenario.queued_seconds, QUEUED_ENTITIES)
        if queued < taken:
            return queued, 0, 0
        # With the gate, the requests that an instance has in progress are refused; after that it sends none.
        most_refused = fleet.open * scenario.concurrency if scenario.has_gate else sent
        refused = left.take(min(sent - queued, most_refused), scenario.deferred_seconds, DEFERRED_ENTITIES)
        is_any_closed = scenario.has_gate and (refused or fleet.open < fleet.ready)
        gated = waiting - queued - refused if is_any_closed else 0
        return queued, refused, left.take(gated, scenario.deferred_seconds, DEFERRED_ENTITIES)

    def _take(self, number: int) -> list[tuple[Cohort, int]]:
        """Remove the first deliveries from the queue and return them by cohort."""
        taken: Counter[Cohort] = Counter()
        while number:
            since, cohort, count = self._waiting.popleft()
            some = min(number, count)
            taken[cohort] += some
            number -= some
            if some < count:
                self._waiting.appendleft((since, cohort, count - some))
        return sorted(taken.items())

    def _time_out(self, second: int) -> None:
        """Return deliveries that found no free thread in time to Event Grid, which gets no answer for them."""
        while self._waiting and second - self._waiting[0][0] >= ANSWER_SECONDS:
            _, cohort, count = self._waiting.popleft()
            self._outcome.timed_out += count
            self._grid.was_not_acknowledged(second, cohort, count)

    def _note(self, second: int, queued: int, deferred: int, transactions: int) -> None:
        outcome, scenario = self._outcome, self._scenario
        outcome.queued += queued
        outcome.executions += queued + deferred
        outcome.transactions += transactions
        thread_seconds = queued * scenario.queued_seconds + deferred * scenario.deferred_seconds
        # An instance is billed for the time in which it executes anything, regardless of how many executions overlap.
        outcome.gb_seconds += -(-thread_seconds // scenario.concurrency) * scenario.instance_gb
        if queued:
            outcome.last_queued_hours = (second + 1) / 3600
        point = Point((second // _POINT_SECONDS + 1) * _POINT_SECONDS / 3600, outcome.queued, self._azure_devops.usage)
        if outcome.curve and outcome.curve[-1].hours == point.hours:
            point = replace(point, tstu=max(point.tstu, outcome.curve.pop().tstu))
        outcome.curve.append(point)

    def _cost(self) -> float:
        outcome, scenario = self._outcome, self._scenario
        operations = scenario.events + self._grid.deliveries
        return (
            outcome.gb_seconds * scenario.gb_second_price
            + outcome.executions / 1e6 * scenario.million_executions_price
            + operations / 1e6 * scenario.million_event_grid_operations_price
            + outcome.transactions / 1e4 * scenario.ten_thousand_transactions_price
            + outcome.queue_operations / 1e4 * scenario.ten_thousand_queue_operations_price
        )
