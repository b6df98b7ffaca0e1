"""Tests a journal's store: writes a record, reads it and removes it again."""

import os
from datetime import timedelta
from typing import Final, NamedTuple

from shared.clock import utc_now
from shared.errors import JournalUnavailable
from shared.journal.records import NO_EVENT, JournalKey, Record, State, Step, Store

ROUTE: Final = "$doctor"
"""The partition of the probe's record. No route can have this name."""

PROBED: Final = "a record was written, read and removed"


class Probe(NamedTuple):
    """The result of a successful test.

    :param done: what was done, in words.
    :param clock_offset: how far the store's clock is ahead of this process's.
    """

    done: str
    clock_offset: timedelta


def probe_store(store: Store) -> Probe:
    """Test the store.

    :raises JournalUnavailable: the store does not answer, or not as expected.
    """
    written = store.insert(probe_record())
    if written is None:
        raise JournalUnavailable("the journal has a record under the probe's random key already; try again")
    try:
        found = store.get(written.key)
    finally:
        is_removed = store.delete(written)
    if found is None or found.document != written.document:
        raise JournalUnavailable(
            "the journal does not return what was written; check that no other application uses its table"
        )
    if not is_removed:
        raise JournalUnavailable(
            f"the probe's record could not be removed from the route {ROUTE}; 'manage.py journal' shows it"
        )
    return Probe(PROBED, store.clock_offset())


def probe_record() -> Record:
    """Return a record that the nightly purge removes later if this process dies before it can."""
    now = utc_now()
    return Record(
        key=JournalKey(ROUTE, os.urandom(32).hex()),
        state=State.SUPPRESSED,
        entry=NO_EVENT,
        claimed_at=now,
        lease_until=now,
        settled_at=now,
        reason="probe by manage.py doctor",
        history=(Step(now, State.SUPPRESSED, "probe by manage.py doctor"),),
        document=os.urandom(16).hex(),
    )
