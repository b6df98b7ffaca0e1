"""Tells subscribers of outcomes, best effort, and never in the way of a delivery.

A delivery only puts its notification into a queue in memory; one thread of the process sends what is there, in batches.
So a topic that is slow or down costs a delivery nothing. It also means that what waits is lost where the process dies,
and that nobody may rely on a notification: what happened is in the journal.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from threading import Condition, Thread
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import NotificationFailed
from shared.notifications.notification import Notification, concerned, notification
from shared.telemetry import Decision, Outcome

Publish = Callable[[Sequence[Notification]], None]
"""Sends a batch, once, within a few seconds. Raises NotificationFailed."""

MAX_BATCH: Final = 10
"""Ten notifications of the greatest length stay below 1 MB, the most that Event Grid takes at once."""
MAX_WAITING: Final = 1000
MAX_WAITING_DEFERRED: Final = MAX_WAITING // 2
"""Deferrals come by the thousand when Azure DevOps is down. They must not crowd out what is rarer and matters more."""
MAX_REMEMBERED: Final = 10_000
PAUSES_SECONDS: Final = (1.0, 5.0)
CLOSE_SECONDS: Final = 5.0

_log = logging.getLogger("nextstage.notifications")


class Notifier:
    """A ``Report`` that publishes. Safe for many threads; never raises, never waits for the topic."""

    def __init__(
        self,
        publish: Publish,
        *,
        source: str,
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        make_thread: Callable[..., Thread] = Thread,
    ) -> None:
        """:param source: names the app in every notification, as a URI reference."""
        self._publish = publish
        self._source = source
        self._clock = clock
        self._sleep = sleep
        self._make_thread = make_thread
        self._changed = Condition()
        self._waiting: deque[Notification] = deque()
        self._in_hand = 0
        self._dropped = 0
        self._deferred: OrderedDict[str, None] = OrderedDict()
        self._closing = False
        self._thread: Thread | None = None

    def __call__(self, decision: Decision) -> None:
        """Take note of a decision; if it is one that is told, it is published a moment later."""
        told = notification(decision, self._source, self._clock())
        with self._changed:
            is_repeated = self._is_repeated(decision)
            if told is None or is_repeated or self._closing:
                return
            limit = MAX_WAITING_DEFERRED if decision.outcome is Outcome.DEFERRED else MAX_WAITING
            if len(self._waiting) >= limit:
                if self._dropped == 0:
                    _log.warning(
                        "notifications come faster than the topic takes them: some are dropped; see the journal"
                    )
                self._dropped += 1
                return
            self._waiting.append(told)
            self._start()
            self._changed.notify()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Publish what waits, for so long at most; what comes later is not published."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._changed:
            left = len(self._waiting) + self._in_hand
        if left:
            _log.warning("notifications were lost (%d): the process ended before they could be published", left)

    def _is_repeated(self, decision: Decision) -> bool:
        """Whether it is one more deferral of what was told to be deferred; Event Grid comes again for a day."""
        about = concerned(decision)
        if decision.outcome is not Outcome.DEFERRED:
            self._deferred.pop(about, None)
            return False
        if about in self._deferred:
            return True
        self._deferred[about] = None
        if len(self._deferred) > MAX_REMEMBERED:
            self._deferred.popitem(last=False)
        return False

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = self._make_thread(target=self._work, name="nextstage-notifier", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # the system has none to give; the next notification asks again
            _log.warning("notifications wait, since no thread can be started for them: %s", exc)
        else:
            self._thread = thread

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                self._send(batch)
            except Exception as exc:  # noqa: BLE001 - whatever it is, those that come after must be published
                # Not its text: nobody knows what an error holds that nobody has thought of.
                _log.warning("notifications were lost (%d): %s", len(batch), type(exc).__name__)

    def _next_batch(self) -> list[Notification]:
        """What waits, as soon as something does; empty where the end has come and nothing does."""
        with self._changed:
            self._in_hand = 0
            if self._dropped and not self._waiting:
                _log.warning("notifications were dropped (%d) while the topic did not keep up", self._dropped)
                self._dropped = 0
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._in_hand = min(len(self._waiting), MAX_BATCH)
            return [self._waiting.popleft() for _ in range(self._in_hand)]

    def _send(self, batch: Sequence[Notification]) -> None:
        """Send, again where that may help; one line of warning where it does not."""
        for pause in (*PAUSES_SECONDS, None):
            try:
                self._publish(batch)
            except NotificationFailed as exc:
                if pause is None or not exc.may_pass:
                    _log.warning("notifications were lost (%d): %s", len(batch), exc)
                    return
                self._sleep(pause)
            else:
                return
