"""Removes old records from the journal, in batches and within a time limit."""

from datetime import timedelta
from typing import Final

from shared.clock import Clock, utc_now
from shared.journal.journal import Journal
from shared.journal.records import PURGED_STATES, Selection
from shared.logs import logger

BATCH_RECORDS: Final = 200
# A timer function occupies a thread; what is left is done the next time.
MAX_DURATION: Final = timedelta(seconds=40)

_log = logger("nextstage.purge")


def purge(journal: Journal, retention: timedelta, *, batch_records: int = BATCH_RECORDS, clock: Clock = utc_now) -> int:
    """Remove final records whose last change is older than the retention, for at most ``MAX_DURATION``.

    Parked records stay. A record is claimed before its last change, so the store can select by the claim.

    :raises JournalUnavailable: the journal does not answer.
    """
    now = clock()
    before = now - retention
    claimed_long_ago = Selection(states=PURGED_STATES, claimed_before=before)
    purged = kept = 0
    while clock() < now + MAX_DURATION:
        limit = batch_records + kept  # the store may return the kept ones again
        found = list(journal.select(claimed_long_ago, limit))
        old = [record for record in found if record.changed_at < before]
        removed = sum(map(journal.forget, old))
        purged += removed
        kept = len(found) - len(old)
        if len(found) < limit or removed < len(old):  # there are no more, or another instance is purging too
            break
    _log.info("purged %d journal records older than %g days", purged, retention.days)
    return purged
