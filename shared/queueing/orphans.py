"""Orphans: second runs of events.

A worker that was frozen while it waited for an answer may continue after another delivery has taken over its record.
Its request may then have queued a second run for the event. The worker writes the run down as an orphan. The first
process that learns which run the event has cancels the orphan: a delivery, a redrive, a timer, or a message of the
resume queue.

An orphan is a record of its own. It stays ``waiting`` until the event's record is final and not parked; then it
is claimed, and ends as ``completed`` (canceled) or ``closed`` (it was none).
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

from shared.azure_devops.reconcile import Build
from shared.azure_devops.runs import Run, RunRequest
from shared.clock import Clock
from shared.errors import AzureDevOpsError, ClaimLost, JournalUnavailable, UnreadableRecord
from shared.journal.journal import AlreadyFinal, Claimed, Journal, NotClaimable
from shared.journal.records import OPEN_STATES, ORPHANS, JournalKey, Record, Selection, Skipped, State, log_skipped
from shared.journal.stored_form import reading
from shared.logs import logger
from shared.queueing.pipelines import Pipelines
from shared.queueing.search import Found, LostRequest, NotYet, Search, Unclear
from shared.telemetry import Outcome, Result

_LIMIT: Final = 10_000
_TAKE_UP_SECONDS: Final = 10.0

_log = logger("nextstage.orphans")


@dataclass(frozen=True, slots=True)
class Orphan:
    """A request of a worker that had lost its claim.

    :param lost: the request, under the key of the event's record.
    :param run: the run that it queued; None if its answer was lost too.
    """

    lost: LostRequest
    run: Run | None

    def to_json(self) -> str:
        """Return the orphan in the form that the journal stores."""
        lost = self.lost
        return json.dumps(
            {
                "key": lost.key,
                "request": lost.request.to_json(),
                "sender": lost.sender,
                "since": lost.since.isoformat(),
                "until": lost.until.isoformat(),
                "run": None if self.run is None else self.run[:2],
            }
        )

    @classmethod
    def of(cls, record: Record) -> Self:
        """Read what ``to_json`` wrote.

        :raises UnreadableRecord: another program has changed the record.
        """
        with reading(record.key):
            fields = json.loads(record.document)
            since, until = (datetime.fromisoformat(fields[name]).astimezone(UTC) for name in ("since", "until"))
            request = RunRequest.from_json(fields["request"])
            lost = LostRequest(JournalKey(*fields["key"]), request, fields["sender"], since, until)
            return cls(lost, None if fields["run"] is None else Run(*fields["run"]))


class OpenOrphan(NamedTuple):
    """An orphan that has not been settled."""

    record: Record
    orphan: Orphan


def open_orphans(journal: Journal, limit: int = _LIMIT, skipped: Skipped = log_skipped) -> Iterator[OpenOrphan]:
    """Return the orphans that are not settled.

    :param skipped: is told of each orphan that cannot be read.
    :raises JournalUnavailable: the journal does not answer.
    """
    for record in journal.select(Selection(route=ORPHANS, states=OPEN_STATES), limit, skipped):
        try:
            yield OpenOrphan(record, Orphan.of(record))
        except UnreadableRecord as exc:
            skipped(exc)


class Orphans:
    """The orphans in the journal. Safe for many threads and processes."""

    def __init__(
        self,
        journal: Journal,
        pipelines: Pipelines,
        clock: Clock,
        come_again: Callable[[JournalKey, Result], object] | None = None,
    ) -> None:
        """:param come_again: has an orphan taken up later. Raises nothing. None if only timers and deliveries do so."""
        self._journal = journal
        self._pipelines = pipelines
        self._clock = clock
        self._come_again = come_again

    def write_down(self, orphan: Orphan) -> None:
        """Keep an orphan until it is settled.

        :raises JournalUnavailable: the journal does not answer.
        """
        key = JournalKey(ORPHANS, hashlib.sha256(orphan.to_json().encode()).hexdigest())
        self._journal.write_once(key, State.WAITING, orphan.to_json())
        if self._come_again is not None:
            until = None if orphan.run is not None else (orphan.lost.until - self._journal.now()).total_seconds()
            self._come_again(key, _later("an event may have a second run", until))

    def take_up(self, record: Record) -> Result | None:
        """Settle one orphan. Return why it must be taken up again, or None if it is settled.

        :raises ClaimLost: another worker is settling it.
        :raises JournalUnavailable: the journal does not answer, or the orphan cannot be read.
        """
        return self._settle(record, Orphan.of(record), self._clock() + timedelta(seconds=_TAKE_UP_SECONDS))

    def settle(self, seconds: float, owner: JournalKey | None = None) -> None:
        """Cancel each orphan whose event has another run. What fails is logged, and tried again by the next caller.

        :param seconds: how long it may take.
        :param owner: only orphans of this record.
        """
        deadline = self._clock() + timedelta(seconds=seconds)
        try:
            for record, orphan in open_orphans(self._journal):
                if owner in {None, orphan.lost.key} and self._clock() < deadline:
                    self._settle_one(record, orphan, deadline)
        except JournalUnavailable as exc:
            _log.error("orphans could not be settled: %s", exc)

    def _settle_one(self, record: Record, orphan: Orphan, deadline: datetime) -> None:
        try:
            self._settle(record, orphan, deadline)
        except ClaimLost:
            pass  # another worker is settling it
        except UnreadableRecord as exc:
            _log.warning("an orphan could not be settled: %s", exc)

    def _settle(self, record: Record, orphan: Orphan, deadline: datetime) -> Result | None:
        """Settle an orphan. Return why it is not settled yet."""
        owner = self._journal.get(orphan.lost.key)
        if owner is not None and owner.state not in {State.QUEUED, State.SUPPRESSED, State.GATHERED}:
            # The record of the orphan does not change, so its age says how long to wait: half as long.
            half = (self._journal.now() - record.claimed_at).total_seconds() / 2
            return _later(f"it may still become the run of its event, which is {owner.state}", half)
        match self._journal.take(record, deadline):
            case AlreadyFinal():
                return None
            case NotClaimable(reason):
                return _later(reason)
            case Claimed(mine):
                return self._settle_claimed(mine, orphan, owner, deadline)

    def _settle_claimed(self, mine: Record, orphan: Orphan, owner: Record | None, deadline: datetime) -> Result | None:
        if owner is None:
            reason = f"the record {orphan.lost.key.key[:12]} of its event was removed"
            _log.critical("%s; look whether the event has two runs, and cancel one by hand: %s", reason, orphan.run)
            self._journal.finish(mine, State.CLOSED, reason, mine.document)
            return None
        try:
            state, outcome = self._end(mine, orphan, owner, deadline)
        except AzureDevOpsError as exc:
            run = "a second run" if orphan.run is None else f"run {orphan.run.id} ({orphan.run.url})"
            _log.error("%s of an event that %s could not be looked for yet: %s", run, _has(owner), exc)
            self._journal.release(mine, str(exc))
            return Result.deferred(exc)
        if state is None:
            self._journal.release(mine, outcome)
            return _later(outcome)
        self._journal.finish(mine, state, outcome, mine.document)
        return None

    def _end(self, mine: Record, orphan: Orphan, owner: Record, deadline: datetime) -> tuple[State | None, str]:
        """Cancel the run, if it is certain that it is a second one.

        Return the state in which the orphan ends and why; None and why if it does not end yet.
        """
        search = Search(self._journal, self._pipelines, orphan.lost)
        if orphan.run is not None:
            build = self._pipelines.build(orphan.lost.request, orphan.run.id, deadline)
        elif self._journal.now() < orphan.lost.until:
            return None, "its request may still be in progress"
        else:
            match search.find(deadline):
                case NotYet(reason):
                    return None, reason
                case Unclear(builds):
                    runs = ", ".join(f"{one.run.id} ({one.run.url})" for one in builds)
                    reason = f"cannot tell whether one of these runs is a second run of an event: {runs}"
                    _log.critical("%s; its event %s; cancel it by hand if it is", reason, _has(owner))
                    return State.CLOSED, reason
                case Found(is_certain=False, has_rivals=True):
                    return None, "another event with an equal request may need the run that was found"
                case Found(builds):
                    build = next((one for one in builds if one.run.id != owner.run_id), None)
                case _:
                    build = None
        if build is None or build.run.id == owner.run_id:
            return State.CLOSED, "there is no second run"
        return self._cancel(mine, orphan, owner, build, search, deadline)

    def _cancel(
        self, mine: Record, orphan: Orphan, owner: Record, build: Build, search: Search, deadline: datetime
    ) -> tuple[State | None, str]:
        if any(search.owns(other, build) for other in self._journal.may_own([build.run.id])):
            return State.CLOSED, f"run {build.run.id} belongs to another event with an equal request"
        if not self._journal.reserve(reservation(orphan.lost.request, build), mine.key):
            return State.CLOSED, f"run {build.run.id} was adopted for another event with an equal request"
        if build.is_canceled and build.is_finished:
            return State.COMPLETED, f"run {build.run.id} was queued too late and is canceled: its event {_has(owner)}"
        if build.is_finished:
            outcome = f"run {build.run.id} was queued too late and has already finished: its event {_has(owner)}"
            _log.critical("%s; look what both have done: %s", outcome, build.run.url)
            return State.CLOSED, outcome
        try:
            self._pipelines.cancel(orphan.lost.request, build.run, deadline)
        except AzureDevOpsError as exc:
            reason = f"run {build.run.id} ({build.run.url}) could not be canceled: {exc}"
            _log.critical("%s; its event %s; it is tried again, see 'manage.py journal --orphans'", reason, _has(owner))
            return None, reason
        outcome = f"run {build.run.id} was queued too late and is being canceled: its event {_has(owner)}"
        _log.error("%s: %s", outcome, build.run.url)
        return State.COMPLETED, outcome


def _later(reason: str, pause_seconds: float | None = None) -> Result:
    return Result(Outcome.DEFERRED, reason, pause_seconds=pause_seconds)


def _has(owner: Record) -> str:
    return "needs no run" if owner.run_id is None else f"has run {owner.run_id}"


def reservation(request: RunRequest, build: Build) -> str:
    """Return what identifies a listed run. Its time is a part, because the IDs of a restored server begin again."""
    return json.dumps([request.organization_url, build.run.id, build.queue_time])
