"""Learns how many requests a second an organization accepts, and spreads the work that waits.

``python -m bench.simulate`` shows what the numbers below do with a million events.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW_SECONDS: Final = 300.0
"""Azure DevOps limits the load of any five minutes. After so long without a pause, the rate is forgotten."""
CUT: Final = 0.9
"""A pause sets the rate to this share of what was sent."""
STEP: Final = 0.2 / 60
"""In each second after the pause, the rate grows by this share of its first value."""
LEAST_SENT: Final = 10
"""A process that has sent fewer requests in the window is not the reason for a pause, and learns no rate from it."""
MIN_RATE: Final = 0.1
"""Requests per second. The rate is never lower."""
REFUSED_SECONDS: Final = 12.0
"""If Azure DevOps has refused everything for so long, the rate of this process is not the reason, and is forgotten."""
TRIAL_SECONDS: Final = 10.0
"""The least time between two trials, if the first request after such a time is refused, too."""
TRIAL_RATE: Final = 1.0
"""Requests per second after such a time. The rate doubles with each request."""
SLACK_SECONDS: Final = 1.0
"""What the rate has allowed in this time, and was not used, may be used at once."""

BUCKET_SECONDS: Final = 10.0
"""Requests are counted in periods of this length."""

OVERBOOKING: Final = 1.5
"""So many times more work comes back than may be done, because some of it meets an instance that has no room."""
UNPACED: Final = 25.0
"""So much work comes back in a second if no rate is known."""
LEAST: Final = 3.0
"""At least so much work comes back in a second, whatever the rate."""
HORIZON_SECONDS: Final = 1800.0
"""All work comes back within this time after the pause. Thus a rate that is too low does little harm."""


class Pace:
    """The pace of the requests of one process to one organization. All times are in seconds.

    Until Azure DevOps asks for a pause, no rate is known, and nothing waits. A pause sets the rate to a little less
    than the process has sent on average in the window. From then on, the rate grows linearly until the next pause.
    If the process has sent very little, others have caused the pause, so it waits for its end and knows no rate. If
    everything is refused for a while, as in an outage, the rate is forgotten, and a few requests try what is accepted.

    Instances of the app need not know of each other: what all of them together have sent when Azure DevOps asks for a
    pause is what it accepts, so the rates of all instances add up to the limit.
    """

    def __init__(self, luck: Callable[[], float] = random.random) -> None:
        """:param luck: returns a random number from 0 to 1."""
        self._luck = luck
        self._sent: deque[list[int]] = deque()  # the number of a period, and how many requests were sent in it
        self._accepted = 0  # since the last pause, or before it until the pause is judged
        self._paused_at = 0.0
        self._is_judged = True
        self._refused_since: float | None = None
        self._trial_rate: float | None = None
        self._first_rate: float | None = None
        self._open_at = 0.0
        self._next_at = 0.0
        self._booked_until = 0.0

    def rate(self, now: float) -> float | None:
        """Return how many requests a second may be sent, or None if no limit is known."""
        self._judge(now)
        if self._trial_rate is not None:
            return self._trial_rate
        if self._first_rate is None or (seconds := now - self._open_at) > WINDOW_SECONDS:
            return None
        return self._first_rate * (1 + STEP * max(0.0, seconds))

    def take(self, now: float) -> bool:
        """Return whether a request may be sent now, and count it if so."""
        if now < self._open_at:
            return False
        if (rate := self.rate(now)) is not None:
            if now < self._next_at:
                return False
            self._next_at = max(self._next_at, now - SLACK_SECONDS) + 1 / rate
        if self._trial_rate is not None:
            self._trial_rate = self._trial_rate * 2 if self._trial_rate * 2 < UNPACED else None
        self._accepted += 1
        self._count(int(now // BUCKET_SECONDS))
        return True

    def uncount(self) -> None:
        """Do not count a request that was refused, not sent after all, or sent in an outage.

        The rate is what Azure DevOps accepts.
        """
        self._accepted = max(0, self._accepted - 1)
        if self._sent and self._sent[-1][1] > 0:
            self._sent[-1][1] -= 1

    def pause(self, now: float, seconds: float) -> None:
        """Send nothing for so long. Several answers that ask for the same pause count as one."""
        if now >= self._open_at:
            self._paused_at, self._is_judged = now, False
            self._learn()
            if self._trial_rate is not None:
                seconds = max(seconds, TRIAL_SECONDS)
        self._open_at = max(self._open_at, now + seconds)

    def back_in(self, now: float, closed_seconds: float = 0.0) -> float:
        """Return after how many seconds work comes back that may not be done now: each time a little later.

        :param closed_seconds: for how long nothing is sent for another reason.
        """
        open_at = max(self._open_at, now + closed_seconds)
        rate = self.rate(now)
        come_back = UNPACED if rate is None or self._trial_rate is not None else max(LEAST, OVERBOOKING * rate)
        self._booked_until = max(self._booked_until, open_at) + 1 / come_back
        if self._booked_until - open_at > HORIZON_SECONDS:
            self._booked_until = open_at + HORIZON_SECONDS
            return open_at - now + self._luck() * HORIZON_SECONDS
        return self._booked_until - now

    def _judge(self, now: float) -> None:
        """See, once after each pause, whether anything was accepted before it. By now, all answers have arrived."""
        if self._is_judged or now < self._open_at:
            return
        self._is_judged = True
        if self._accepted or self._refused_since is None:
            self._refused_since = self._paused_at
        self._accepted = 0
        self._trial_rate = None
        self._learn()
        if self._paused_at - self._refused_since >= REFUSED_SECONDS:
            self._trial_rate, self._first_rate = TRIAL_RATE, None

    def _learn(self) -> None:
        sent = self._sent_in_window(self._paused_at)
        self._first_rate = None if sent < LEAST_SENT else max(MIN_RATE, CUT * sent / WINDOW_SECONDS)

    def _count(self, period: int) -> None:
        if self._sent and self._sent[-1][0] == period:
            self._sent[-1][1] += 1
            return
        self._sent.append([period, 1])
        while self._sent[0][0] <= period - WINDOW_SECONDS / BUCKET_SECONDS:
            self._sent.popleft()

    def _sent_in_window(self, now: float) -> int:
        first = round((now - WINDOW_SECONDS) / BUCKET_SECONDS)
        return sum(count for period, count in self._sent if period >= first)
