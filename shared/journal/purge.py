"""Removes what the journal need no longer remember, in batches that end in time."""

import logging
from datetime import timedelta
from typing import Final

from shared.clock import Clock, utc_now
from shared.journal.journal import Journal

BATCH_RECORDS: Final = 200
# The host ends a function after a minute (functionTimeout in host.json).
MAX_DURATION: Final = timedelta(seconds=40)

_log = logging.getLogger("nextstage.purge")


def purge(journal: Journal, retention: timedelta, *, batch_records: int = BATCH_RECORDS, clock: Clock = utc_now) -> int:
    """Remove final records that are older than the retention, for at most ``MAX_DURATION``; parked ones stay.

    :raises JournalUnavailable: the journal does not answer.
    """
    ends_at = clock() + MAX_DURATION
    purged = 0
    while clock() < ends_at:
        batch = journal.purge(retention, batch_records)
        purged += batch
        if batch < batch_records:
            break
    _log.info("%d journal records older than %g days were purged", purged, retention.days)
    return purged
