"""The bars of a timeline."""

from datetime import UTC, datetime, timedelta

import pytest

from tools.page.chart import HEIGHT, chart
from tools.page.reading.timeline import SERIES, Span, Timeline

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
SPAN = Span("day", timedelta(hours=1), 2)


def timeline(**counts: tuple[int, int]) -> Timeline:
    return Timeline(SPAN, SPAN.starts(NOW), {name: counts.get(name, (0, 0)) for name in SERIES})


def test_the_highest_stack_fills_the_height_and_the_others_are_in_proportion() -> None:
    first, second = chart(timeline(queued=(3, 1), parked=(1, 1))).steps
    assert [(bar.name, bar.y, bar.height) for bar in first.bars] == [("queued", 25, 75), ("parked", 0, 25)]
    assert [(bar.name, bar.y, bar.height) for bar in second.bars] == [("queued", 75, 25), ("parked", 50, 25)]
    assert second.x > first.x


@pytest.mark.parametrize("counts", [{}, {"queued": (10**9, 0), "parked": (1, 0), "deferred": (1, 0)}])
def test_each_outcome_is_visible_and_none_is_outside(counts: dict[str, tuple[int, int]]) -> None:
    for step in chart(timeline(**counts)).steps:
        assert all(bar.height >= 1 and bar.y >= 0 for bar in step.bars)
        assert all(bar.y + bar.height <= HEIGHT for bar in step.bars)


def test_a_step_is_said_in_words() -> None:
    assert chart(timeline(queued=(1200, 0), parked=(1, 0))).words == (
        "2026-11-20 11:00 to 12:00 UTC: 1,200 queued, 1 parked",
        "2026-11-20 12:00 to 13:00 UTC: no events",
    )
