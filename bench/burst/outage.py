"""How long after an outage of Azure DevOps the last run is queued: with Event Grid's schedule alone, and with resume.

Events are published evenly during the outage. With resume, one instance asks the gate of the app itself.
"""

import heapq
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from bench.burst.event_grid import RETRY_SECONDS
from shared.errors import Throttled
from shared.http.throttle import ThrottleGate

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_ORGANIZATION: Final = "https://dev.azure.com/contoso"
_AUTHORIZATION: Final = "Basic app"


def with_event_grid(events: int, outage_seconds: float) -> float:
    """Return the seconds from the recovery to the last run, if each event comes with Event Grid's next delivery."""
    last = 0.0
    for number in range(events):
        at, attempt = outage_seconds * number / events, 0
        while at < outage_seconds:
            at, attempt = at + RETRY_SECONDS[attempt], attempt + 1
        last = max(last, at)
    return last - outage_seconds


def with_resume(events: int, outage_seconds: float, seed: int = 20261129) -> float:
    """Return the seconds from the recovery to the last run, if each event comes when the gate says."""
    now = last = 0.0
    gate = ThrottleGate(lambda: _START + timedelta(seconds=now))
    chance = random.Random(seed)  # noqa: S311
    due = [(outage_seconds * number / events, chance.random()) for number in range(events)]
    while due:
        now, order = heapq.heappop(due)
        if (seconds := gate.admit(_ORGANIZATION, _AUTHORIZATION)) <= 0:
            try:
                gate.check(_ORGANIZATION, _AUTHORIZATION)
            except Throttled as exc:
                seconds = exc.retry_after_seconds
            else:
                if now < outage_seconds:
                    gate.not_answered(_ORGANIZATION, "HTTP 503")
                    seconds = gate.admit(_ORGANIZATION, _AUTHORIZATION) or 5.0
                else:
                    gate.answered(_ORGANIZATION)
                    last = now
                    continue
        heapq.heappush(due, (now + seconds, order))
    return last - outage_seconds
