"""Holds back requests to an organization that has asked for a pause, or that does not answer."""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from shared.clock import Clock, utc_now
from shared.errors import Paused, Throttled
from shared.logs import logger

if TYPE_CHECKING:
    from shared.http.pace import Pace

MAX_FAILURES: Final = 5
"""After so many requests in a row without an answer, the gate closes."""
PAUSES: Final = (5.0, 10.0, 20.0)
"""For how many seconds: the first time, the second time, and from then on. Where work is resumed, the last one is not
used, so that what waits begins at most 10 s after a recovery."""
TRIAL_SECONDS: Final = 15.0
"""How long to wait for the outcome of the request that tries whether the organization answers again."""
LOOK_AGAIN_SECONDS: Final = 2.0
"""Work that waits for this outcome comes back sooner, because the outcome is usually known within a second."""

_MAX_ENTRIES: Final = 1000
"""For so many organizations and credentials: the request of a waiting task names its organization itself."""

Key = TypeVar("Key")
Entry = TypeVar("Entry")

_log = logger("nextstage.gate")


class ThrottleGate:
    """One gate per organization. Safe for many threads.

    It is closed until a pause that Azure DevOps asked for is over. Azure DevOps limits each identity on its own, so
    such a pause holds for one credential: the token of a throttled pipeline's task holds back neither the app's runs
    nor the tasks of others. The gate also closes after several requests in a row without an answer, of any credential:
    otherwise, while Azure DevOps hangs, each delivery occupies a thread until its time-out, and new ones wait for a
    thread for so long that the host ends the worker. After that pause, one request is a trial.
    """

    def __init__(self, clock: Clock = utc_now, *, max_failures: float = MAX_FAILURES) -> None:
        """:param max_failures: after so many requests in a row without an answer the gate closes; with inf, never."""
        self._clock = clock
        self._max_failures = max_failures
        self._lock = threading.Lock()
        self._open_at: dict[tuple[str, int], datetime] = {}  # with the hash of the credential
        self._failures: dict[str, _Failures] = {}
        self._paces: dict[str, Pace] = {}

    def close(self, organization_url: str, authorization: str, seconds: float, *, refused: bool = False) -> None:
        """Close the gate for a credential for so many seconds. If it is closed for longer, nothing changes.

        :param refused: whether the answer was a refusal.
        """
        open_at, who = self._clock() + timedelta(seconds=seconds), (organization_url, hash(authorization))
        with self._lock:
            _put(self._open_at, who, max(open_at, self._open_at.get(who, open_at)))
            if (pace := self._paces.get(organization_url)) is not None:
                now = self._clock().timestamp()
                if refused:
                    pace.uncount()
                pace.pause(now, seconds)

    def not_answered(self, organization_url: str, reason: str) -> None:
        """Count a request without an answer, and close the gate after several in a row."""
        with self._lock:
            failures = self._failures.get(organization_url) or _put(self._failures, organization_url, _Failures())
            failures.count, failures.last = failures.count + 1, reason
            if failures.count >= self._max_failures and (pace := self._paces.get(organization_url)) is not None:
                pace.uncount()
            if failures.count < self._max_failures or self._seconds_until(failures.open_at) > 0:
                return  # in the second case, the request was sent before the gate closed
            pauses = PAUSES[:-1] if organization_url in self._paces else PAUSES
            seconds = pauses[min(failures.pauses, len(pauses) - 1)]
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

    def check(self, organization_url: str, authorization: str) -> None:
        """Return if a request with this credential may be sent now.

        :raises Throttled: the gate is closed; ``retry_after_seconds`` tells for how long.
        """
        with self._lock:
            if (seconds := self._seconds_until(self._open_at.get((organization_url, hash(authorization))))) > 0:
                if (pace := self._paces.get(organization_url)) is not None:
                    pace.uncount()  # it was admitted before the gate closed
                raise Throttled(f"{organization_url} asked for a pause, which ends in {seconds:.0f} s", seconds)
            failures = self._failures.get(organization_url)
            if failures is None or failures.count < self._max_failures:
                return
            if (seconds := self._seconds_until(failures.open_at)) > 0:
                raise Paused(f"paused for {seconds:.0f} s, because {failures}", seconds)
            if (seconds := self._seconds_until(failures.trial_ends_at)) > 0:
                raise Paused(f"paused until the answer of another request, because {failures}", seconds)
            failures.trial_ends_at = self._clock() + timedelta(seconds=TRIAL_SECONDS)

    def admit(self, organization_url: str, authorization: str, *, later: bool = False) -> float:
        """Return 0 if work for an organization may begin now. Else return the seconds after which to ask again.

        They are spread: each call returns a little more, at the pace that the organization accepts. Work that has a
        journal to wait in asks this before it claims a record; ``check`` still holds back its requests.

        :param later: the work has just been tried, so it never begins now.
        """
        from shared.http.pace import Pace  # noqa: PLC0415 - only work that is resumed needs it

        with self._lock:
            now = self._clock().timestamp()
            pace = self._paces.get(organization_url) or _put(self._paces, organization_url, Pace())
            closed_seconds = self._seconds_until(self._open_at.get((organization_url, hash(authorization))))
            failures = self._failures.get(organization_url)
            if failures is not None and failures.count >= self._max_failures:
                trial_seconds = min(self._seconds_until(failures.trial_ends_at), LOOK_AGAIN_SECONDS)
                closed_seconds = max(closed_seconds, self._seconds_until(failures.open_at), trial_seconds)
            if closed_seconds <= 0 and not later and pace.take(now):
                return 0.0
            return pace.back_in(now, max(0.0, closed_seconds))

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


def _put(entries: dict[Key, Entry], key: Key, entry: Entry) -> Entry:
    """Set an entry. If there are too many, forget the oldest one."""
    if key not in entries and len(entries) >= _MAX_ENTRIES:
        del entries[next(iter(entries))]
    entries[key] = entry
    return entry
