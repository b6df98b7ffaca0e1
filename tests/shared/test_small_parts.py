"""The small parts: the lazy value, the throttle gate, the version, the decision log."""

import json
import logging
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import Throttled
from shared.http.throttle import ThrottleGate
from shared.lazy import Lazy
from shared.telemetry import Decision, Outcome, log_decision
from shared.version import VERSION
from tests.support import ROOT
from tests.support.clock import ManualClock


class TestLazy:
    def test_it_is_made_once_though_many_threads_want_it_at_once(self) -> None:
        """Nothing is a value too."""
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

    def test_after_a_failure_it_tries_again(self) -> None:
        answers: list[float] = [1, 0]
        lazy = Lazy(lambda: 1 / answers.pop())
        with pytest.raises(ZeroDivisionError):
            lazy()
        assert (lazy(), lazy()) == (1, 1)


class TestThrottleGate:
    def test_closes_for_as_long_as_asked_and_says_for_how_long(self, clock: ManualClock) -> None:
        """A shorter wish does not open it sooner."""
        gate = ThrottleGate(clock)
        gate.check("https://a")
        gate.close("https://a", 10)
        gate.close("https://a", 2)
        clock.advance(4)
        with pytest.raises(Throttled, match="https://a asked for a pause, which ends in 6 s") as caught:
            gate.check("https://a")
        assert caught.value.retry_after_seconds == 6
        gate.check("https://b")
        clock.advance(6)
        gate.check("https://a")


def test_the_version_is_the_projects() -> None:
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
