"""Removes old records from the journal, in batches and within a time limit."""

import logging
from datetime import timedelta
from typing import Final

from shared.clock import Clock, utc_now
from shared.journal.journal import Journal
from shared.journal.records import PURGED_STATES, Selection

BATCH_RECORDS: Final = 200
# The host ends a function after a minute (functionTimeout in host.json).
MAX_DURATION: Final = timedelta(seconds=40)

_log = logging.getLogger("nextstage.purge")


def purge(journal: Journal, retention: timedelta, *, batch_records: int = BATCH_RECORDS, clock: Clock = utc_now) -> int:
    """Remove final records that are older than the retention, for at most ``MAX_DURATION``. Parked records stay.

    :raises JournalUnavailable: the journal does not answer.
    """
    now = clock()
    old = Selection(states=PURGED_STATES, claimed_before=now - retention)
    purged = 0
    while clock() < now + MAX_DURATION:
        removed = sum(map(journal.forget, list(journal.select(old, batch_records))))
        purged += removed
        if removed < batch_records:  # there are no more, or another instance is purging too
            break
    _log.info("purged %d journal records older than %g days", purged, retention.days)
    return purged
