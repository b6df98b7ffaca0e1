"""Sends requests to Azure DevOps within a time limit, unless the organization has asked for a pause."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from shared.clock import Clock, utc_now
from shared.errors import AnswerLost, RequestNotSent
from shared.http.clock_offset import ClockOffset
from shared.http.message import MAX_SERVERS, HttpRequest, HttpResponse, is_failure, pause_seconds
from shared.http.throttle import ThrottleGate

if TYPE_CHECKING:
    from shared.http.transport import Transport  # imports ``requests``, which is slow

# Waiting longer than this for one answer would keep a worker thread from other events.
MAX_REQUEST_SECONDS: Final = 15.0
MIN_REQUEST_SECONDS: Final = 0.2
MAX_CONNECT_ATTEMPTS: Final = 4


class Sender:
    """Sends requests, with retries and the throttle gate. Safe for many threads, like its transport."""

    def __init__(
        self,
        transport: "Transport",
        gate: ThrottleGate,
        *,
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._clock = clock
        self._sleep = sleep
        self._offsets = lru_cache(MAX_SERVERS)(ClockOffset)

    def clock_offset(self, organization_url: str) -> timedelta:
        """Return how far the server's clock is ahead of this process's; 0 if no answer has shown it."""
        return self._offsets(organization_url).value

    def admit(self, organization_url: str, authorization: str, *, later: bool = False) -> float:
        """Return 0 if work may begin now, else the seconds after which to ask again; see ``ThrottleGate.admit``."""
        return self._gate.admit(organization_url, authorization, later=later)

    def send(self, organization_url: str, request: HttpRequest, authorization: str, deadline: datetime) -> HttpResponse:
        """Send a request. If there is no connection, try again until the deadline.

        :raises Throttled: the gate is closed; nothing was sent.
        :raises RequestNotSent: no connection was made, or no time is left.
        :raises AnswerLost: the request may have been carried out.
        """
        attempt = 1
        while True:
            timeout_seconds = self._time_for_request(deadline)
            # Afterwards, since the gate may let this request through as its only trial.
            self._gate.check(organization_url, authorization)
            sent_at = self._clock()
            try:
                response = self._transport(request, authorization, timeout_seconds)
            except AnswerLost as exc:
                self._gate.not_answered(organization_url, str(exc))
                raise
            except RequestNotSent as exc:
                self._gate.not_answered(organization_url, str(exc))
                pause = 0.25 * 2.0 ** (attempt - 1)  # 0.25, 0.5, 1 s
                if attempt == MAX_CONNECT_ATTEMPTS or self._seconds_left(deadline) < pause + MIN_REQUEST_SECONDS:
                    raise
                attempt += 1
                self._sleep(pause)
            else:
                offset = self._offsets(organization_url)
                offset.measure(response.status, response.headers, sent_at, self._clock())
                if is_failure(response):
                    self._gate.not_answered(organization_url, f"HTTP {response.status}")
                else:
                    self._gate.answered(organization_url)
                # After any answer, including a success: the server asks for a pause before it refuses requests.
                if (wanted := pause_seconds(response)) is not None:
                    is_refused = response.status == 429  # noqa: PLR2004
                    self._gate.close(organization_url, authorization, wanted, refused=is_refused)
                return response

    def _time_for_request(self, deadline: datetime) -> float:
        """Return how long a request may take. Call it immediately before the request is sent.

        A worker that was frozen after its claim finds here that no time is left, and sends nothing.
        """
        left = self._seconds_left(deadline)
        if left < MIN_REQUEST_SECONDS:
            raise RequestNotSent("no time is left in this delivery to send the request and receive an answer")
        return min(left, MAX_REQUEST_SECONDS)

    def _seconds_left(self, deadline: datetime) -> float:
        return (deadline - self._clock()).total_seconds()
