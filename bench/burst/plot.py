"""The plot of a burst as SVG: queued runs and TSTU used, over hours."""

from collections.abc import Mapping
from io import StringIO
from itertools import pairwise
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter

from bench.burst.scenario import Outcome, Point

_INCHES: Final = (9.0, 6.0)
_COLORS: Final = ("#0b6e4f", "#b3261e", "#1f4e9c")
_HOURS_STEP: Final = 3
# If two points are further apart than this, nothing was due between them, and the usage is drawn as zero.
_GAP_HOURS: Final = 0.125
# Keep text as text, and make the file reproducible.
_STYLE: Final[Any] = {"svg.fonttype": "none", "svg.hashsalt": "nextstage", "font.family": "sans-serif", "font.size": 10}


def draw(outcomes: Mapping[str, Outcome], *, events: int, limit_tstu: float) -> str:
    """Return the plot of up to three outcomes as the content of an SVG file."""
    with rc_context(_STYLE):
        figure = Figure(figsize=_INCHES, layout="constrained")
        runs, usage = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        figure.suptitle(f"A burst of {events:,} events at the limit of Azure DevOps")
        for (name, outcome), color in zip(outcomes.items(), _COLORS, strict=False):
            _draw_runs(runs, name, outcome, color, events)
            _draw_usage(usage, name, outcome, color)
        runs.set(ylabel="events whose run is queued", ylim=(0, 1.02))
        runs.yaxis.set_major_formatter(PercentFormatter(1.0))
        usage.axhline(limit_tstu, color="#555555", linestyle="--", linewidth=1, label=f"limit: {limit_tstu:g} TSTU")
        usage.set(xlabel="hours since the burst began", ylabel="TSTU used in 5 minutes", xlim=(0, None), ylim=(0, None))
        usage.xaxis.set_major_locator(MultipleLocator(_HOURS_STEP))
        for axes in (runs, usage):
            axes.grid(color="#dddddd", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, loc="best")
        file = StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _draw_runs(axes: Axes, name: str, outcome: Outcome, color: str, events: int) -> None:
    hours = [0.0, *(point.hours for point in outcome.curve)]
    shares = [0.0, *(point.queued / events for point in outcome.curve)]
    axes.plot(hours, shares, color=color, label=f"{name}: {outcome.queued:,} queued")
    if outcome.drained_hours > hours[-1]:
        redriven = [hours[-1], outcome.drained_hours], [shares[-1], 1.0]
        axes.plot(*redriven, color=color, linestyle=":", label=f"{name}: dead letters, redriven")


def _draw_usage(axes: Axes, name: str, outcome: Outcome, color: str) -> None:
    hours, tstu = [0.0], [0.0]
    for before, point in pairwise([Point(0.0, 0, 0.0), *outcome.curve]):
        if point.hours - before.hours > _GAP_HOURS:
            hours += [before.hours, point.hours]
            tstu += [0.0, 0.0]
        hours.append(point.hours)
        tstu.append(point.tstu)
    axes.plot(hours, tstu, color=color, linewidth=1.2, label=name)
