"""The journal: one record per occurrence and route, with which each occurrence queues its pipeline exactly once.

Event Grid delivers an event at least once, in any order, sometimes twice at the same moment. It is not proved that the
run API of Azure DevOps has an idempotency key. A delivery therefore claims the occurrence's record first, and only the
holder of the claim may send a request.

The state machine::

                 ┌───────── released ◀──────────┐  no run was queued: the next delivery claims it again
                 ▼                              │
    (none) ──▶ claimed ────────────▶ queued     │  the run is known                          (final)
                 │ │ ├──────────────▶ suppressed│  inside another occurrence's cooldown      (final)
                 │ │ └──────────────▶ parked    │  refused permanently, kept with its reason (final)
                 │ └────────────────────────────┘
                 │  the answer was lost, or the lease expired without a result
                 ▼
             uncertain ─────────────▶ any of these, once it is known whether a run exists

- All times are the store's; see ``Store.clock_offset``.
- Every write after the claim carries the version that the writer last read or wrote. It fails with ``ClaimLost`` if
  the record has changed since. A worker that has lost its claim can change nothing.
- ``uncertain`` never becomes ``claimed``: the delivery that takes it over searches Azure DevOps before it sends.
- A record is not taken over before it has settled, because the server may still be working on a lost request.
- The period in which a lost request may have been carried out is written before the request is sent. Only another
  request extends it.
- Events that a route gathers become ``gathered``, and the run for them has a record of its own (``shared/resume``).
- Final records do not change, except parked ones: an operator redrives them (``shared/redrive.py``), or another event
  with the same identity claims their key. The parked record then moves to a key of its own.

Tasks that wait for a run (``shared/waits``) are records too. They start as ``waiting``. Like ``released``, this state
can be claimed, because nothing was sent. They end as ``completed`` or ``closed``. ``noted`` stores a fact; no work is
attached.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypedDict

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
    Skipped,
    State,
    Step,
    Store,
    key_aside,
    log_skipped,
    may_be_set_aside,
    why_not_yet,
)

# Another delivery wrote the record during each of these attempts, so it is already being handled.
_MAX_CLAIM_TRIES: Final = 4

RESERVATIONS: Final = "$runs"
"""The partition of the records that reserve listed runs."""

_CLOCK_ERROR: Final = timedelta(seconds=1)
"""By how much two processes may disagree on the store's time: its Date header has no fractions of a second."""

SENT_AGAIN: Final = "no run found; the request is sent again"
"""The note in the history of a record whose request was sent more than once."""


class Claimed(NamedTuple):
    """The caller holds the claim on the record and may act until ``record.lease_until``.

    :param in_doubt: an earlier request may have been carried out, until ``record.lost_until``. The caller must search
        Azure DevOps before it sends a request.
    """

    record: Record
    in_doubt: bool = False


class NotClaimable(NamedTuple):
    """Another delivery is working on the record, or a lost request has not settled: try again later."""

    reason: str


class AlreadyFinal(NamedTuple):
    """The record is final: nothing is left to do."""

    record: Record


Claim = Claimed | NotClaimable | AlreadyFinal


class _Lease(TypedDict):
    """Until when only the holder of a claim may act, and when its last request has settled."""

    lease_until: datetime
    settled_at: datetime
    lost_until: datetime


