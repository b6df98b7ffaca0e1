"""Remembers which organizations have asked for a pause, and until when."""

import threading
from datetime import datetime, timedelta

from shared.clock import Clock, utc_now
from shared.errors import Throttled


class ThrottleGate:
    """One gate per organization, closed until the pause that Azure DevOps asked for is over. Safe for many threads."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open_at: dict[str, datetime] = {}

    def close(self, organization_url: str, seconds: float) -> None:
        """Close the gate for this many seconds. If it is already closed for longer, nothing changes."""
        open_at = self._clock() + timedelta(seconds=seconds)
        with self._lock:
            self._open_at[organization_url] = max(open_at, self._open_at.get(organization_url, open_at))

    def check(self, organization_url: str) -> None:
        """Return if a request may be sent now.

        :raises Throttled: the gate is closed; ``retry_after_seconds`` tells for how long.
        """
        with self._lock:
            open_at = self._open_at.get(organization_url)
        if open_at is not None and (seconds := (open_at - self._clock()).total_seconds()) > 0:
            raise Throttled(f"{organization_url} asked for a pause, which ends in {seconds:.0f} s", seconds)
