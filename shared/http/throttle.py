"""Holds back requests to an organization that has asked for a pause, or that does not answer."""

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import Paused, Throttled

MAX_FAILURES: Final = 5
"""After so many requests in a row without an answer, the gate closes."""
PAUSES: Final = (5.0, 10.0, 20.0)
"""For how many seconds: the first time, the second time, and from then on."""
TRIAL_SECONDS: Final = 15.0
"""How long to wait for the outcome of the request that tries whether the organization answers again."""

_log = logging.getLogger("nextstage.gate")


class ThrottleGate:
    """One gate per organization. Safe for many threads.

    It is closed until a pause that Azure DevOps asked for is over. It also closes after several requests in a row
    without an answer: otherwise, while Azure DevOps hangs, each delivery occupies a thread until its time-out, and new
    ones wait for a thread for so long that the host ends the worker. After that pause, one request is a trial.
    """

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open_at: dict[str, datetime] = {}
        self._failures: dict[str, _Failures] = {}

    def close(self, organization_url: str, seconds: float) -> None:
        """Close the gate for this many seconds. If it is already closed for longer, nothing changes."""
        open_at = self._clock() + timedelta(seconds=seconds)
        with self._lock:
            self._open_at[organization_url] = max(open_at, self._open_at.get(organization_url, open_at))

    def not_answered(self, organization_url: str, reason: str) -> None:
        """Count a request without an answer, and close the gate after several in a row."""
        with self._lock:
            failures = self._failures.setdefault(organization_url, _Failures())
            failures.count, failures.last = failures.count + 1, reason
            if failures.count < MAX_FAILURES or self._seconds_until(failures.open_at) > 0:
                return  # in the second case, the request was sent before the gate closed
            seconds = PAUSES[min(failures.pauses, len(PAUSES) - 1)]
            failures.pauses += 1
            failures.open_at, failures.trial_ends_at = self._clock() + timedelta(seconds=seconds), None
        _log.warning("no request to %s for %g s, because %s", organization_url, seconds, failures)

    def answered(self, organization_url: str) -> None:
        """Forget the requests without an answer, because there was an answer."""
        if organization_url not in self._failures:  # the usual case, which needs no lock
            return
        with self._lock:
            failures = self._failures.pop(organization_url, None)
        if failures is not None and failures.pauses:
            _log.warning("%s answers again", organization_url)

    def check(self, organization_url: str) -> None:
        """Return if a request may be sent now.

        :raises Throttled: the gate is closed; ``retry_after_seconds`` tells for how long.
        """
        with self._lock:
            if (seconds := self._seconds_until(self._open_at.get(organization_url))) > 0:
                raise Throttled(f"{organization_url} asked for a pause, which ends in {seconds:.0f} s", seconds)
            failures = self._failures.get(organization_url)
            if failures is None or failures.count < MAX_FAILURES:
                return
            if (seconds := self._seconds_until(failures.open_at)) > 0:
                raise Paused(f"paused for {seconds:.0f} s, because {failures}", seconds)
            if (seconds := self._seconds_until(failures.trial_ends_at)) > 0:
                raise Paused(f"paused until the answer of another request, because {failures}", seconds)
            failures.trial_ends_at = self._clock() + timedelta(seconds=TRIAL_SECONDS)

    def _seconds_until(self, moment: datetime | None) -> float:
        return 0.0 if moment is None else (moment - self._clock()).total_seconds()


@dataclass(slots=True)
class _Failures:
    """The last requests to one organization, if they had no answer."""

    count: int = 0
    last: str = ""
    pauses: int = 0
    open_at: datetime | None = None
    trial_ends_at: datetime | None = None

    def __str__(self) -> str:
        return f"the last {self.count} requests had no answer (latest: {self.last})"
