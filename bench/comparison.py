"""Comparison of two measurements that alternate (A B A B), because a slow moment of the machine then affects both."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Literal, TypeVar


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the samples and the bounds of their middle half."""

    median: float
    low: float
    high: float
    samples: int


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a ratio: at most, at least, or exactly the bound."""

    sign: Literal["≤", "≥", "="]
    bound: float

    def is_met_by(self, ratio: float) -> bool:
        """Return whether the ratio meets the target, rounded to two decimals as in the table."""
        shown = round(ratio, 2)
        return {"≤": shown <= self.bound, "≥": shown >= self.bound, "=": shown == self.bound}[self.sign]

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"


@dataclass(slots=True)
class Comparison:
    """One line of the table.

    :param row: number of the row, for example ``8b``.
    :param against: the alternative. ``ratio`` is ``ours`` divided by ``theirs``, pair by pair.
    :param pairs: measured pairs (ours, theirs).
    :param target: None if the figure is only reported.
    """

    row: str
    measure: str
    against: str
    unit: str
    pairs: InitVar[Sequence[tuple[float, float]]]
    target: Target | None = None
    ours: Spread = field(init=False)
    theirs: Spread = field(init=False)
    ratio: Spread = field(init=False)

    def __post_init__(self, pairs: Sequence[tuple[float, float]]) -> None:
        """Compute medians and quartiles from the pairs."""
        self.ours = spread([ours for ours, _ in pairs])
        self.theirs = spread([theirs for _, theirs in pairs])
        self.ratio = spread([ours / theirs for ours, theirs in pairs])

    @property
    def is_met(self) -> bool | None:
        """Whether the ratio meets its target; None without a target."""
        return None if self.target is None else self.target.is_met_by(self.ratio.median)


Measured = TypeVar("Measured")
Clock = Callable[[], float]


def interleave(
    ours: Callable[[], Measured], theirs: Callable[[], Measured], repeats: int
) -> list[tuple[Measured, Measured]]:
    """Measure both alternately and return the pairs (ours, theirs). The first pair is a warm-up and is discarded."""
    theirs()
    ours()
    pairs = []
    for _ in range(repeats):
        other = theirs()
        pairs.append((ours(), other))
    return pairs


def alternate(
    ours: Callable[[], object], theirs: Callable[[], object], *, clock: Clock, calls: int, repeats: int
) -> list[tuple[float, float]]:
    """Alternate single calls of both and return pairs (ours, theirs) of the mean time per call.

    Finer than ``interleave``: a machine that is slow for a second slows both.

    :param clock: unit of the results, for example CPU time in microseconds.
    :param calls: calls of each per pair.
    :param repeats: number of pairs. One more block of calls comes first as a warm-up and is discarded.
    """
    pairs = []
    for _ in range(repeats + 1):
        mine = other = 0.0
        for _ in range(calls):
            started = clock()
            theirs()
            between = clock()
            ours()
            other += between - started
            mine += clock() - between
        pairs.append((mine / calls, other / calls))
    return pairs[1:]


def spread(samples: Sequence[float]) -> Spread:
    """Return the median and the quartiles of at least two samples."""
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, low, high, len(samples))
