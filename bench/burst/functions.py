"""A model of Flex Consumption, which adds instances for waiting deliveries and removes idle ones.

Documented: it adds instances up to a maximum that the app sets, and bills each instance while it executes anything.
https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan (read in November 2026)

Assumed, because it is not documented: how fast instances are added and start, and when idle ones are removed.
"""

from collections import Counter, deque
from dataclasses import dataclass


@dataclass
class Fleet:
    """The instances of a function app, some of which have closed their throttle gate.

    :param most: maximum number of instances.
    :param concurrency: deliveries that one instance serves at the same time.
    :param added_per_second: how fast the platform adds instances.
    :param start_seconds: time from the decision to add an instance until it serves its first event.
    :param idle_seconds: time without waiting deliveries after which all instances are removed.
    """

    most: int
    concurrency: int
    added_per_second: int
    start_seconds: int
    idle_seconds: int = 60

    def __post_init__(self) -> None:
        self.ready = 0
        self.peak = 0
        self._starting: deque[tuple[int, int]] = deque()
        self._closed: Counter[int] = Counter()
        self._last_busy = 0

    @property
    def open(self) -> int:
        """The number of ready instances whose gate is open."""
        return max(0, self.ready - self._closed.total())

    def scale(self, second: int, waiting: int) -> None:
        """Start instances if deliveries wait, and remove all instances after a time without any."""
        while self._starting and self._starting[0][0] <= second:
            self.ready += self._starting.popleft()[1]
        for until in [until for until in self._closed if until <= second]:
            del self._closed[until]
        expected = self.ready + sum(count for _, count in self._starting)
        wanted = min(self.most, -(-waiting // self.concurrency))
        if wanted > expected:
            self._starting.append((second + self.start_seconds, min(self.added_per_second, wanted - expected)))
        if waiting:
            self._last_busy = second
        elif second - self._last_busy >= self.idle_seconds:
            self.ready = 0
            self._closed.clear()  # the state of a gate is in the memory of its process
        self.peak = max(self.peak, self.ready)

    def close(self, until: int, instances: int) -> None:
        """Close the gate of up to ``instances`` open instances until the second ``until``."""
        self._closed[until] += min(instances, self.open)
