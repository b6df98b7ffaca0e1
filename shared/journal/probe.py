"""Tries a journal's store for real: writes a record, reads it, and removes it again. Nothing of it is left."""

import os
from typing import Final

from shared.clock import utc_now
from shared.errors import JournalUnavailable
from shared.journal.records import NO_EVENT, JournalKey, Record, State, Step, Store

ROUTE: Final = "$doctor"
"""The probe's partition; no route can have this name."""

PROBED: Final = "a record was written, read and removed"


def probe_store(store: Store) -> str:
    """Return what was done, in words.

    :raises JournalUnavailable: the store does not answer, or not as it should.
    """
    written = store.insert(probe_record())
    if written is None:
        raise JournalUnavailable("the probe's key is taken, which cannot be; try again")
    try:
        found = store.get(written.key)
    finally:
        is_removed = store.delete(written)
    if found is None or found.document != written.document:
        raise JournalUnavailable("the journal does not give back what was written; is it another application's table?")
    if not is_removed:
        raise JournalUnavailable(
            f"the probe's record is left behind under the route {ROUTE}; 'manage.py journal' shows it"
        )
    return PROBED


def probe_record() -> Record:
    """Return a record that the nightly purge would take away, should the process die before it can."""
    now = utc_now()
    return Record(
        key=JournalKey(ROUTE, os.urandom(32).hex()),
        state=State.SUPPRESSED,
        entry=NO_EVENT,
        claimed_at=now,
        lease_until=now,
        settled_at=now,
        reason="a probe of manage.py doctor",
        history=(Step(now, State.SUPPRESSED, "a probe of manage.py doctor"),),
        document=os.urandom(16).hex(),
    )
