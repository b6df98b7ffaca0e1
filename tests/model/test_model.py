"""Model tests of deliveries: several workers in any order, with lost answers, crashes, lapsed leases and redeliveries.

Promises after every step:

- No occurrence has two runs.
- No final record changes.
- Every acknowledged delivery has a final record.

Promises after faults have stopped: every event has a final record, and each has one run. With a cooldown, each window
has one run.
"""

import pytest

from tests.model.deliveries import (
    COOLDOWN,
    CORRELATED,
    DISTINCT,
    EQUAL,
    Deliveries,
    DeliveriesToTwoRoutes,
    DeliveriesWithCooldown,
    over,
)
from tests.model.interleaving import EXAMPLES, play
from tests.model.world import GO, LEASE
from tests.support.effort import only_long


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
