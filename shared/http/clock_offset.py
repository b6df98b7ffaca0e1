"""How far a server's clock is ahead of this process's, measured from the Date header of the server's answers.

Date has no fractions of a second. The server wrote it between the sending of the request and the arrival of the answer,
when its clock was somewhere in the second that Date names. So each answer gives a lower and an upper bound of the
offset. Several answers together give closer bounds.
"""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, NamedTuple

from shared.logs import logger

NOTABLE_OFFSET: Final = timedelta(seconds=5)
"""A larger offset is logged, and ``doctor`` warns about it."""

_RESOLUTION: Final = timedelta(seconds=1)
# Time synchronization changes the speed of a clock by at most 500 millionths. Both clocks may be changed.
_DRIFT: Final = 0.001
# A proxy writes its own time into its own errors. An answer with Age is from a cache, and has an old Date.
_MAYBE_OF_A_PROXY: Final = {407, *range(500, 600)}
# A server whose Date is further away has no clock. Also, sums of times cannot overflow.
_MAX_OFFSET: Final = timedelta(days=36_500)

_date = lru_cache(maxsize=16)(parsedate_to_datetime)
_log = logger("nextstage.clock")


class _Bounds(NamedTuple):
    low: timedelta
    high: timedelta
    measured_at: datetime

    @property
    def best(self) -> timedelta:
        """The offset: 0 if that is possible, otherwise the middle."""
        return timedelta() if self.low <= timedelta() <= self.high else (self.low + self.high) / 2


class ClockOffset:
    """The offset of one server's clock. Safe for many threads."""

    def __init__(self, server: str) -> None:
        """:param server: the server's URL, for the log."""
        self._server = server
        self._lock = threading.Lock()
        self._bounds: _Bounds | None = None
        self._logged = timedelta()

    @property
    def is_measured(self) -> bool:
        """Whether any answer has shown the server's clock."""
        return self._bounds is not None

    @property
    def value(self) -> timedelta:
        """How far the server's clock is ahead of this process's; 0 if no answer has shown it."""
        return timedelta() if self._bounds is None else self._bounds.best

    @property
    def margin(self) -> timedelta:
        """How far ``value`` may be from the real offset at the time of the last answer."""
        if self._bounds is None:
            return _MAX_OFFSET
        low, high, _ = self._bounds
        return max(self._bounds.best - low, high - self._bounds.best)

    def measure(self, status: int, headers: Mapping[str, str], sent_at: datetime, received_at: datetime) -> None:
        """Measure the offset from one answer. Answers that do not show the server's clock change nothing.

        :param headers: the headers of the answer, with names in lower case or compared without regard to case.
        :param sent_at: this process's time before the request was sent.
        :param received_at: this process's time after the answer arrived.
        """
        if status in _MAYBE_OF_A_PROXY or headers.get("age", "0") != "0" or received_at < sent_at:
            return
        try:
            date = _date(headers["date"])
            fresh = _Bounds(date - received_at, date + _RESOLUTION - sent_at, received_at)
        except (KeyError, ValueError, TypeError, OverflowError):
            return
        if abs(fresh.best) > _MAX_OFFSET:
            return
        with self._lock:
            self._bounds = _combined(self._bounds, fresh)
            offset = self._bounds.best
            if abs(offset - self._logged) <= NOTABLE_OFFSET + self.margin:
                return
            self._logged = offset
        if abs(offset) > NOTABLE_OFFSET:
            _log.warning(
                "the clock of %s is %s this machine's; this is allowed for, but check the time synchronization of this "
                "machine",
                self._server,
                offset_words(offset),
            )


def offset_words(offset: timedelta) -> str:
    """Return an offset in words, such as ``7.5 s ahead of``."""
    return f"{abs(offset).total_seconds():.1f} s {'behind' if offset < timedelta() else 'ahead of'}"


def _combined(known: _Bounds | None, fresh: _Bounds) -> _Bounds:
    """Return the bounds that both allow. If they contradict each other, a clock was set, and only the fresh ones hold.

    Known bounds become wider with time, because clocks drift.
    """
    if known is None:
        return fresh
    drift = abs(fresh.measured_at - known.measured_at) * _DRIFT
    low, high = max(known.low - drift, fresh.low), min(known.high + drift, fresh.high)
    return fresh if low > high else fresh._replace(low=low, high=high)
