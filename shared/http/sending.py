"""Sends a request to Azure DevOps within a time, where the organization has not asked to be left alone."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import RequestNotSent
from shared.http.message import HttpRequest, HttpResponse, pause_seconds
from shared.http.throttle import ThrottleGate
from shared.http.transport import Transport

# A request that is not answered within this time is not worth waiting for while others could be served.
MAX_REQUEST_SECONDS: Final = 15.0
MIN_REQUEST_SECONDS: Final = 0.2
MAX_CONNECT_ATTEMPTS: Final = 4


class Sender:
    """Safe for many threads, as its transport is."""

    def __init__(
        self,
        transport: Transport,
        gate: ThrottleGate,
        *,
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._clock = clock
        self._sleep = sleep

    def send(self, organization_url: str, request: HttpRequest, authorization: str, deadline: datetime) -> HttpResponse:
        """Send, again where no connection was made, until the deadline.

        :raises Throttled: the organization asked for a pause that has not ended; nothing was sent.
        :raises RequestNotSent: no connection was made, or no time is left.
        :raises AnswerLost: the request may have been carried out.
        """
        attempt = 1
        while True:
            self._gate.check(organization_url)
            try:
                response = self._transport(request, authorization, self._time_for_request(deadline))
            except RequestNotSent:
                pause = 0.25 * 2.0 ** (attempt - 1)  # 0.25, 0.5, 1 s
                if attempt == MAX_CONNECT_ATTEMPTS or self._seconds_left(deadline) < pause + MIN_REQUEST_SECONDS:
                    raise
                attempt += 1
                self._sleep(pause)
            else:
                # On any answer, also on a good one: the server says what it wants before it refuses.
                if (wanted := pause_seconds(response)) is not None:
                    self._gate.close(organization_url, wanted)
                return response

    def _time_for_request(self, deadline: datetime) -> float:
        """How long a request may take, looked up right before it is sent.

        A worker that was frozen since it made its claim finds here that its time is up, and sends nothing.
        """
        left = self._seconds_left(deadline)
        if left < MIN_REQUEST_SECONDS:
            raise RequestNotSent("no time is left in this delivery to send the request and hear its answer")
        return min(left, MAX_REQUEST_SECONDS)

    def _seconds_left(self, deadline: datetime) -> float:
        return (deadline - self._clock()).total_seconds()
