"""Delivers the events of the soak test as Event Grid would: many at once, each until it is acknowledged."""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Final

import requests

from devstack.soak.events import SoakEvent

_TIMEOUT_SECONDS = 30
_MIN_WAIT_SECONDS, _MAX_WAIT_SECONDS = 0.02, 0.2

Pauses = Sequence[tuple[float, float]]
"""The shortest and the longest pause in seconds after the first try, the second one and so on; the last is repeated."""
SOON: Final[Pauses] = ((0.2, 2.0),)
AS_EVENT_GRID: Final[Pauses] = ((10.0, 15.0), (30.0, 45.0), (60.0, 75.0))
"""The first pauses of Event Grid. Source: its documentation on delivery and retry."""


@dataclass
class Progress:
    """Counts the deliveries so far, and their answers."""

    deliveries: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: str) -> None:
        with self.lock:
            self.deliveries += 1
            self.answers[answer] += 1


@dataclass(frozen=True, order=True)
class _Due:
    """A delivery that is due at a time of the monotonic clock."""

    at: float
    number: int
    event: SoakEvent = field(compare=False)
    tries: int = 0


class Deliveries:
    """A queue of events and the threads that deliver them."""

    def __init__(
        self,
        events: Sequence[SoakEvent],
        pick_host: Callable[[], str],
        *,
        seed: int,
        pauses: Pauses = SOON,
        seconds: float = 0,
    ) -> None:
        """
        :param pick_host: returns the URL of the host for the next delivery.
        :param seconds: over which the first deliveries are spread evenly.
        """
        self.progress = Progress()
        self._pick_host = pick_host
        self._seed = seed
        self._pauses = pauses
        # Each copy is delivered separately, so that duplicates may arrive at the same time.
        copies = [event for event in events for _ in range(event.copies)]
        random.Random(seed).shuffle(copies)
        start, step = time.monotonic(), seconds / max(1, len(copies))
        self._waiting = [_Due(start + number * step, number, event) for number, event in enumerate(copies)]
        self._left = len(copies)
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """The number of deliveries that are not yet acknowledged."""
        return self._left

    def reasons(self) -> Counter[str]:
        """Count the last answers to the remaining deliveries, with IDs and numbers replaced with ``#``."""
        return Counter(re.sub(r"[0-9a-f]{12}|\d+", "#", due.event.last_answer) for due in self._waiting)

    def run(self, threads: int, until: float) -> None:
        """Deliver until all events are acknowledged or the monotonic clock reaches ``until``."""
        with ThreadPoolExecutor(threads) as pool:
            for worker in [pool.submit(self._work, number, until) for number in range(threads)]:
                worker.result()

    def _work(self, number: int, until: float) -> None:
        rng = random.Random(self._seed + number)
        with requests.Session() as session:
            while self._left and time.monotonic() < until:
                due = self._take()
                if due is None:
                    time.sleep(self._seconds_to_wait())
                    continue
                if self._deliver(session, due.event):
                    with self._lock:
                        self._left -= 1
                else:
                    pause = self._pauses[min(due.tries, len(self._pauses) - 1)]
                    again = replace(due, at=time.monotonic() + rng.uniform(*pause), tries=due.tries + 1)
                    with self._lock:
                        heappush(self._waiting, again)

    def _take(self) -> "_Due | None":
        """Remove and return the delivery that has been due for the longest time, or None if none is due."""
        with self._lock:
            is_due = self._waiting and self._waiting[0].at <= time.monotonic()
            return heappop(self._waiting) if is_due else None

    def _seconds_to_wait(self) -> float:
        """Return how long no delivery is due, within limits: the deliveries in progress may fail in the meantime."""
        with self._lock:
            seconds = self._waiting[0].at - time.monotonic() if self._waiting else _MAX_WAIT_SECONDS
        return min(max(seconds, _MIN_WAIT_SECONDS), _MAX_WAIT_SECONDS)

    def _deliver(self, session: requests.Session, event: SoakEvent) -> bool:
        try:
            response = session.post(
                f"{self._pick_host()}/runtime/webhooks/eventgrid?functionName=aml_event",
                data=event.text.encode(),
                headers={"aeg-event-type": "Notification", "Content-Type": "application/json"},
                timeout=_TIMEOUT_SECONDS,
            )
        except requests.RequestException:
            self.progress.note("no answer")
            event.last_answer = "no answer"
            return False
        self.progress.note(str(response.status_code))
        event.last_answer = response.text
        return response.status_code == 202
