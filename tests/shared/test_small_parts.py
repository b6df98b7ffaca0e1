"""The small parts: the lazy value, the throttle gate, the version, the decision log."""

import json
import logging
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import Throttled
from shared.http.sending import ThrottleGate
from shared.lazy import Lazy
from shared.telemetry import Decision, Outcome, log_decision
from shared.version import VERSION
from tests.support import ROOT
from tests.support.clock import ManualClock


class TestLazy:
    def test_it_is_made_once_though_many_threads_want_it_at_once(self) -> None:
        made: list[int] = []
        release = threading.Event()

        def make() -> object:
            release.wait(5)
            made.append(1)
            return object()

        lazy = Lazy(make)
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(lazy) for _ in range(8)]
            release.set()
            results = {id(future.result()) for future in futures}
        assert (len(made), len(results)) == (1, 1)

    def test_after_a_failure_it_tries_again(self) -> None:
        answers = iter([OSError("down"), "made"])

        def make() -> str:
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return str(answer)

        lazy = Lazy(make)
        with pytest.raises(OSError, match="down"):
            lazy()
        assert (lazy(), lazy()) == ("made", "made")

    def test_nothing_is_a_value_too(self) -> None:
        made: list[int] = []
        lazy = Lazy(lambda: made.append(1))
        lazy()
        lazy()
        assert made == [1]


class TestThrottleGate:
    def test_is_open_at_first(self, clock: ManualClock) -> None:
        ThrottleGate(clock).check("https://a")

    def test_closes_for_as_long_as_asked_and_says_for_how_long(self, clock: ManualClock) -> None:
        gate = ThrottleGate(clock)
        gate.close("https://a", 10)
        clock.advance(4)
        with pytest.raises(Throttled, match="https://a asked for a pause, which ends in 6 s") as caught:
            gate.check("https://a")
        assert caught.value.retry_after_seconds == 6
        gate.check("https://b")
        clock.advance(6)
        gate.check("https://a")

    def test_a_shorter_wish_does_not_open_it_sooner(self, clock: ManualClock) -> None:
        gate = ThrottleGate(clock)
        gate.close("https://a", 10)
        gate.close("https://a", 2)
        clock.advance(9)
        with pytest.raises(Throttled):
            gate.check("https://a")


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome.QUEUED, logging.INFO),
        (Outcome.DUPLICATE, logging.INFO),
        (Outcome.SUPPRESSED, logging.INFO),
        (Outcome.IGNORED, logging.INFO),
        (Outcome.DEFERRED, logging.WARNING),
        (Outcome.PARKED, logging.ERROR),
    ],
)
def test_a_decision_is_one_json_record(outcome: Outcome, level: int, caplog: pytest.LogCaptureFixture) -> None:
    log_decision(Decision("id", "type", "sübject", "route", outcome, "key", 5, "url", "why", 1.5, "Throttled", 9.5))
    ((name, logged_level, message),) = caplog.record_tuples
    assert (name, logged_level) == ("nextstage.decision", level)
    assert json.loads(message) == {
        "event_id": "id",
        "event_type": "type",
        "subject": "sübject",
        "route": "route",
        "outcome": outcome.value,
        "key": "key",
        "run_id": 5,
        "run_url": "url",
        "reason": "why",
        "duration_ms": 1.5,
        "cause": "Throttled",
        "delay_ms": 9.5,
    }
