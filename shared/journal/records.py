"""The records of the journal, and the interface of a store that keeps them."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from shared.errors import UnreadableRecord
from shared.logs import logger

WAIT_PREFIX: Final = "$wait."
"""Begins the partitions of the records of waiting tasks; see ``shared/waits/wait.py``."""
ORPHANS: Final = "$orphans"
"""The partition of second runs of events; see ``shared/queueing/orphans.py``."""
UNROUTED: Final = "$unrouted"
"""The partition for events for which no route could be evaluated. No route can have this name."""

MAX_HISTORY: Final = 20

Skipped = Callable[[UnreadableRecord], None]
"""Is told of each record that is skipped because it cannot be read."""

_CUT: Final = "... [cut by the journal: "
_MAX_REMARK: Final = 100

_log = logger("nextstage.journal")


class State(StrEnum):
    """The state of a record; see the diagram in ``shared/journal/journal.py``."""

    CLAIMED = "claimed"
    UNCERTAIN = "uncertain"
    RELEASED = "released"
    QUEUED = "queued"
    SUPPRESSED = "suppressed"
    GATHERED = "gathered"
    PARKED = "parked"
    WAITING = "waiting"
    COMPLETED = "completed"
    CLOSED = "closed"
    NOTED = "noted"


PURGED_STATES: Final = frozenset(
    {State.QUEUED, State.SUPPRESSED, State.GATHERED, State.COMPLETED, State.CLOSED, State.NOTED}
)
FINAL_STATES: Final = PURGED_STATES | {State.PARKED}
NOTHING_SENT: Final = frozenset({State.RELEASED, State.WAITING})
OPEN_STATES: Final = frozenset(State) - FINAL_STATES
RUN_UNKNOWN: Final = frozenset({State.CLAIMED, State.UNCERTAIN, State.PARKED})
"""The states of records that may have a run which they do not name."""


class JournalKey(NamedTuple):
    """Identifies a record.

    :param route: the name of the route, which is also the partition of its records.
    :param key: SHA-256 hash, in hex, of what identifies the occurrence on this route.
    """

    route: str
    key: str

    @property
    def is_about_event(self) -> bool:
        """Whether the record is about an event.

        The partitions of other records start with ``$``; route names cannot. Of those that have to be in the partition
        of a route, the keys do.
        """
        return self.route == UNROUTED or not (self.route.startswith("$") or self.key.startswith("$"))


class Entry(NamedTuple):
    """What the journal stores about an event and the request for its run.

    :param request: ``RunRequest.to_json()``, or empty if no request could be built.
    """

    event_id: str
    event_type: str
    subject: str
    event: str
    request: str = ""


NO_EVENT: Final = Entry("", "", "", "")
"""The entry of records that are not about an event."""


class Step(NamedTuple):
    """One change of a record: when, to which state, and why."""

    at: datetime
    state: State
    note: str


class Gathered(NamedTuple):
    """The period in which a route has gathered events for one run; see ``shared/resume/period.py``.

    :param into: the key of the run's record, which is written when the period ends.
    :param events: how many events were gathered; in the record of an event, up to and including this one.
    :param since: when the period began.
    :param group: the key of the record that counts the events.
    """

    into: str
    events: int
    since: datetime
    group: str


class Record(NamedTuple):
    """One occurrence on one route, or a cooldown window, or a fact about waiting tasks.

    :param entry: the event, or ``NO_EVENT`` if the record is about something else. ``document`` then describes it.
    :param claimed_at: no request was sent before this time.
    :param lease_until: until this time, only the holder of the claim may act.
    :param settled_at: after this time, the server no longer works on a lost request.
    :param version: identifies this write; opaque, made by the store.
    :param history: the first change and the most recent ones, oldest first, at most ``MAX_HISTORY``.
    :param document: the content of a record that is not about an event, in its owner's format. Empty for events.
    :param lost_until: a lost request was not carried out after this time. None in records of before.
    :param searched_until: no build that was queued before this time can be the record's run. None if unknown.
    :param sender: the fingerprint of the credential that sent the request. Empty if unknown.
    :param shares_run_id: another record names a run with the same id, because Azure DevOps started its ids again.
    :param routes: the digest of the routes.yaml that decided about the event. Empty in records of earlier versions.
    :param gathered: the period of an event that was gathered, of the run for such events, and of the record that counts
        them; None for others.
    """

    key: JournalKey
    state: State
    entry: Entry
    claimed_at: datetime
    lease_until: datetime
    settled_at: datetime
    version: str = ""
    run_id: int | None = None
    run_url: str = ""
    reason: str = ""
    history: tuple[Step, ...] = ()
    document: str = ""
    lost_until: datetime | None = None
    searched_until: datetime | None = None
    sender: str = ""
    shares_run_id: bool = False
    routes: str = ""
    gathered: Gathered | None = None

    @property
    def changed_at(self) -> datetime:
        """The time of the last change."""
        return self.history[-1].at if self.history else self.claimed_at

    @property
    def may_have_orphans(self) -> bool:
        """Whether there can be second runs of its event: the answer to a request was lost."""
        return any(step.state is State.UNCERTAIN for step in self.history)


class Selection(NamedTuple):
    """Selects the records that match all of its parts.

    :param route: only records of this route; None for all routes.
    :param states: only records in one of these states; empty for all states.
    :param claimed_before: only records claimed before this time; None for all.
    :param route_prefix: only records of routes whose names start with this; None for all routes.
    :param after: only records whose keys sort after this one. They are then returned in the order of their keys.
    :param written_since: all records that were written at or after this time, by the store's clock. A store that does
        not keep the times of writes returns all others, too.
    """

    route: str | None = None
    states: frozenset[State] = frozenset()
    claimed_before: datetime | None = None
    route_prefix: str | None = None
    after: JournalKey | None = None
    written_since: datetime | None = None


def after_prefix(prefix: str) -> str:
    """Return the first string, in sort order, after all strings with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def log_skipped(unreadable: UnreadableRecord) -> None:
    """Log that a record is skipped."""
    _log.warning("%s", unreadable)


