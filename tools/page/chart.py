"""Lays out a timeline as stacked bars. Pure."""

from datetime import datetime
from typing import Final, NamedTuple

from tools.page.reading.timeline import Timeline

STEP_WIDTH: Final = 20
BAR_WIDTH: Final = 16
HEIGHT: Final = 100
_LEAST_HEIGHT: Final = 1.5
"""A single event is visible next to thousands."""


class Bar(NamedTuple):
    """The events of one outcome in one step; ``y`` is the upper edge, from the top."""

    name: str
    events: int
    y: float
    height: float


class Step(NamedTuple):
    """One step of a timeline."""

    start: datetime
    x: int
    bars: tuple[Bar, ...]
    counts: tuple[int, ...]

    def words(self, end: datetime) -> str:
        """Return what the step shows, in words."""
        numbers = ", ".join(f"{bar.events:,} {bar.name}" for bar in self.bars) or "no events"
        return f"{self.start:%Y-%m-%d %H:%M} to {end:%H:%M} UTC: {numbers}"


class Chart(NamedTuple):
    """A timeline as bars."""

    steps: tuple[Step, ...]
    width: int
    words: tuple[str, ...]


def chart(timeline: Timeline, highest: int = 0) -> Chart:
    """Return the bars of a timeline, one stack for each step.

    :param highest: the number of events that fills the height; by default that of the highest step.
    """
    scale = HEIGHT / max(1, highest or timeline.highest)
    steps = []
    for number, start in enumerate(timeline.starts):
        counts = tuple(series[number] for series in timeline.counts.values())
        bars: list[Bar] = []
        top = float(HEIGHT)
        for name, count in zip(timeline.counts, counts, strict=True):
            if count:
                height = max(_LEAST_HEIGHT, round(count * scale, 2))
                top = max(0.0, round(top - height, 2))
                bars.append(Bar(name, count, top, height))
        steps.append(Step(start, number * STEP_WIDTH, tuple(bars), counts))
    words = tuple(step.words(step.start + timeline.span.step) for step in steps)
    return Chart(tuple(steps), STEP_WIDTH * len(steps), words)
