"""Puts records that are not final into the queue: those that a delivery has deferred, waits, and orphans.

The event can then be acknowledged.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from shared.clock import Clock, utc_now
from shared.errors import JournalUnavailable, ResumeUnavailable
from shared.journal.journal import Journal
from shared.journal.records import Entry, JournalKey, Record
from shared.logs import logger
from shared.resume.queue import DueQueue
from shared.resume.when import wait_of
from shared.telemetry import Result

_UNATTENDED: Final = timedelta(days=1)
"""A record that has not changed for so long may have no message: it was deferred while there was no queue."""

_log = logger("nextstage.resume")


class DeliveryDeferrals:
    """See ``shared.relay.Deferrals``. The order is: the record, then the message, then the acknowledgment."""

    def __init__(
        self, journal: Journal, queue: DueQueue, clock: Clock = utc_now, luck: Callable[[], float] = random.random
    ) -> None:
        """:param luck: returns a random number from 0 to 1."""
        self._journal = journal
        self._queue = queue
        self._clock = clock
        self._luck = luck

    def come_again(
        self, entry: Entry, key: JournalKey, result: Result, record: Record | None = None
    ) -> datetime | None:
        """Write a message for the record. Without a record of this event, the event must be delivered again.

        If another event has the record, it comes first. It gets a message if it may have none.

        :param entry: ``NO_EVENT`` for a record that is not about an event.
        :param record: the record as it was read or written just now, if it was.
        """
        if result.cause == JournalUnavailable.__name__:
            return None
        try:
            record = record or self._journal.get(key)
            if record is None:
                return None
            now = self._journal.now()
            # If the record of another event with the same identity is parked, this event may still claim the key.
            is_own = record.entry.event_id == entry.event_id
            if not is_own and now - record.changed_at < _UNATTENDED:
                return None
            after = wait_of(record, now, result.pause_seconds, self._luck())
            self._queue.put(key, after, result.reason)
        except (JournalUnavailable, ResumeUnavailable) as exc:
            about = f"event {entry.event_id}" if key.is_about_event else f"the record {key.key[:12]} of {key.route}"
            _log.error("%s does not come again automatically, because no message could be written: %s", about, exc)
            return None
        return self._clock() + after if is_own else None
