"""A model of Event Grid, which repeats deliveries that are not acknowledged.

Events are not modeled one by one. A cohort counts events that are due in the same second and at the same attempt.

Documented: Event Grid waits 30 s for an answer. It repeats a delivery after 10 s, 30 s, 1, 5, 10 and 30 min, 1, 3, 6
and 12 h, with a small randomization. 24 h after the event, it writes a dead letter.
https://learn.microsoft.com/azure/event-grid/delivery-and-retry (read in November 2026)

Left out: if an endpoint fails most of the time, Event Grid may skip retries and delay new deliveries for hours.
"""

import heapq
import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

ANSWER_SECONDS: Final = 30
RETRY_SECONDS: Final = (10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
TIME_TO_LIVE_SECONDS: Final = 24 * 3600

RANDOMIZATION: Final = 0.1  # ±10 %, an assumption: the amount is not documented
# The retries of a cohort are spread over this many points in time; more would not change the result.
_RETRY_TIMES: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class Cohort:
    """Events that were published in the same minute and are at the same delivery attempt, counted from 1."""

    published_minute: int
    attempt: int


class EventGrid:
    """The schedule of deliveries and their repetitions."""

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
        """The second of the next delivery, or None if none is due."""
        return self._seconds[0] if self._seconds else None

    def deliver(self, second: int) -> Counter[Cohort]:
        """Return the deliveries that are due in this second, and remove them from the schedule."""
        if self.next_second != second:
            return Counter()
        heapq.heappop(self._seconds)
        due = self._due.pop(second)
        self.deliveries += due.total()
        return due

    def was_not_acknowledged(self, second: int, cohort: Cohort, count: int) -> None:
        """Schedule the next delivery of ``count`` events of a cohort, or count them as dead letters after a day."""
        delay = RETRY_SECONDS[min(cohort.attempt, len(RETRY_SECONDS)) - 1]
        times = min(_RETRY_TIMES, count)
        for time in range(times):
            some = count * (time + 1) // times - count * time // times
            due = second + max(1, round(delay * self._chance.uniform(1 - RANDOMIZATION, 1 + RANDOMIZATION)))
            if due - cohort.published_minute * 60 > TIME_TO_LIVE_SECONDS:
                self.dead_lettered += some
            else:
                self._schedule(due, Cohort(cohort.published_minute, cohort.attempt + 1), some)

    def _schedule(self, second: int, cohort: Cohort, count: int) -> None:
        if second not in self._due:
            self._due[second] = Counter()
            heapq.heappush(self._seconds, second)
        self._due[second][cohort] += count
