"""The journal: what happened to each occurrence on each route, so that each queues its pipeline exactly once.

Event Grid delivers at least once, in any order, sometimes twice at the same instant; Azure DevOps' run API has no
idempotency key. So a delivery first claims the occurrence's record, and only the holder of the claim may send.

The state machine::

                 ┌───────── released ◀──────────┐  surely nothing queued: the next delivery claims it again
                 ▼                              │
    (none) ──▶ claimed ────────────▶ queued     │  the run is known                          (final)
                 │ │ ├──────────────▶ suppressed│  inside another occurrence's cooldown      (final)
                 │ │ └──────────────▶ parked    │  refused for good, kept with its reason    (final)
                 │ └────────────────────────────┘
                 │  the answer was lost, or the lease lapsed with the holder silent
                 ▼
             uncertain ─────────────▶ any of these, once it is known whether a run exists

- Every write after the claim carries the version that its writer last wrote or read, and fails if the record has
  moved on (``ClaimLost``). A worker that has lost its claim can change nothing.
- ``uncertain`` never goes to ``claimed``: the delivery that takes it over looks in Azure DevOps before it sends.
- A record is not taken over before it has settled: a lost request may still be under way at the server.
- Final records stay as they are, except parked ones that an operator redrives (``shared/redrive.py``).

Tasks that wait for a run (``shared/waits``) are records too. They begin as ``waiting``, which can be claimed as
``released`` can: nothing was sent. They end as ``completed`` or ``closed``. ``noted`` stores a fact; no work
is attached.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

from shared.clock import Clock, utc_now
from shared.errors import ClaimLost, JournalUnavailable
from shared.journal.records import (
    FINAL_STATES,
    MAX_HISTORY,
    NO_EVENT,
    NOTHING_SENT,
    Entry,
    JournalKey,
    Record,
    Selection,
    State,
    Step,
    Store,
    why_not_yet,
)

# Each further try means that another delivery of the same key wrote in between; it is busy with it, so we let it.
_MAX_CLAIM_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Mine:
    """The record is claimed: its holder may act, until ``record.lease_until``.

    :param lost_until: a request may have been carried out before, at this time at the latest, so look in Azure DevOps
        before sending one; None if nothing can have been sent.
    """

    record: Record
    lost_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """Another delivery is at work on the record, or a lost request has not settled: try again later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The record is final: nothing is left to do."""

    record: Record


Claim = Mine | NotYet | Done


class _Lease(TypedDict):
    """How long only the holder of a claim may act, and when a request that it loses has settled."""

    lease_until: datetime
    settled_at: datetime


class Journal:
    """The state machine over a store. Safe for many threads, processes and machines, as the store is."""

    def __init__(
        self, store: Store, *, lease_seconds: float = 60, settle_seconds: float = 30, clock: Clock = utc_now
    ) -> None:
        """
        :param lease_seconds: how long a claim protects its holder; longer than a delivery may take.
        :param settle_seconds: how long a lost request may still be under way at the server.
        """
        self._store = store
        self._lease = timedelta(seconds=lease_seconds)
        self._settle = timedelta(seconds=settle_seconds)
        self._clock = clock

    def claim(self, key: JournalKey, entry: Entry, send_by: datetime) -> Claim:
        """Claim an occurrence, so that only the caller acts on it.

        :param send_by: the claimer promises to begin no request after this.
        :raises JournalUnavailable: the store does not answer.
        """
        for _ in range(_MAX_CLAIM_TRIES):
            now = self._clock()
            fresh = self._fresh(key, entry, now, send_by)
            if (written := self._store.insert(fresh)) is not None:
                return Mine(written)
            found = self._store.get(key)
            if found is not None and (claim := self._claim_found(found, fresh, now, send_by)) is not None:
                return claim
        return NotYet("other deliveries of the same event are quicker")

    def take(self, record: Record, send_by: datetime) -> Claim:
        """Claim an existing record as ``claim`` does, but never create one.

        :param record: as it was read.
        :param send_by: the claimer promises to begin no request after this.
        :raises JournalUnavailable: the store does not answer.
        """
        found: Record | None = record
        for _ in range(_MAX_CLAIM_TRIES):
            if found is None:
                return NotYet("its record has been removed meanwhile")
            now = self._clock()
            fresh = replace(self._fresh(found.key, found.entry, now, send_by), document=found.document)
            if (claim := self._claim_found(found, fresh, now, send_by)) is not None:
                return claim
            found = self._store.get(record.key)
        return NotYet("others at work on the same record are quicker")

    def write_once(self, key: JournalKey, state: State, document: str) -> Record:
        """Write a record without claiming it, and return what is stored: this record, or the one that was there.

        :raises JournalUnavailable: the store does not answer.
        """
        now = self._clock()
        history = (Step(now, state, ""),)
        fresh = Record(key, state, NO_EVENT, now, now, now, history=history, document=document)
        for _ in range(_MAX_CLAIM_TRIES):
            stored = self._store.insert(fresh) or self._store.get(key)
            if stored is not None:
                return stored
        raise JournalUnavailable(f"the record {key.key[:12]} of {key.route} comes and goes; try again")

    def _claim_found(self, found: Record, fresh: Record, now: datetime, send_by: datetime) -> Claim | None:
        """Claim a record that is there already; None if another delivery wrote in between."""
        if found.state in FINAL_STATES:
            return Done(found)
        if (reason := why_not_yet(found, now)) is not None:
            return NotYet(reason)
        if found.state in NOTHING_SENT or not (found.entry.request or found.document):
            # Surely nothing was sent: begin anew, with the request as the route makes it today.
            wanted = replace(fresh, version=found.version, history=(*found.history, *fresh.history)[-MAX_HISTORY:])
        else:
            # The request that may have been sent stays: it is the one to look for.
            wanted = self._step(found, State.UNCERTAIN, now, "taken over", **self._lease_of(now, send_by))
        written = self._store.replace(wanted)
        lost_until = found.settled_at if wanted.state is State.UNCERTAIN else None
        return None if written is None else Mine(written, lost_until)

    def complete(self, record: Record, run_id: int, run_url: str, note: str = "") -> Record:
        """Finish a record whose run is known.

        :raises ClaimLost: another delivery has taken the record over.
        :raises RunAlreadyOwned: another record of the route has this run.
        """
        now = self._clock()
        changes = {"run_id": run_id, "run_url": run_url, "reason": note}
        return self._write(self._step(record, State.QUEUED, now, note or f"run {run_id}", **changes))

    def release(self, record: Record, reason: str) -> Record:
        """Release a claim after which surely nothing was queued; the next delivery may claim the record again.

        :raises ClaimLost: another delivery has taken the record over.
        """
        return self._write(self._let_go(record, State.RELEASED, reason))

    def doubt(self, record: Record, reason: str, *, under_way: bool) -> Record:
        """Note that a run may have been queued; the next holder of the record must look first.

        :param under_way: a request whose answer was lost may still be at work at the server.
        :raises ClaimLost: another delivery has taken the record over.
        """
        unsure = self._let_go(record, State.UNCERTAIN, reason)
        settle = self._settle if under_way else timedelta()
        return self._write(replace(unsure, settled_at=unsure.settled_at + settle))

    def park(self, record: Record, reason: str) -> Record:
        """Park what was refused for good. Event, request and reason are kept until an operator redrives them.

        :raises ClaimLost: another delivery has taken the record over.
        """
        return self._write(self._let_go(record, State.PARKED, reason))

    def suppress(self, record: Record, reason: str) -> Record:
        """Finish a record that another occurrence's cooldown covers.

        :raises ClaimLost: another delivery has taken the record over.
        """
        return self._write(self._let_go(record, State.SUPPRESSED, reason))

    def finish(self, record: Record, state: State, reason: str, document: str) -> Record:
        """Finish a record in any final state.

        :param state: a final one.
        :param document: what is kept from now on.
        :raises ClaimLost: another delivery has taken the record over.
        """
        return self._write(replace(self._let_go(record, state, reason), document=document))

    def reopen(self, record: Record, reason: str) -> Record:
        """Let a parked record be claimed once more, because an operator asked for it.

        :raises ClaimLost: another redrive has reopened it since it was read.
        :raises ValueError: it is not parked.
        """
        if record.state is not State.PARKED:
            raise ValueError(f"the record {record.key.key[:12]} is {record.state}; only parked ones can be redriven")
        return self._write(self._let_go(record, State.RELEASED, reason))

    def get(self, key: JournalKey) -> Record | None:
        """Read a record; None if there is none."""
        return self._store.get(key)

    def select(self, selection: Selection, limit: int) -> Iterator[Record]:
        """Return at most ``limit`` records that match, in no particular order."""
        return self._store.select(selection, limit)

    def forget(self, record: Record) -> bool:
        """Remove a record that has not changed since it was read, and return whether it was removed."""
        return self._store.delete(record)

    def owned_runs(self, route: str, run_ids: Iterable[int]) -> set[int]:
        """Return those of the runs that a record of the route owns."""
        return self._store.owned_runs(route, run_ids)

    def owner(self, route: str, run_id: int) -> Record | None:
        """Return the record of the route that owns this run."""
        return self._store.owner(route, run_id)

    def _write(self, record: Record) -> Record:
        written = self._store.replace(record)
        if written is None:
            raise ClaimLost(
                f"the record {record.key.key[:12]} of route {record.key.route} has been taken over by another delivery"
            )
        return written

    def _fresh(self, key: JournalKey, entry: Entry, now: datetime, send_by: datetime) -> Record:
        first = Step(now, State.CLAIMED, "")
        return Record(key, State.CLAIMED, entry, now, **self._lease_of(now, send_by), history=(first,))

    def _lease_of(self, now: datetime, send_by: datetime) -> "_Lease":
        # The holder may begin a request until send_by, so the fate of a lost one is known settle_seconds after that.
        return {"lease_until": now + self._lease, "settled_at": max(now, send_by) + self._settle}

    def _let_go(self, record: Record, state: State, reason: str) -> Record:
        now = self._clock()
        return self._step(record, state, now, reason, reason=reason, lease_until=now, settled_at=now)

    @staticmethod
    def _step(record: Record, state: State, at: datetime, note: str, **changes: Any) -> Record:
        """Return the record as it is after one change."""
        history = (*record.history, Step(at, state, note))[-MAX_HISTORY:]
        return replace(record, state=state, history=history, **changes)
