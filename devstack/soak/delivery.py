"""Delivers the events of the soak test as Event Grid would: many at once, each until it is acknowledged."""

import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import requests

from devstack.soak.events import SoakEvent

_TIMEOUT_SECONDS = 30

Pauses = Sequence[tuple[float, float]]
"""The shortest and the longest pause in seconds after the first try, the second one and so on; the last is repeated."""
SOON: Final[Pauses] = ((0.2, 2.0),)


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


class Deliveries:
    """A queue of events and the threads that deliver them."""

    def __init__(
        self, events: Sequence[SoakEvent], pick_host: Callable[[], str], *, seed: int, pauses: Pauses = SOON
    ) -> None:
        """:param pick_host: returns the URL of the host for the next delivery."""
        self.progress = Progress()
        self._pick_host = pick_host
        self._seed = seed
        self._pauses = pauses
        # Each copy is delivered separately, so that duplicates may arrive at the same time.
        copies = [event for event in events for _ in range(event.copies)]
        random.Random(seed).shuffle(copies)
        self._waiting = deque((0.0, 0, event) for event in copies)
        self._left = len(copies)
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """The number of deliveries that are not yet acknowledged."""
        return self._left

    def reasons(self) -> Counter[str]:
        """Count the last answers to the remaining deliveries, with IDs and numbers replaced with ``#``."""
        return Counter(re.sub(r"[0-9a-f]{12}|\d+", "#", event.last_answer) for _, _, event in self._waiting)

    def run(self, threads: int, until: float) -> None:
        """Deliver until all events are acknowledged or the monotonic clock reaches ``until``."""
        with ThreadPoolExecutor(threads) as pool:
            for worker in [pool.submit(self._work, number, until) for number in range(threads)]:
                worker.result()

    def _work(self, number: int, until: float) -> None:
        rng = random.Random(self._seed + number)
        with requests.Session() as session:
            while self._left and time.monotonic() < until:
                taken = self._take()
                if taken is None:
                    time.sleep(0.02)
                    continue
                tries, event = taken
                if self._deliver(session, event):
                    with self._lock:
                        self._left -= 1
                else:
                    pause = self._pauses[min(tries, len(self._pauses) - 1)]
                    self._waiting.append((time.monotonic() + rng.uniform(*pause), tries + 1, event))

    def _take(self) -> tuple[int, SoakEvent] | None:
        """Remove and return an event that is due, with the number of its tries, or None if none is."""
        with self._lock:
            for _ in range(min(len(self._waiting), 50)):
                due_at, tries, event = self._waiting.popleft()
                if due_at <= time.monotonic():
                    return tries, event
                self._waiting.append((due_at, tries, event))
        return None

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
