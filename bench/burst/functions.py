"""A model of Flex Consumption: instances come for what waits, and go when nothing has waited for a while.

Known: it adds instances for what waits, up to a number that the app sets, and bills each while it executes anything.
https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan (read in November 2026)

Assumed, because nobody says: how fast instances are added and start, and when idle ones go.
"""

from collections import Counter, deque
from dataclasses import dataclass


@dataclass
class Fleet:
    """Flex Consumption's instances, and how many of them keep their gates closed.

    :param added_per_second: how fast the platform adds instances.
    :param start_seconds: from the decision to the first event served.
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
        """Instances that have not been told to wait."""
        return max(0, self.ready - self._closed.total())

    def scale(self, second: int, waiting: int) -> None:
        """Let instances come for what waits, and go when nothing has waited for a while."""
        while self._starting and self._starting[0][0] <= second:
            self.ready += self._starting.popleft()[1]
        for until in [until for until in self._closed if until <= second]:
            del self._closed[until]
        coming = self.ready + sum(count for _, count in self._starting)
        wanted = min(self.most, -(-waiting // self.concurrency))
        if wanted > coming:
            self._starting.append((second + self.start_seconds, min(self.added_per_second, wanted - coming)))
        if waiting:
            self._last_busy = second
        elif second - self._last_busy >= self.idle_seconds:
            self.ready = 0
            self._closed.clear()  # the gate is in the process's memory
        self.peak = max(self.peak, self.ready)

    def close(self, until: int, instances: int) -> None:
        """So many open instances were told to wait."""
        self._closed[until] += min(instances, self.open)