class Store(Protocol):
    """Keeps records. Each method is one atomic step and raises JournalUnavailable if the store does not answer.

    Methods that return a record raise UnreadableRecord if it cannot be read.
    """

    def clock_offset(self) -> timedelta:
        """Return how far the store's clock is ahead of this process's; a request is sent if no answer has shown it.

        All processes that share a store compare times by the store's clock.
        """

    def insert(self, record: Record) -> Record | None:
        """Write a new record and return it with its version. Return None if there is a record with its key."""

    def get(self, key: JournalKey) -> Record | None:
        """Return a record, or None if there is none."""

    def replace(self, record: Record) -> Record | None:
        """Write a record if the stored version is ``record.version``, and return it with its new version; else None.

        :raises RunAlreadyOwned: the run belongs to another record of the route, and neither shares its id.
        """

    def write_together(self, records: Sequence[Record]) -> bool:
        """Write all of these records or none, and return whether they were written.

        A record without a version must be new; of another one, the stored version must be ``record.version``. All have
        the same route, and none names a run. If the answer was lost, False is returned for records that were written
        and of which the first has changed since.
        """

    def may_own(self, run_ids: Iterable[int]) -> Iterator[Record]:
        """Return the records about events, of all routes, to which one of these runs may belong, in no order.

        These are the records that name one of the runs, and those in ``RUN_UNKNOWN``. If one of them cannot be read,
        its run could be taken for another record's, so UnreadableRecord is raised.
        """

    def select(self, selection: Selection, limit: int, skipped: Skipped = log_skipped) -> Iterator[Record]:
        """Return at most ``limit`` records that match. Skip those that cannot be read.

        They are in no particular order, except with ``selection.after``.
        """

    def delete(self, record: Record) -> bool:
        """Remove a record if the stored version is ``record.version``, and return whether it was removed."""

    def close(self) -> None:
        """Close the connections that are open. The store opens new ones when it needs them."""


def may_own_one_of(record: Record, run_ids: Collection[int]) -> bool:
    """Return whether a record is one of those that ``Store.may_own`` returns."""
    return record.key.is_about_event and (record.state in RUN_UNKNOWN or record.run_id in run_ids)


def cut_remark(kept_bytes: int, all_bytes: int) -> str:
    """Return the end of a string of which a store keeps only the beginning."""
    return f"{_CUT}{kept_bytes} of {all_bytes} bytes are kept]"


def is_cut(text: str) -> bool:
    """Return whether a store has kept only the beginning of the string."""
    return _CUT in text[-_MAX_REMARK:]


def may_be_set_aside(record: Record, event_id: str) -> bool:
    """Return whether a delivery of this event may claim the record of another event with the same identity.

    A refusal must not silence another event. If a run may exist, only a redrive can tell, so the record keeps its key.
    """
    is_refused = record.state is State.PARKED and record.key.is_about_event and record.entry.event_id != event_id
    return is_refused and all(step.state is not State.UNCERTAIN for step in record.history)


def key_aside(record: Record) -> JournalKey:
    """Return the key under which a parked record is kept after another event has claimed its key."""
    named = json.dumps([record.key.key, record.entry.event_id])
    return JournalKey(record.key.route, sha256(named.encode()).hexdigest())


def why_not_yet(record: Record, now: datetime) -> str | None:
    """Return why a record that is not final cannot be claimed or taken over now, or None if it can."""
    if record.state in NOTHING_SENT:
        return None
    if now < record.lease_until:
        return f"another delivery holds the claim until {record.lease_until:%H:%M:%S} UTC"
    if now < record.settled_at:
        return f"a request whose answer was lost may still be in progress until {record.settled_at:%H:%M:%S} UTC"
    return None
