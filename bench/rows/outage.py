"""Outages: what a burst of deliveries costs while Azure DevOps answers none of their requests, and when they recover.

Row 12 is measured. Row 13 is simulated on a clock of its own, see ``bench.burst.outage``.
"""

import logging
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final
from unittest.mock import patch

from bench.burst.outage import with_event_grid, with_resume
from bench.comparison import Comparison, interleave
from bench.decision_log import decisions_logged
from bench.rows.throughput import THREADS
from bench.sizes import Sizes
from bench.workload import Deliveries, compose_app, new_sqlite_journal
from shared.composition import App
from shared.errors import AnswerLost, DeliveryDeferred
from shared.http.message import HttpRequest, HttpResponse
from shared.http.throttle import ThrottleGate

_HANG_SECONDS: Final = 0.5
"""Instead of 15 s, after which the app stops waiting for an answer."""
_HOUR: Final = 3600.0


def outage(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Measure the app with its gate and with one that never closes, each with a new journal."""

    def burst() -> float:
        deliver = Deliveries(_app(folder))
        started = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(lambda _: _deferred(deliver), range(sizes.burst)):
                pass
        return time.perf_counter() - started

    def without_pauses() -> float:
        with patch.object(ThrottleGate, "not_answered"):
            return burst()

    with decisions_logged():
        pairs = interleave(burst, without_pauses, sizes.loads)
    measure = f"{sizes.burst:,} deliveries at {THREADS} threads, no answer within {_HANG_SECONDS:g} s"
    return [Comparison("12", measure, "a gate that never closes", "s", pairs)]


def recovery(sizes: Sizes, folder: Path) -> list[Comparison]:  # noqa: ARG001 - nothing is written
    """Simulate an outage of an hour with the queue of deferred events, and without."""
    gate_log = logging.getLogger("nextstage.gate")
    with patch.object(gate_log, "disabled", new=True):
        pairs = [
            (
                with_resume(sizes.burst, _HOUR, random.Random(seed)),  # noqa: S311
                with_event_grid(sizes.burst, _HOUR, random.Random(seed)),  # noqa: S311
            )
            for seed in range(sizes.loads)
        ]
    measure = f"simulated outage of an hour, {sizes.burst:,} events, RESUME_STORAGE: recovery → last run queued"
    return [Comparison("13", measure, "Event Grid's schedule alone", "s", pairs)]


def _app(folder: Path) -> App:
    return compose_app(folder, "http://127.0.0.1:1/contoso", new_sqlite_journal(folder), transport=_hang)


def _deferred(deliver: Deliveries) -> None:
    with suppress(DeliveryDeferred):
        deliver()


def _hang(
    request: HttpRequest,
    authorization: str,  # noqa: ARG001
    timeout_seconds: float,  # noqa: ARG001
) -> HttpResponse:
    """See ``shared.http.transport.Transport``."""
    time.sleep(_HANG_SECONDS)
    raise AnswerLost(f"the answer was lost: {request.method} {request.url}: TimeoutError")
