"""When a deferred record is taken up again. Pure.

- Azure DevOps asked for a pause: when the pause ends. The relay has spread the events that wait for its end. Waiting
  tasks and orphans, of which there are few, are spread here.
- Another worker holds the claim, or a lost request may be in progress: when the record can be taken over.
- In any case after a random time of up to half of the time since the first attempt has failed, unless there is a pause.
  So what waits for the end of an outage comes at most half of its length after it.
"""

from datetime import datetime, timedelta
from typing import Final

from shared.journal.records import NOTHING_SENT, Record, State

SHORTEST: Final = timedelta(seconds=5)
LONGEST: Final = timedelta(minutes=15)
LONGEST_PAUSE: Final = timedelta(days=1)
"""A longer pause is asked for again."""

_CLOCK_ERROR: Final = timedelta(seconds=1)
"""By how much two processes may disagree on the store's time."""

_FAILED: Final = frozenset({State.RELEASED, State.UNCERTAIN})


def wait_of(record: Record, now: datetime, pause_seconds: float | None, luck: float) -> timedelta:
    """Return how long to wait before a deferred record is tried again.

    :param now: the store's time.
    :param pause_seconds: how long to wait, if that is known; spread already for the record of an event, and
        exact for the end of a period.
    :param luck: a random number from 0 to 1, which spreads the other records.
    """
    claimable_in = timedelta()
    if record.state not in NOTHING_SENT:
        claimable_in = max(record.lease_until, record.settled_at) - now
        if claimable_in > timedelta():
            claimable_in += _CLOCK_ERROR
    if pause_seconds is not None:
        pause = min(timedelta(seconds=pause_seconds), LONGEST_PAUSE)
        is_exact = record.key.is_about_event or record.gathered is not None
        spread = timedelta() if is_exact else luck * max(SHORTEST, pause / 2)
        return max(pause, claimable_in) + spread
    first_failure = min((step.at for step in record.history if step.state in _FAILED), default=now)
    limit = min(max(2 * SHORTEST, (now - first_failure) / 2), LONGEST)
    return max(claimable_in, SHORTEST + luck * (limit - SHORTEST))


def is_given_up(record: Record, now: datetime, give_up: timedelta) -> bool:
    """Return whether a record has been tried for too long."""
    return now - first_seen(record) > give_up


def first_seen(record: Record) -> datetime:
    """Return the time of the first entry in the record's history, which may have lost earlier ones."""
    return min([record.claimed_at, *(step.at for step in record.history)])
