"""Remembers which organizations do not answer. Their tasks are not asked about for a while, and cost no time."""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.clock import Clock
from shared.errors import AnswerLost, AzureDevOpsError, RequestNotSent
from shared.waits.plan_url import organization_of

FAILURES: Final = 3
"""So many requests in a row must have failed. A single one may be slow for reasons of its own."""

FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(minutes=5)
"""Shorter than the time between two sweeps, so each sweep asks every organization."""

_MAX_ORGANIZATIONS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Silence:
    failures: int
    ask_at: datetime


class BackOff:
    """The organizations that do not answer, in this process. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._silent: dict[str, _Silence] = {}

    def asks_at(self, plan_url: str) -> datetime | None:
        """Return when the organization is asked again; None if it can be asked now."""
        with self._lock:
            silence = self._silent.get(organization_of(plan_url))
        if silence is None or silence.failures < FAILURES or silence.ask_at <= self._clock():
            return None
        return silence.ask_at

    def note(self, plan_url: str, error: AzureDevOpsError | None) -> None:
        """Remember how a request to the organization ended.

        :param error: what was raised; None if the organization has answered.
        """
        organization = organization_of(plan_url)
        with self._lock:
            silence = self._silent.pop(organization, None)
            if not isinstance(error, AnswerLost | RequestNotSent):
                return
            now = self._clock()
            if silence is None or silence.ask_at <= now:  # requests that failed at the same time count once
                failures = 1 if silence is None else silence.failures + 1
                pause = FIRST_PAUSE * 2.0 ** min(failures - FAILURES, 9) if failures >= FAILURES else timedelta()
                silence = _Silence(failures, now + min(pause, LONGEST_PAUSE))
            if len(self._silent) >= _MAX_ORGANIZATIONS:
                self._silent.pop(next(iter(self._silent)))
            self._silent[organization] = silence
