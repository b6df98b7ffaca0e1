"""What is played, and what comes of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Scenario:
    """One burst.

    :param run_tstu: what it takes Azure DevOps to queue one run; nobody says, so several are tried.
    :param refusal_tstu: what it takes to refuse one.
    :param most_instances, concurrency, instance_gb: as the infrastructure sets them.
    :param added_per_second, start_seconds: how fast instances come.
    :param queued_seconds: how long a delivery that queues a run holds one of an instance's places. Its CPU is what
        limits: 11 ms with Azure Tables on the machine of the measurements, and 32 of them share it.
    :param deferred_seconds: the same for one that is refused, or finds the gate closed: 6 ms.
    :param gb_second_price and the other prices: US dollars, as in docs/cost.md.
    """

    events: int = 1_000_000
    burst_seconds: int = 600
    has_gate: bool = True
    run_tstu: float = 0.05
    refusal_tstu: float = 0.005
    routes: int = 1
    most_instances: int = 40
    concurrency: int = 32
    instance_gb: float = 2.0
    added_per_second: int = 1
    start_seconds: int = 3
    queued_seconds: float = 0.36
    deferred_seconds: float = 0.19
    seed: int = 20261120
    gb_second_price: float = 0.000026
    million_executions_price: float = 0.40
    million_event_grid_operations_price: float = 0.60
    ten_thousand_transactions_price: float = 0.00036


@dataclass(frozen=True, slots=True)
class Point:
    """One moment.

    :param queued: runs queued so far.
    :param tstu: the most that was used within a window in the last minutes.
    """

    hours: float
    queued: int
    tstu: float


@dataclass(slots=True)
class Outcome:
    """What came of a burst.

    :param queued: runs that were queued for Event Grid's deliveries; the other events are dead letters.
    :param redeliveries: deliveries but the first of each event.
    :param refused: requests that Azure DevOps answered with 429.
    :param timed_out: deliveries that waited for a place until Event Grid heard nothing for 30 s.
    :param last_queued_hours: when the last of them was queued.
    :param drained_hours: when all is done, the dead letters being redriven as fast as Azure DevOps takes them.
    :param cost: US dollars, without what is free, and without the logs.
    """

    queued: int = 0
    dead_lettered: int = 0
    redeliveries: int = 0
    refused: int = 0
    timed_out: int = 0
    executions: int = 0
    gb_seconds: float = 0.0
    transactions: int = 0
    peak_instances: int = 0
    last_queued_hours: float = 0.0
    drained_hours: float = 0.0
    cost: float = 0.0
    curve: list[Point] = field(default_factory=list)
