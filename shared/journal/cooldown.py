"""Cooldowns: at most one run per window of a route, though many occurrences ask for one at once.

A window is a record too, in a partition of its own, that names its holder: the occurrence whose run it is for. What
the window means follows from the holder's own record, so nothing has to be given back: a holder that was parked or
released no longer holds anything. While a holder is still at work, the others wait, rather than be suppressed for a run
that may never be queued.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from shared.clock import Clock, utc_now
from shared.journal.records import NO_EVENT, JournalKey, Record, State, Store

MAX_COOLDOWN: Final = timedelta(days=30)
"""Windows are purged with the journal's other records, so a cooldown must be shorter than those are kept."""

PARTITION_PREFIX: Final = "$cooldown."
_MAX_TRIES: Final = 4


class Window(NamedTuple):
    """A route's window.

    :param key: names what has a window of its own, for example a dataset; usually empty: one window for the route.
    """

    key: str
    length: timedelta


@dataclass(frozen=True, slots=True)
class Covered:
    """Another occurrence's run covers this one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """Another occurrence holds the window, and whether it will have a run is not known yet."""

    reason: str


class Cooldowns:
    """Windows in a journal's store. Safe for many threads, processes and machines, as the store is."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._clock = clock

    def enter(self, holder: JournalKey, window: Window) -> Covered | Undecided | None:
        """Enter the window. None: it is the caller's now, and the run may be queued.

        :param holder: the caller's own record, which it has claimed.
        :raises JournalUnavailable: the store does not answer.
        """
        key = _window_key(holder, window)
        for _ in range(_MAX_TRIES):
            now = self._clock()
            mine = _window_record(key, holder, now)
            if self._store.insert(mine) is not None:
                return None
            found = self._store.get(key)
            if found is None:
                continue
            answer = self._standing(found, holder, window, now)
            if answer is not None:
                return answer
            # Written even if it is ours already: an occurrence that has just seen us released may be taking it over.
            if self._store.replace(replace(mine, version=found.version)) is not None:
                return None
        return Undecided("other occurrences are entering the cooldown window at the same time")

    def look(self, holder: JournalKey, window: Window) -> Covered | Undecided | None:
        """Return what keeps an occurrence from entering the window now, or None. Changes nothing.

        :raises JournalUnavailable: the store does not answer.
        """
        found = self._store.get(_window_key(holder, window))
        return None if found is None else self._standing(found, holder, window, self._clock())

    def _standing(self, found: Record, holder: JournalKey, window: Window, now: datetime) -> Covered | Undecided | None:
        """Return what the window's present holder means for the caller; None if the window is free."""
        ends_at = found.claimed_at + window.length
        if found.document == holder.key or now >= ends_at:
            return None
        other = self._store.get(JournalKey(holder.route, found.document))
        if other is None or other.state in {State.PARKED, State.RELEASED, State.SUPPRESSED}:
            return None
        if other.state is State.QUEUED:
            return Covered(
                f"run {other.run_id} was queued within this cooldown, which ends at {ends_at:%Y-%m-%d %H:%M:%S} UTC"
            )
        return Undecided(f"another occurrence ({found.document[:12]}) holds the cooldown window and is at work")


def _window_key(holder: JournalKey, window: Window) -> JournalKey:
    return JournalKey(PARTITION_PREFIX + holder.route, sha256(window.key.encode(errors="replace")).hexdigest())


def _window_record(key: JournalKey, holder: JournalKey, now: datetime) -> Record:
    # Final, so that it is purged with the rest, long after it has ended.
    return Record(key, State.QUEUED, NO_EVENT, claimed_at=now, lease_until=now, settled_at=now, document=holder.key)
