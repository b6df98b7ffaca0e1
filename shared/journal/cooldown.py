"""Cooldowns: at most one run per window of a route, even if many occurrences ask for one at once.

A window is a record too, in a partition of its own. It names its holder: the occurrence whose run opened the window.
The holder's own record determines what the window means for others. A holder that was parked or released no longer
blocks the window, so a window does not have to be released explicitly. While the holder's outcome is open, other
occurrences are deferred and not suppressed, because the holder's run may never be queued.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from shared.clock import Clock, utc_now
from shared.journal.records import NO_EVENT, JournalKey, Record, State, Store

MAX_COOLDOWN: Final = timedelta(days=30)
"""Windows are purged like other records, so a cooldown must be shorter than the journal's retention."""

PARTITION_PREFIX: Final = "$cooldown."
_MAX_TRIES: Final = 4


class Window(NamedTuple):
    """A cooldown window of a route.

    :param key: names what the window is for, for example a dataset; usually empty, for one window for the whole route.
    """

    key: str
    length: timedelta


class Covered(NamedTuple):
    """The run of another occurrence covers this one."""

    reason: str


class Undecided(NamedTuple):
    """Another occurrence holds the window, and it is not known yet whether it gets a run."""

    reason: str


class Cooldowns:
    """The windows in a journal's store. Safe for many threads, processes and machines, like the store."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._clock = clock

    def enter(self, holder: JournalKey, window: Window) -> Covered | Undecided | None:
        """Enter the window for a record. Return None if the record now holds the window, so its run may be queued.

        :param holder: the key of the record, which the caller has claimed.
        :raises JournalUnavailable: the store does not answer.
        """
        key = _window_key(holder, window)
        for _ in range(_MAX_TRIES):
            now = self._now()
            mine = _window_record(key, holder, now)
            if self._store.insert(mine) is not None:
                return None
            found = self._store.get(key)
            if found is None:
                continue
            answer = self._obstacle(found, holder, window, now)
            if answer is not None:
                return answer
            # Write it even if we hold it already: another occurrence may have read our record while it was released,
            # and may be about to take over the window.
            if self._store.replace(mine._replace(version=found.version)) is not None:
                return None
        return Undecided("other occurrences are entering the cooldown window at the same time")

    def peek(self, holder: JournalKey, window: Window) -> Covered | Undecided | None:
        """Return what currently prevents the occurrence from entering the window, or None. Changes nothing.

        :raises JournalUnavailable: the store does not answer.
        """
        found = self._store.get(_window_key(holder, window))
        return None if found is None else self._obstacle(found, holder, window, self._now())

    def _now(self) -> datetime:
        """Return the store's time."""
        return self._store.clock_offset() + self._clock()

    def _obstacle(self, found: Record, holder: JournalKey, window: Window, now: datetime) -> Covered | Undecided | None:
        """Return what the current holder of the window means for this one; None if the window is free.

        A window that does not name a key, because another program has changed it, is free.
        """
        ends_at = found.claimed_at + window.length
        is_key = found.document.isascii() and found.document.isalnum()
        if not is_key or found.document == holder.key or now >= ends_at:
            return None
        other = self._store.get(JournalKey(holder.route, found.document))
        if other is None or other.state in {State.PARKED, State.RELEASED, State.SUPPRESSED}:
            return None
        if other.state is State.QUEUED:
            return Covered(
                f"run {other.run_id} was queued within this cooldown, which ends at {ends_at:%Y-%m-%d %H:%M:%S} UTC"
            )
        return Undecided(f"another occurrence ({found.document[:12]}) holds the cooldown window and has no outcome yet")


def _window_key(holder: JournalKey, window: Window) -> JournalKey:
    return JournalKey(PARTITION_PREFIX + holder.route, sha256(window.key.encode(errors="replace")).hexdigest())


def _window_record(key: JournalKey, holder: JournalKey, now: datetime) -> Record:
    # A final state, so that the record is purged like others, long after the window has ended.
    return Record(key, State.QUEUED, NO_EVENT, claimed_at=now, lease_until=now, settled_at=now, document=holder.key)
