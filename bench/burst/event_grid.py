"""A model of Event Grid: delivers what is due, and again what was not acknowledged.

Events are counted, not kept one by one: those that are delivered in the same second by the same attempt share a fate
but for how many of them are served.

Known: it waits 30 s for an answer, then delivers again after 10 s, 30 s, 1, 5, 10 and 30 min, 1, 3, 6 and 12 h, each a
little randomized, until 24 h after the event; then it is dead-lettered.
https://learn.microsoft.com/azure/event-grid/delivery-and-retry (read in November 2026)

Left out: that it may skip retries, and hold back new deliveries for hours, where an endpoint fails most of the time.
"""

import heapq
import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

ANSWER_SECONDS: Final = 30
RETRY_SECONDS: Final = (10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
TIME_TO_LIVE_SECONDS: Final = 24 * 3600

_RANDOMIZATION: Final = 0.1  # nobody says how much; a tenth either way
# A cohort's retries are spread over so many moments; more would show nothing new.
_MOMENTS: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class Cohort:
    """Events that Event Grid published in the same minute and delivers in the same attempt, counted from 1."""

    published_minute: int
    attempt: int


class EventGrid:
    """Delivers what is due, and again what was not acknowledged."""

    def __init__(self, events: int, burst_seconds: int, chance: random.Random) -> None:
        self._chance = chance
        self._due: dict[int, Counter[Cohort]] = {}
        self._seconds: list[int] = []
        self.dead_lettered = 0
        self.deliveries = 0
        for second in range(burst_seconds):
            share = events * (second + 1) // burst_seconds - events * second // burst_seconds
            self._schedule(second, Cohort(second // 60, 1), share)

    @property
    def next_second(self) -> int | None:
        """When something is due next; None where nothing is."""
        return self._seconds[0] if self._seconds else None

    def deliver(self, second: int) -> Counter[Cohort]:
        """What is due in this second."""
        if self.next_second != second:
            return Counter()
        heapq.heappop(self._seconds)
        due = self._due.pop(second)
        self.deliveries += due.total()
        return due

    def was_not_acknowledged(self, second: int, cohort: Cohort, count: int) -> None:
        """Some of a cohort failed: they come again, or go to the dead letters."""
        delay = RETRY_SECONDS[min(cohort.attempt, len(RETRY_SECONDS)) - 1]
        moments = min(_MOMENTS, count)
        for moment in range(moments):
            some = count * (moment + 1) // moments - count * moment // moments
            due = second + max(1, round(delay * self._chance.uniform(1 - _RANDOMIZATION, 1 + _RANDOMIZATION)))
            if due - cohort.published_minute * 60 > TIME_TO_LIVE_SECONDS:
                self.dead_lettered += some
            else:
                self._schedule(due, Cohort(cohort.published_minute, cohort.attempt + 1), some)

    def _schedule(self, second: int, cohort: Cohort, count: int) -> None:
        if second not in self._due:
            self._due[second] = Counter()
            heapq.heappush(self._seconds, second)
        self._due[second][cohort] += count
