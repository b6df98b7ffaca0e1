"""What the journal keeps of each occurrence on each route, and what it requires of a store."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

UNROUTED: Final = "$unrouted"
"""The journal's partition for events that no route could be asked about; no route can have this name."""

MAX_HISTORY: Final = 20


class State(StrEnum):
    """The state of a record; see the picture in ``shared/journal/journal.py``."""

    CLAIMED = "claimed"
    UNCERTAIN = "uncertain"
    RELEASED = "released"
    QUEUED = "queued"
    SUPPRESSED = "suppressed"
    PARKED = "parked"
    WAITING = "waiting"
    COMPLETED = "completed"
    CLOSED = "closed"
    NOTED = "noted"


PURGED_STATES: Final = frozenset({State.QUEUED, State.SUPPRESSED, State.COMPLETED, State.CLOSED, State.NOTED})
FINAL_STATES: Final = PURGED_STATES | {State.PARKED}
NOTHING_SENT: Final = frozenset({State.RELEASED, State.WAITING})


class JournalKey(NamedTuple):
    """Identifies a record.

    :param route: the route's name; a route's records share a partition.
    :param key: SHA-256, in hex, of what identifies the occurrence on this route.
    """

    route: str
    key: str

    @property
    def is_of_event(self) -> bool:
        """Whether the record is about an event. Partitions of other records begin with ``$``, as no route may."""
        return self.route == UNROUTED or not self.route.startswith("$")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of an event and the request it asks for.

    :param request: ``RunRequest.to_json()``, or empty if no request could be made.
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


@dataclass(frozen=True, slots=True)
class Record:
    """One occurrence on one route; or a cooldown window, or something kept for tasks that wait.

    :param entry: the event; ``NO_EVENT`` if the record is about something else, which ``document`` then describes.
    :param claimed_at: no request was sent before this time.
    :param lease_until: until this time only the holder of the claim may act.
    :param settled_at: after this time a lost request is no longer under way.
    :param version: the store's mark of this very write; opaque.
    :param history: the last changes, oldest first, at most ``MAX_HISTORY``.
    :param document: what a record that is not about an event keeps; its owner knows the format. Empty for events.
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


def from_earlier_form(key: JournalKey, entry: Entry) -> tuple[Entry, str]:
    """Return entry and document of a record that was stored before records had a document.

    Such a record kept its document in a field of an event: a wait and the end of a run in ``request``, the run of a
    task in ``subject``, a cooldown window's holder in ``event_id``.
    """
    if key.is_of_event:
        return entry, ""
    return NO_EVENT, entry.request or entry.subject or entry.event_id


class Selection(NamedTuple):
    """Selects the records that match every part that is given.

    :param route: of this route only; None for all routes.
    :param route_prefix: of routes whose names begin so; None for all.
    :param states: in one of these states; empty for all.
    :param claimed_before: claimed before this moment.
    """

    route: str | None = None
    states: frozenset[State] = frozenset()
    claimed_before: datetime | None = None
    route_prefix: str | None = None


def after_prefix(prefix: str) -> str:
    """Return the least string that sorts after every string with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Store(Protocol):
    """Keeps records. Each method is one atomic step and raises JournalUnavailable if the store does not answer."""

    def insert(self, record: Record) -> Record | None:
        """Write a new record and return it with its version; None if its key is taken."""

    def get(self, key: JournalKey) -> Record | None:
        """Read a record; None if there is none."""

    def replace(self, record: Record) -> Record | None:
        """Write a record if it is stored in ``record.version``, and return it with its new one; None if it is not.

        :raises RunAlreadyOwned: another record of the route has this run id.
        """

    def owned_runs(self, route: str, run_ids: Iterable[int]) -> set[int]:
        """Return those of the runs that a record of the route owns."""

    def owner(self, route: str, run_id: int) -> Record | None:
        """Return the record of the route that owns this run."""

    def select(self, selection: Selection, limit: int) -> Iterator[Record]:
        """Return at most ``limit`` records that match, in no particular order."""

    def delete(self, record: Record) -> bool:
        """Remove a record if it is stored in ``record.version``, and return whether it was."""


def why_not_yet(record: Record, now: datetime) -> str | None:
    """Return why a record that is not final may not be taken over now, or None."""
    if record.state in NOTHING_SENT:
        return None
    if now < record.lease_until:
        return f"another delivery is at work on it until {record.lease_until:%H:%M:%S} UTC"
    if now < record.settled_at:
        return f"a request whose answer was lost may be under way until {record.settled_at:%H:%M:%S} UTC"
    return None