class Journal:
    """The state machine over a store. Safe for many threads, processes and machines, like the store."""

    def __init__(
        self,
        store: Store,
        *,
        lease_seconds: float = 60,
        settle_seconds: float = 120,
        spares_others: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        """
        :param lease_seconds: how long only the holder of a claim may act. Longer than a delivery may take.
        :param clock: this process's clock, to which the store's offset is added.
        :param settle_seconds: how long the server may still be working on a request whose answer was lost.
        :param spares_others: an event does not claim the record of another event with the same identity that waits:
            that event may have been acknowledged, and then only its record knows it.
        """
        self._store = store
        self._lease = timedelta(seconds=lease_seconds)
        self._settle = timedelta(seconds=settle_seconds)
        self._spares_others = spares_others
        self._clock = clock

    def claim(
        self,
        key: JournalKey,
        entry: Entry,
        send_by: datetime,
        sender: str = "",
        routes: str = "",
        known: Record | None = None,
    ) -> Claim:
        """Claim an occurrence. Only the caller may then act on it.

        :param send_by: the caller must start no request after this time of this process's clock.
        :param sender: the fingerprint of the credential that the request will be sent with.
        :param routes: the digest of the routes.yaml that has decided.
        :param known: the record of the key as it was read, which saves looking for it.
        :raises JournalUnavailable: the store does not answer.
        """
        found = known
        for _ in range(_MAX_CLAIM_TRIES):
            now = self.now()
            fresh = self._fresh(key, entry, now, send_by, sender, routes)
            if found is None:
                if (written := self._store.insert(fresh)) is not None:
                    return Claimed(written)
                found = self._store.get(key)
            if found is not None and (claim := self._claim_found(found, fresh, now)) is not None:
                return claim
            found = None
        return NotClaimable("other deliveries of the same event keep changing its record")

    def hold(self, key: JournalKey, entry: Entry, reason: str, routes: str = "") -> Record | None:
        """Have a record that waits: write a released one if there is none, which takes one write and no claim.

        Return None if there is a record that does not wait: it is final.

        :raises JournalUnavailable: the store does not answer.
        """
        now = self.now()
        fresh = self._fresh(key, entry, now, now, "", routes)._replace(history=())
        fresh = self._unclaimed(fresh, State.RELEASED, reason)
        if (written := self._store.insert(fresh)) is not None:
            return written
        found = self._store.get(key)
        return found if found is not None and found.state not in FINAL_STATES else None

    def take(self, record: Record, send_by: datetime, sender: str = "") -> Claim:
        """Claim an existing record like ``claim``, but never create one.

        :param record: the record as it was read.
        :param send_by: the caller must start no request after this time of this process's clock.
        :raises JournalUnavailable: the store does not answer.
        """
        found: Record | None = record
        for _ in range(_MAX_CLAIM_TRIES):
            if found is None:
                return NotClaimable("its record was removed in the meantime")
            now = self.now()
            fresh = self._fresh(found.key, found.entry, now, send_by, sender, found.routes)
            fresh = fresh._replace(document=found.document)
            if (claim := self._claim_found(found, fresh, now)) is not None:
                return claim
            found = self._store.get(record.key)
        return NotClaimable("other workers keep changing the same record")

    def write_once(self, key: JournalKey, state: State, document: str) -> Record:
        """Write a record without claiming it, and return the stored one: this record, or one that already existed.

        :raises JournalUnavailable: the store does not answer.
        """
        now = self.now()
        history = (Step(now, state, ""),)
        fresh = Record(key, state, NO_EVENT, now, now, now, history=history, document=document)
        for _ in range(_MAX_CLAIM_TRIES):
            stored = self._store.insert(fresh) or self._store.get(key)
            if stored is not None:
                return stored
        raise JournalUnavailable(f"the record {key.key[:12]} of {key.route} keeps appearing and vanishing; try again")

    def note(self, key: JournalKey, document: str) -> None:
        """Write a fact in place of an earlier one. If two processes do so at the same time, one of the facts is kept.

        :raises JournalUnavailable: the store does not answer.
        """
        now = self.now()
        fresh = Record(
            key, State.NOTED, NO_EVENT, now, now, now, history=(Step(now, State.NOTED, ""),), document=document
        )
        if self._store.insert(fresh) is None and (found := self._store.get(key)) is not None:
            self._store.replace(fresh._replace(version=found.version))

    def _claim_found(self, found: Record, fresh: Record, now: datetime) -> Claim | None:
        """Claim a record that exists already. Return None if another delivery has written it in the meantime."""
        if may_be_set_aside(found, fresh.entry.event_id):
            return self._set_aside(found, fresh, now)
        if found.state in FINAL_STATES:
            return AlreadyFinal(found)
        if (reason := why_not_yet(found, now)) is not None:
            return NotClaimable(reason)
        if self._spares_others and found.entry.event_id != fresh.entry.event_id:
            return NotClaimable(f"event {found.entry.event_id} has the same identity, and comes first")
        if found.state in NOTHING_SENT or not (found.entry.request or found.document):
            # Certain that nothing was sent: start again, with the request that the route builds now.
            history = _extended(found.history, *fresh.history)
            wanted = fresh._replace(version=found.version, history=history, gathered=found.gathered)
        else:
            # Keep the request that may have been sent: it is the one to search for.
            wanted = self._step(found, State.UNCERTAIN, now, "taken over", lease_until=now + self._lease)
        written = self._store.replace(wanted)
        return None if written is None else Claimed(written, in_doubt=wanted.state is State.UNCERTAIN)

    def _set_aside(self, parked: Record, fresh: Record, now: datetime) -> Claim | None:
        """Keep a parked record under a key of its own, and claim its key for another event with the same identity.

        The copy is written first and its key follows from the event, so a crash between the two writes loses nothing.
        """
        aside = key_aside(parked)
        note = f"another event with the same identity has claimed the key {parked.key.key[:12]}: "
        note += fresh.entry.event_id
        history = _extended(parked.history, Step(now, State.PARKED, note))
        self._store.insert(parked._replace(key=aside, history=history, version=""))
        note = f"the parked event {parked.entry.event_id} is kept under {aside.key[:12]}"
        first = fresh.history[0]._replace(note=note)
        written = self._store.replace(fresh._replace(version=parked.version, history=(first,)))
        return None if written is None else Claimed(written)

    def will_send(self, record: Record, send_by: datetime, sender: str = "") -> Record:
        """Write down that a request is sent again, after a search has found no run of the earlier ones.

        :raises ClaimLost: another delivery has taken over the record.
        """
        now = self.now()
        lease = self._lease_of(now, send_by) | {"lease_until": record.lease_until}
        return self._write(
            self._step(record, State.UNCERTAIN, now, SENT_AGAIN, sender=sender, searched_until=None, **lease)
        )

    def complete(
        self, record: Record, run_id: int, run_url: str, note: str = "", *, shares_run_id: bool = False
    ) -> Record:
        """Finish a record whose run is known.

        :param shares_run_id: another record names a run with this ID too; it is not checked.
        :raises ClaimLost: another delivery has taken over the record.
        :raises RunAlreadyOwned: the run belongs to another record of the route.
        """
        now = self.now()
        changes = {"run_id": run_id, "run_url": run_url, "reason": note, "shares_run_id": shares_run_id}
        return self._write(self._step(record, State.QUEUED, now, note or f"run {run_id}", **changes))

    def reserve(self, run: str, holder: JournalKey) -> bool:
        """Reserve a listed run for a record, and return whether it is reserved for this one.

        :param run: identifies the run among those of all organizations.
        """
        key = JournalKey(RESERVATIONS, hashlib.sha256(run.encode()).hexdigest())
        return self.write_once(key, State.NOTED, json.dumps(holder)).document == json.dumps(holder)

    def fence(self, record: Record, reason: str) -> bool:
        """Take the claim from a worker whose lease has expired, and return whether that worked."""
        now = self.now()
        return self._store.replace(self._step(record, State.UNCERTAIN, now, reason, lease_until=now)) is not None

    def release(self, record: Record, reason: str) -> Record:
        """Release a claim if it is certain that no run was queued. The next delivery may claim the record again.

        :raises ClaimLost: another delivery has taken over the record.
        """
        return self._write(self._unclaimed(record, State.RELEASED, reason))

    def mark_uncertain(
        self, record: Record, reason: str, *, in_progress: bool, searched_until: datetime | None = None
    ) -> Record:
        """Record that a run may have been queued. The next holder of the record must search for it first.

        :param in_progress: whether the server may still be working on a request whose answer was lost.
        :param searched_until: no run that was queued before this time is a candidate.
        :raises ClaimLost: another delivery has taken over the record.
        """
        uncertain = self._unclaimed(record, State.UNCERTAIN, reason)
        if in_progress:
            settled_at = uncertain.settled_at + self._settle
            return self._write(uncertain._replace(settled_at=settled_at, lost_until=settled_at, searched_until=None))
        return self._write(uncertain._replace(searched_until=searched_until or record.searched_until))

    def park(self, record: Record, reason: str) -> Record:
        """Park a record that was refused permanently. Event, request and reason are kept until an operator redrives it.

        :raises ClaimLost: another delivery has taken over the record.
        """
        return self._write(self._unclaimed(record, State.PARKED, reason))

    def suppress(self, record: Record, reason: str) -> Record:
        """Finish a record that the cooldown of another occurrence covers.

        :raises ClaimLost: another delivery has taken over the record.
        """
        return self._write(self._unclaimed(record, State.SUPPRESSED, reason))

    def finish(self, record: Record, state: State, reason: str, document: str) -> Record:
        """Finish a record in any final state.

        :param state: the final state.
        :param document: replaces the record's document.
        :raises ClaimLost: another delivery has taken over the record.
        """
        return self._write(self._unclaimed(record, state, reason)._replace(document=document))

    def reopen(self, record: Record, reason: str) -> Record:
        """Release a parked record because an operator redrives it. It can then be claimed again.

        :raises ClaimLost: another redrive has reopened the record since it was read.
        :raises ValueError: the record is not parked.
        """
        if record.state is not State.PARKED:
            raise ValueError(f"the record {record.key.key[:12]} is {record.state}; only parked records can be redriven")
        return self._write(self._unclaimed(record, State.RELEASED, reason))

    @property
    def lease(self) -> timedelta:
        """How long only the holder of a claim may act."""
        return self._lease

    @property
    def settle(self) -> timedelta:
        """How long the server may still be working on a request whose answer was lost."""
        return self._settle

    def act_until(self, record: Record) -> datetime:
        """Return until when the holder of the record's claim may act, by this process's clock."""
        return self.in_local_time(record.lease_until) - _CLOCK_ERROR

    def now(self) -> datetime:
        """Return the store's time, with which all times of records are compared."""
        return self._store.clock_offset() + self._clock()

    def in_local_time(self, moment: datetime) -> datetime:
        """Return a time of the store as one of this process's clock."""
        return moment - self._store.clock_offset()

    def in_store_time(self, moment: datetime) -> datetime:
        """Return a time of this process's clock as one of the store."""
        return moment + self._store.clock_offset()

    def get(self, key: JournalKey) -> Record | None:
        """Return a record, or None if there is none."""
        return self._store.get(key)

    def select(self, selection: Selection, limit: int, skipped: Skipped = log_skipped) -> Iterator[Record]:
        """Return at most ``limit`` records that match; see ``Store.select``. Skip those that cannot be read."""
        return self._store.select(selection, limit, skipped)

    def forget(self, record: Record) -> bool:
        """Remove a record that has not changed since it was read, and return whether it was removed."""
        return self._store.delete(record)

    def write_together(self, records: Sequence[Record]) -> bool:
        """Write all of these records or none, and return whether they were written; see ``Store.write_together``."""
        return self._store.write_together(records)

    def may_own(self, run_ids: Iterable[int]) -> Iterator[Record]:
        """Return the records of all routes that name one of these runs, or whose request may have queued one."""
        return self._store.may_own(run_ids)

    def _write(self, record: Record) -> Record:
        written = self._store.replace(record)
        if written is None:
            raise ClaimLost(
                f"the record {record.key.key[:12]} of route {record.key.route} has been taken over by another delivery"
            )
        return written

    def _fresh(
        self, key: JournalKey, entry: Entry, now: datetime, send_by: datetime, sender: str, routes: str
    ) -> Record:
        lease, history = self._lease_of(now, send_by), (Step(now, State.CLAIMED, ""),)
        return Record(key, State.CLAIMED, entry, now, **lease, history=history, sender=sender, routes=routes)

    def _lease_of(self, now: datetime, send_by: datetime) -> "_Lease":
        # The holder may start a request until send_by, so a lost one has settled settle_seconds after that.
        settled_at = max(now, self.in_store_time(send_by)) + self._settle
        return {"lease_until": now + self._lease, "settled_at": settled_at, "lost_until": settled_at}

    def _unclaimed(self, record: Record, state: State, reason: str) -> Record:
        """Return the record in another state and without a lease."""
        now = self.now()
        return self._step(record, state, now, reason, reason=reason, lease_until=now, settled_at=now)

    @staticmethod
    def _step(record: Record, state: State, at: datetime, note: str, **changes: Any) -> Record:
        """Return the record as it is after one change."""
        return record._replace(state=state, history=_extended(record.history, Step(at, state, note)), **changes)


def _extended(history: tuple[Step, ...], *steps: Step) -> tuple[Step, ...]:
    """Return the history after more steps. The first step stays, because it shows how old the record is."""
    longer = (*history, *steps)
    return longer if len(longer) <= MAX_HISTORY else (longer[0], *longer[1 - MAX_HISTORY :])
