"""Limits how many tasks of one plan and of one organization may wait at once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from shared.clock import Clock
from shared.errors import TooManyWaits
from shared.journal.journal import Journal
from shared.journal.records import OPEN_STATES, WAIT_PREFIX, Selection
from shared.waits.plan_url import organization_of
from shared.waits.request import Task
from shared.waits.wait import Wait, read_each

_COUNT_EVERY: Final = timedelta(minutes=1)
_MAX_COUNTED: Final = 20_000


class Quotas:
    """The open waits, as counted in the journal once a minute, and those that have been registered since. Thread-safe.

    Each instance of the app counts the waits that others have registered with a delay of up to a minute.
    """

    def __init__(self, journal: Journal, *, per_organization: int, per_plan: int, clock: Clock) -> None:
        self._journal = journal
        self._per_organization = per_organization
        self._per_plan = per_plan
        self._clock = clock
        self._lock = threading.Lock()
        self._open: Counter[tuple[str, str]] = Counter()
        self._count_at: datetime | None = None

    @contextmanager
    def place_for(self, task: Task) -> Iterator[None]:
        """Count a task that registers. If it fails, it no longer counts.

        :raises TooManyWaits: no more tasks of its plan or organization may wait.
        :raises JournalUnavailable: the store does not answer.
        """
        self._count()
        counted = _counted(task)
        with self._lock:
            self._check(counted[0], self._per_plan, f"plan {task.plan_id}", "WAIT_LIMIT_PER_PLAN")
            self._check(counted[1], self._per_organization, counted[1][0], "WAIT_LIMIT_PER_ORGANIZATION")
            self._open.update(counted)
        try:
            yield
        except BaseException:
            with self._lock:
                self._open.subtract(counted)
            raise

    def _check(self, key: tuple[str, str], limit: int, name: str, setting: str) -> None:
        if self._open[key] >= limit:
            raise TooManyWaits(
                f"{self._open[key]} tasks of {name} wait already, and {setting} is {limit}; run the job again when "
                "some of them have ended, or raise the limit"
            )

    def _count(self) -> None:
        now = self._clock()
        with self._lock:
            if self._count_at is not None and now < self._count_at:
                return
            self._count_at = now + _COUNT_EVERY
        found = self._journal.select(Selection(route_prefix=WAIT_PREFIX, states=OPEN_STATES), _MAX_COUNTED)
        counts = Counter(key for _, wait in read_each(Wait.of, found) for key in _counted(wait.task))
        with self._lock:
            self._open = counts


def _counted(task: Task) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the keys under which a task counts: its plan, and its organization."""
    organization = organization_of(task.plan_url)
    return (organization, task.plan_id.lower()), (organization, "")
