"""How long after an outage of Azure DevOps the last run is queued: with Event Grid's schedule alone, and with resume.

Events are published evenly during the outage, in which each request is answered with 503. With resume, one instance
asks the gate of the app itself. An event whose request was lost comes again when it has settled, and the host takes a
message at most ``POLLING_SECONDS`` after it is due.
"""

import heapq
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from bench.burst.event_grid import RANDOMIZATION, RETRY_SECONDS
from shared.errors import Throttled
from shared.http.throttle import ThrottleGate

SETTLE_SECONDS: Final = 120.0
POLLING_SECONDS: Final = 5.0

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_ORGANIZATION: Final = "https://dev.azure.com/contoso"
_AUTHORIZATION: Final = "Basic app"


def with_event_grid(events: int, outage_seconds: float, chance: random.Random) -> float:
    """Return the seconds from the recovery to the last run, if each event comes with Event Grid's next delivery."""
    last = 0.0
    for number in range(events):
        at, attempt = outage_seconds * number / events, 0
        while at < outage_seconds:
            at += RETRY_SECONDS[attempt] * chance.uniform(1 - RANDOMIZATION, 1 + RANDOMIZATION)
            attempt += 1
        last = max(last, at)
    return last - outage_seconds


def with_resume(
    events: int, outage_seconds: float, chance: random.Random, *, settle_seconds: float = SETTLE_SECONDS
) -> float:
    """Return the seconds from the recovery to the last run, if each event comes when the gate says."""
    now = last = 0.0
    gate = ThrottleGate(lambda: _START + timedelta(seconds=now))
    due = [(outage_seconds * number / events, number) for number in range(events)]
    while due:
        now, number = heapq.heappop(due)
        if (seconds := gate.admit(_ORGANIZATION, _AUTHORIZATION)) <= 0:
            try:
                gate.check(_ORGANIZATION, _AUTHORIZATION)
            except Throttled as exc:
                seconds = exc.retry_after_seconds
            else:
                if now >= outage_seconds:
                    gate.answered(_ORGANIZATION)
                    last = now
                    continue
                gate.not_answered(_ORGANIZATION, "HTTP 503")
                seconds = settle_seconds
        heapq.heappush(due, (now + seconds + chance.uniform(0, POLLING_SECONDS), number))
    return last - outage_seconds
