"""Divides the time of a delivery or sweep among waits, so that no wait takes the time of the others."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from shared.clock import Clock
from shared.logs import NEXT_INVOCATION

MIN_SHARE: Final = timedelta(seconds=2)
MAX_SHARE: Final = timedelta(seconds=6)
SHORTEST: Final = timedelta(seconds=0.5)
"""With less time than this, nothing is begun: its answer would probably be lost."""

Item = TypeVar("Item")
Done = TypeVar("Done")


class Workers:
    """Does the same for many items, for several of them at once.

    The host drops what their threads log, so the invocation logs it: before the next line of its own.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def each(self, act: Callable[[Item], Done], items: Sequence[Item]) -> Iterator[Done]:
        """Yield what the action returns for each item, in the order of the items. They are started in this order."""
        if self.count == 1 or len(items) <= 1:
            yield from map(act, items)
            return
        with ThreadPoolExecutor(min(self.count, len(items)), thread_name_prefix="nextstage-waits") as pool:
            yield from pool.map(partial(_keeping, act), items)


def _keeping(act: Callable[[Item], Done], item: Item) -> Done:
    with NEXT_INVOCATION.keeping():
        return act(item)


class Shares:
    """The shares of one delivery or sweep. Every item gets as much time as is left for it, within limits. Thread-safe.

    Time that an item does not need is divided among the following ones.
    """

    def __init__(self, items: int, deadline: datetime, workers: int, clock: Clock) -> None:
        self._left = items
        self._deadline = deadline
        self._workers = workers
        self._clock = clock
        self._lock = threading.Lock()

    def next(self) -> datetime:
        """Return the deadline of the item that starts now."""
        with self._lock:
            waiting, self._left = self._left, self._left - 1
        now = self._clock()
        fair = (self._deadline - now) * self._workers / max(waiting, 1)
        return min(self._deadline, now + min(max(fair, MIN_SHARE), MAX_SHARE))
