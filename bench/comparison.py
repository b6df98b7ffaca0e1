"""Two things are measured in turn, A B A B, so that whatever else the machine does falls on both alike."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Literal, TypeVar


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some samples, and between which values the middle half of them lies."""

    median: float
    low: float
    high: float
    samples: int


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio should be: at most, at least, or just the bound."""

    sign: Literal["≤", "≥", "="]
    bound: float

    def is_met_by(self, ratio: float) -> bool:
        """Whether a ratio is good enough, as it is shown: with two decimals."""
        shown = round(ratio, 2)
        return {"≤": shown <= self.bound, "≥": shown >= self.bound, "=": shown == self.bound}[self.sign]

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"


@dataclass(slots=True)
class Comparison:
    """One line of the table.

    :param row: its number, for example ``8b``.
    :param against: what it is compared with; ``ratio`` is ``ours`` by ``theirs``, pair by pair.
    :param pairs: (ours, theirs), as measured.
    :param target: None where the figure is only reported.
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
        """Reduce the pairs to medians and quartiles."""
        self.ours = spread([ours for ours, _ in pairs])
        self.theirs = spread([theirs for _, theirs in pairs])
        self.ratio = spread([ours / theirs for ours, theirs in pairs])

    @property
    def is_met(self) -> bool | None:
        """None where there is no target."""
        return None if self.target is None else self.target.is_met_by(self.ratio.median)


Measured = TypeVar("Measured")
Clock = Callable[[], float]


def interleave(
    ours: Callable[[], Measured], theirs: Callable[[], Measured], repeats: int
) -> list[tuple[Measured, Measured]]:
    """Measure both once for nothing, then in turn; the pairs (ours, theirs)."""
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
    """Call both by turns, a block of calls once for nothing and then so many times; by the clock, for one call each.

    Finer than ``interleave``: a machine that is slower for a second is slower for both.
    """
    pairs = []
    for _ in range(repeats + 1):
        mine = other = 0.0
        for _ in range(calls):
            begun = clock()
            theirs()
            between = clock()
            ours()
            other += between - begun
            mine += clock() - between
        pairs.append((mine / calls, other / calls))
    return pairs[1:]


def spread(samples: Sequence[float]) -> Spread:
    """The median and the quartiles of two samples or more."""
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, low, high, len(samples))
