"""Small modules: the lazy value, the throttle gate, the version, the decision log, durations."""

import json
import logging
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.durations import duration_text, parse_duration, short_duration
from shared.errors import first_line
from shared.lazy import Lazy
from shared.telemetry import Decision, Outcome, log_decision
from shared.version import VERSION
from tests.support import ROOT


class TestLazy:
    def test_the_value_is_made_once_for_many_threads(self) -> None:
        """None is a value too."""
        made, release = [], threading.Event()

        def make() -> None:
            release.wait(5)
            made.append(1)

        lazy = Lazy(make)
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(lazy) for _ in range(8)]
            release.set()
            assert [future.result() for future in futures] == [None] * 8
        assert made == [1]

    def test_it_tries_again_after_a_failure(self) -> None:
        answers: list[float] = [1, 0]
        lazy = Lazy(lambda: 1 / answers.pop())
        with pytest.raises(ZeroDivisionError):
            lazy()
        assert (lazy(), lazy()) == (1, 1)


def test_the_version_equals_the_one_in_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


LEVELS = {Outcome.DEFERRED: logging.WARNING, Outcome.PARKED: logging.ERROR}


@pytest.mark.parametrize("outcome", Outcome)
def test_a_decision_is_one_json_record(outcome: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    log_decision(Decision("id", "type", "sübject", "route", outcome, "key", 5, "url", "why", 1.5, "Throttled", 9.5))
    ((name, level, message),) = caplog.record_tuples
    assert (name, level) == ("nextstage.decision", LEVELS.get(outcome, logging.INFO))
    known: dict[str, object] = {"event_id": "id", "event_type": "type", "subject": "sübject", "route": "route"}
    known |= {"outcome": outcome.value, "key": "key", "run_id": 5, "run_url": "url", "reason": "why"}
    assert json.loads(message) == known | {"duration_ms": 1.5, "cause": "Throttled", "delay_ms": 9.5}


def test_a_long_event_leaves_a_short_record(caplog: pytest.LogCaptureFixture) -> None:
    """Application Insights cuts a message after 32,768 characters, and a cut record cannot be parsed."""
    long = '"' * 900_000
    log_decision(Decision(long, long, long, "route", Outcome.PARKED, "key", 5, long, long))
    (message,) = caplog.messages
    assert len(message) < 32_768
    assert json.loads(message)["subject"] == '"' * 1997 + "..."


def test_durations_are_read_and_written_in_the_same_notation() -> None:
    lengths = {"90s": 90, "30m": 1_800, "6h": 21_600, "1h30m": 5_400, "2d": 172_800, "1d12h": 129_600, " 6h ": 21_600}
    for text, seconds in lengths.items():
        read = parse_duration(text)
        assert parse_duration(duration_text(read)) == read == timedelta(seconds=seconds)


def test_a_duration_of_nothing_is_too_short() -> None:
    with pytest.raises(ValueError, match=r"^must be longer than 0s; write"):
        parse_duration("0h0m")


def test_the_first_line_of_another_programs_message() -> None:
    assert first_line("\n It broke. \nHere: …") == "It broke"
    assert first_line(" \n") == ""
    assert len(first_line("x" * 1_000)) == 300


@pytest.mark.parametrize("text", ["", "6", "h", "6 h", "6H", "0s", "-1h", "1m1h", "1.5h", "100000d"])
def test_invalid_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'90s', '30m', '6h', '1h30m' or '2d'"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (86_400, "1d"), (9e6, "104d")],
)
def test_short_durations(seconds: float, text: str) -> None:
    assert short_duration(timedelta(seconds=seconds)) == text
