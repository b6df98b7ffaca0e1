"""Lengths of time, as cooldowns and the commands' options are written."""

from datetime import timedelta

import pytest

from shared.durations import duration_text, parse_duration, short_duration


def test_they_are_read_and_written_alike() -> None:
    lengths = {"90s": 90, "30m": 1_800, "6h": 21_600, "1h30m": 5_400, "2d": 172_800, "1d12h": 129_600, " 6h ": 21_600}
    for text, seconds in lengths.items():
        read = parse_duration(text)
        assert parse_duration(duration_text(read)) == read == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "6", "h", "6 h", "6H", "0s", "-1h", "1m1h", "1.5h", "100000d"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="'90s', '30m', '6h', '1h30m' or '2d'"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (86_400, "1d"), (9e6, "104d")],
)
def test_short(seconds: float, text: str) -> None:
    assert short_duration(timedelta(seconds=seconds)) == text
