"""Comparison of two measurements: alternating, pair by pair, as medians with their spread."""

import itertools
import threading

import pytest

from bench.comparison import Comparison, Spread, Target, alternate, interleave
from bench.load import Load, load


def test_measurements_alternate_after_a_warm_up() -> None:
    calls: list[str] = []
    numbers = itertools.count()

    def measured(name: str) -> int:
        calls.append(name)
        return next(numbers)

    pairs = interleave(lambda: measured("ours"), lambda: measured("theirs"), 2)
    assert calls == ["theirs", "ours"] * 3
    assert pairs == [(3, 2), (5, 4)]


def test_calls_alternate_and_each_is_charged_for_its_own_time() -> None:
    now = 0.0
    calls: list[str] = []

    def spend(name: str, seconds: float) -> None:
        nonlocal now
        calls.append(name)
        now += seconds

    pairs = alternate(lambda: spend("ours", 3.0), lambda: spend("theirs", 2.0), clock=lambda: now, calls=2, repeats=3)
    assert calls == ["theirs", "ours"] * 2 * (1 + 3)
    assert pairs == [(3.0, 2.0)] * 3


def test_the_ratio_is_computed_pair_by_pair() -> None:
    line = Comparison("1", "m", "a", "ms", [(2.0, 1.0), (30.0, 10.0), (4.0, 1.0)], Target("≤", 3))
    assert line.ours.median == 4.0
    assert line.theirs.median == 1.0
    assert line.ratio == Spread(3.0, 2.5, 3.5, 3)
    assert line.is_met is True


@pytest.mark.parametrize(
    ("target", "ratio", "met"),
    [
        (Target("≤", 1.35), 1.354, True),  # rounded to 1.35
        (Target("≤", 1.35), 1.356, False),
        (Target("≥", 50), 49.99, False),
        (Target("≥", 0.92), 0.92, True),
        (Target("=", 1), 1.0, True),
        (Target("=", 1), 1.5, False),
    ],
)
def test_a_target_is_compared_with_the_rounded_ratio(target: Target, ratio: float, met: bool) -> None:
    assert target.is_met_by(ratio) is met


def test_without_a_target_nothing_is_met_or_missed() -> None:
    assert Comparison("4", "m", "a", "", [(1.0, 1.0)] * 2).is_met is None


def test_the_load_comes_from_all_threads() -> None:
    together = threading.Barrier(3)
    called = load(together.wait, threads=3, seconds=0.0)  # each waits for the others, so all three must call
    assert len(called.latencies) == 3
    assert called.latencies == tuple(sorted(called.latencies))
    assert called.per_second == pytest.approx(3 / called.seconds)


def test_a_call_that_fails_ends_the_load() -> None:
    def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        load(fail, threads=2, seconds=60)


def test_percentiles() -> None:
    found = Load(tuple(float(number) for number in range(1, 101)), 1.0)
    assert (found.percentile(50), found.percentile(99), found.percentile(100)) == (51.0, 100.0, 100.0)
