"""Publishes notifications without delaying deliveries.

A delivery only adds its notification to a queue in memory, and one thread of the process publishes the queue in
batches. A slow or unavailable topic therefore does not affect deliveries. If the process dies, the queue is lost. The
journal, not the notifications, is the record of what happened.

The Functions host drops what the thread logs. Losses are therefore logged by the next delivery, and counted in the
journal.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from threading import Condition, Thread
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import NotificationFailed
from shared.logs import NEXT_INVOCATION, logger
from shared.notifications.losses import Losses
from shared.notifications.notification import Notification, notification, subject_key
from shared.telemetry import Decision, Outcome

Publish = Callable[[Sequence[Notification]], None]
"""Sends a batch once, within a few seconds. Raises NotificationFailed."""

MAX_BATCH: Final = 10
"""Ten notifications of maximum length stay below 1 MB, the limit of Event Grid for one request."""
MAX_WAITING: Final = 1000
MAX_WAITING_DEFERRED: Final = MAX_WAITING // 2
"""If Azure DevOps is down, there are thousands of deferrals. The rest of the queue is for the other notifications."""
MAX_REMEMBERED: Final = 10_000
PAUSES_SECONDS: Final = (1.0, 5.0)
CLOSE_SECONDS: Final = 5.0
_TOO_SLOW: Final = "the topic was too slow"

_log = logger("nextstage.notifications")


class Notifier:
    """A ``Report`` that publishes notifications. Never raises an error and never waits for the topic. Thread-safe."""

    def __init__(
        self,
        publish: Publish,
        *,
        source: str,
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        make_thread: Callable[..., Thread] = Thread,
    ) -> None:
        """:param source: a URI reference that identifies the app in every notification."""
        self._publish = publish
        self._source = source
        self._clock = clock
        self._sleep = sleep
        self.losses = Losses()
        self._make_thread = make_thread
        self._changed = Condition()
        self._waiting: deque[Notification] = deque()
        self._in_hand = 0
        self._dropped = 0
        self._deferred: OrderedDict[str, None] = OrderedDict()
        self._closing = False
        self._thread: Thread | None = None

    def __call__(self, decision: Decision) -> None:
        """Queue the notification for a decision, if there is one."""
        message = notification(decision, self._source, self._clock())
        with self._changed:
            is_repeated = self._is_repeated(decision)
            if message is None or is_repeated or self._closing:
                return
            limit = MAX_WAITING_DEFERRED if decision.outcome is Outcome.DEFERRED else MAX_WAITING
            if len(self._waiting) >= limit:
                if self._dropped == 0:
                    _log.warning("notifications are dropped: the topic is too slow; the outcomes are in the journal")
                self._dropped += 1
                return
            self._waiting.append(message)
            self._start()
            self._changed.notify()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Publish the queued notifications, and accept no others. The rest is only counted in ``losses``.

        :param seconds: how long to wait at most.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._changed:
            left, dropped = len(self._waiting) + self._in_hand, self._dropped
        if left:
            self.losses.add(left, "the process ended before they could be published")
        if dropped:
            self.losses.add(dropped, _TOO_SLOW)

    def _is_repeated(self, decision: Decision) -> bool:
        """Return whether this deferral has been published before. Event Grid repeats a delivery for up to a day."""
        key = subject_key(decision)
        if decision.outcome is not Outcome.DEFERRED:
            self._deferred.pop(key, None)
            return False
        if key in self._deferred:
            return True
        self._deferred[key] = None
        if len(self._deferred) > MAX_REMEMBERED:
            self._deferred.popitem(last=False)
        return False

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = self._make_thread(target=self._work, name="nextstage-notifier", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # the system has no more threads; the next notification tries again
            _log.warning("notifications are not published yet, since no thread can be started: %s", exc)
        else:
            self._thread = thread

    def _work(self) -> None:
        with NEXT_INVOCATION.keeping():
            while batch := self._next_batch():
                try:
                    self._send(batch)
                except Exception as exc:  # noqa: BLE001 - later notifications must still be published
                    # Do not log the text of an unexpected error: it could contain a secret.
                    self._lose(len(batch), type(exc).__name__)

    def _lose(self, count: int, reason: str) -> None:
        self.losses.add(count, reason)
        _log.warning("notifications were lost (%d): %s", count, reason)

    def _next_batch(self) -> list[Notification]:
        """Wait for notifications and return them. The list is empty only if the notifier is closing."""
        with self._changed:
            self._in_hand = 0
            if self._dropped and not self._waiting:
                self._lose(self._dropped, _TOO_SLOW)
                self._dropped = 0
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._in_hand = min(len(self._waiting), MAX_BATCH)
            return [self._waiting.popleft() for _ in range(self._in_hand)]

    def _send(self, batch: Sequence[Notification]) -> None:
        """Send a batch, and retry if that may help. Log one warning if the batch is lost."""
        for pause in (*PAUSES_SECONDS, None):
            try:
                self._publish(batch)
            except NotificationFailed as exc:
                if pause is None or not exc.is_transient:
                    self._lose(len(batch), str(exc))
                    return
                self._sleep(pause)
            else:
                return
