"""How the time of a delivery or sweep is divided, and how several tasks are completed at once."""

import threading
from datetime import timedelta

import pytest

from shared.waits.fairness.sharing import MAX_SHARE, MIN_SHARE, Shares, Workers
from tests.support.clock import ManualClock


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("items", [[], [1], list(range(20))])
def test_each_item_is_done_once_and_in_order(count: int, items: list[int]) -> None:
    assert list(Workers(count).each(lambda item: item * 2, items)) == [item * 2 for item in items]


def test_several_items_are_done_at_once() -> None:
    together = threading.Barrier(4)
    names = Workers(4).each(lambda _: (together.wait(30), threading.current_thread())[1], range(4))
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    ("items", "workers", "left", "expected"),
    [
        (1, 1, 25, MAX_SHARE),
        (13, 8, 25, MAX_SHARE),
        (50, 8, 25, timedelta(seconds=4)),
        (1000, 8, 25, MIN_SHARE),
        (1, 8, 1.5, timedelta(seconds=1.5)),
        (1000, 8, 1.5, timedelta(seconds=1.5)),
    ],
)
def test_a_share(clock: ManualClock, items: int, workers: int, left: float, expected: timedelta) -> None:
    shares = Shares(items, clock() + timedelta(seconds=left), workers, clock)
    assert shares.next() - clock() == expected


def test_time_that_is_not_needed_is_left_for_the_others(clock: ManualClock) -> None:
    shares = Shares(10, clock() + timedelta(seconds=25), 1, clock)
    assert shares.next() - clock() == timedelta(seconds=2.5)
    assert shares.next() - clock() > timedelta(seconds=2.5)
    clock.advance(10)
    assert shares.next() - clock() == MIN_SHARE
