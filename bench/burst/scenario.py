"""Input and output of the simulation: scenarios and outcomes."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Scenario:
    """A burst of events, with the properties of the services that handle it.

    :param has_resume: what is deferred is resumed; see ``bench.burst.resume``.
    :param run_tstu: TSTU of queueing one run. The real value is not documented, so several are simulated.
    :param refusal_tstu: TSTU of refusing one request.
    :param most_instances, concurrency, instance_gb: as set in ``infra/``.
    :param least_instances: with resume, so many instances are always there.
    :param added_per_second, start_seconds: see ``Fleet``.
    :param queued_seconds: how long a delivery that queues a run occupies a thread. CPU time is the limit: 11 ms with
        Azure Tables on the machine of the measurements, shared by 32 threads.
    :param deferred_seconds: the same for a delivery that is refused or finds the gate closed (6 ms of CPU time).
    :param gb_second_price: US dollars, as in docs/cost.md, like all prices.
    """

    events: int = 1_000_000
    burst_seconds: int = 600
    has_gate: bool = True
    has_resume: bool = False
    run_tstu: float = 0.05
    refusal_tstu: float = 0.005
    routes: int = 1
    most_instances: int = 40
    least_instances: int = 0
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
    ten_thousand_queue_operations_price: float = 0.004


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the plotted curves.

    :param queued: runs queued so far.
    :param tstu: highest usage of the 5-minute window since the previous point.
    """

    hours: float
    queued: int
    tstu: float


@dataclass(slots=True)
class Outcome:
    """The result of a burst.

    :param queued: runs queued by deliveries. The remaining events are dead letters.
    :param redeliveries: deliveries after the first one of each event.
    :param refused: requests that Azure DevOps answered with 429.
    :param timed_out: deliveries that found no free thread within the 30 s that Event Grid waits for an answer.
    :param last_queued_hours: when the last run was queued by a delivery.
    :param drained_hours: when all events are done, if dead letters are redriven as fast as Azure DevOps accepts them.
    :param cost: US dollars, without free grants and without logs.
    """

    queued: int = 0
    dead_lettered: int = 0
    redeliveries: int = 0
    refused: int = 0
    timed_out: int = 0
    executions: int = 0
    gb_seconds: float = 0.0
    transactions: int = 0
    queue_operations: int = 0
    peak_instances: int = 0
    last_queued_hours: float = 0.0
    drained_hours: float = 0.0
    cost: float = 0.0
    curve: list[Point] = field(default_factory=list)
