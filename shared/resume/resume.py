"""Takes up deferred records again, each when its message is due.

- The record decides. If it is final or gone, the message ends. A message that comes twice or late does no harm.
- While the organization accepts no requests, a message costs one look at the record, and waits again.
- While a record is in work, a message waits for the end of its lease. If the worker dies, that message takes over.
- What is deferred again waits with that message. So the function returns, and only faults count as failed attempts.
- The event is decided again, by the current routes, as if it were delivered to the record's route only. If a run may
  exist, the relay searches for it first.
- Waiting tasks, orphans and groups of gathered events are taken up by their own code; see ``Kind``.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from shared.azure_devops.runs import RunRequest
from shared.clock import Clock, utc_now
from shared.durations import duration_text
from shared.errors import (
    ClaimLost,
    DeliveryDeferred,
    JournalUnavailable,
    NewerRecord,
    ResumeUnavailable,
    UnreadableRecord,
)
from shared.journal.journal import Claimed, Journal
from shared.journal.records import FINAL_STATES, Entry, JournalKey, Record, why_not_yet
from shared.logs import logger
from shared.redrive import Redrive, forecast_redrive, may_have_run
from shared.relay import Relay
from shared.resume.queue import DueQueue, key_in
from shared.resume.when import LONGEST, SHORTEST, is_given_up, wait_of
from shared.routing.table import Match
from shared.telemetry import Decision, Outcome, Report, Result, log_decision

_NO_JOURNAL: Final = timedelta(seconds=15)
"""How long to wait for a journal that does not answer."""

_log = logger("nextstage.resume")


class Kind(NamedTuple):
    """A kind of records that are taken up in another way than the record of an event.

    :param has: returns whether a record is of this kind.
    :param take_up: does what is due, for a record that is not final and that no worker holds. If the result is
        ``deferred``, the record comes again: after ``pause_seconds``, or else when ``wait_of`` says. With another
        result or None, the message ends. May raise ClaimLost and JournalUnavailable.
    :param also_final: whether final records are taken up too: the worker may have died before its last step.
    """

    has: Callable[[Record], bool]
    take_up: Callable[[Record], Result | None]
    also_final: bool = False


class Resume:
    """Takes up deferred records again. Safe for many threads and processes."""

    def __init__(
        self,
        relay: Relay,
        journal: Journal,
        queue: DueQueue,
        *,
        give_up: timedelta,
        kinds: Sequence[Kind] = (),
        report: Report = log_decision,
        clock: Clock = utc_now,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """
        :param give_up: after this time since its first entry, the record of an event is parked.
        :param kinds: the records that the relay does not take up.
        :param luck: returns a random number from 0 to 1.
        """
        self._relay = relay
        self._redrive = Redrive(relay, journal)
        self._journal = journal
        self._queue = queue
        self._give_up = give_up
        self._kinds = kinds
        self._report = report
        self._clock = clock
        self._luck = luck

    def take_up(self, message: str, taken: int = 1) -> None:
        """Handle a message that the caller removes if this method returns. Does not raise for a deferral.

        :param taken: how often the message was taken, including this time.
        :raises InvalidMessage: the message does not name a record.
        :raises UnreadableRecord: another program has changed the record.
        :raises ResumeUnavailable: the record must come again, and the queue does not answer.
        """
        self.go_on(key_in(message), is_first=taken <= 1)

    def go_on(self, key: JournalKey, ticket: str | None = None, *, is_first: bool = True) -> None:
        """Go on with a record. For the errors, see ``take_up``.

        :param ticket: of the message in work, which is moved or removed here. None if the caller removes it: then
            another message is written before the work begins.
        :param is_first: False if the message was taken before. Then the other message exists already.
        """
        mine = _Mine(self._journal, self._queue, key, ticket, self._clock, self._luck)
        try:
            record = self._journal.get(key)
            if record is None or self._is_over(record):
                mine.drop()
            elif (reason := why_not_yet(record, self._journal.now())) is not None:
                mine.wait(record, reason)
            else:
                self._work(record, mine, is_first=is_first)
        except NewerRecord as exc:
            mine.wait_for(LONGEST, str(exc))
        except UnreadableRecord:
            mine.forget()
            raise
        except JournalUnavailable as exc:
            mine.wait_for(_NO_JOURNAL * (1 + self._luck()), str(exc))
        except (ClaimLost, DeliveryDeferred) as exc:
            mine.wait_for(SHORTEST, str(exc))
        except BaseException:
            mine.forget()
            raise

    def _is_over(self, record: Record) -> bool:
        """Return whether nothing is left to do."""
        return record.state in FINAL_STATES and not any(kind.also_final and kind.has(record) for kind in self._kinds)

    def _work(self, record: Record, mine: "_Mine", *, is_first: bool) -> None:
        take_up = next((kind.take_up for kind in self._kinds if kind.has(record)), None)
        if take_up is None:
            if not record.key.is_about_event:
                _log.warning("nothing takes up the record %s of %s", record.key.key, record.key.route)
                mine.drop()
                return
            if is_given_up(record, self._journal.now(), self._give_up):
                self._park(record)
                mine.drop()
                return
            if (held := self._held_back(record)) is not None:
                mine.wait(record, held.reason, held.pause_seconds)
                return
            take_up = partial(self._decide_and_act, mine=mine)
        if is_first and record.state not in FINAL_STATES:
            mine.wait_for_death()
        result = take_up(record)
        if result is None or result.outcome is not Outcome.DEFERRED:
            mine.drop()
        elif not mine.comes_again:
            mine.wait(self._journal.get(record.key) or record, result.reason, result.pause_seconds)

    def _held_back(self, record: Record) -> Result | None:
        """Return the result if the organization of the record's request accepts none now."""
        try:
            request = RunRequest.from_json(record.entry.request)
        except ValueError:  # there is none, or the store has cut it
            return None
        return self._relay.held_back(request.organization_url)

    def _decide_and_act(self, record: Record, mine: "_Mine") -> Result | None:
        """Go on with the record of an event. Return a result that is deferred, if there is one."""
        decisions = self._decisions(record, mine)
        deferred = (decision.reason for decision in decisions if decision.outcome is Outcome.DEFERRED)
        return next((Result(Outcome.DEFERRED, reason) for reason in deferred), None)

    def _decisions(self, record: Record, mine: "_Mine") -> Sequence[Decision]:
        verdict = self._relay.decide_again(record)
        match forecast_redrive(record, verdict).decisions:
            case (Match() as own,) if may_have_run(record):
                # The request that may have been sent belongs to this key, even if the route makes another one by now.
                own = own._replace(key=record.key)
                return (self._relay.carry_out(record.entry, own, deferrals=mine, known=record),)
            case (decided,) if decided.key == record.key:
                return (self._relay.carry_out(record.entry, decided, deferrals=mine, known=record),)
            case _:
                return self._redrive.redrive(record).decisions

    def _park(self, record: Record) -> None:
        """Give up. If a run may exist, the history says so, and a redrive searches for it first."""
        claim = self._journal.take(record, self._clock())
        if not isinstance(claim, Claimed):
            raise ClaimLost(f"the record {record.key.key[:12]} of route {record.key.route} has just changed")
        reason = f"given up after {duration_text(self._give_up)} (RESUME_GIVE_UP_HOURS): {record.reason or 'deferred'}"
        self._journal.park(claim.record, reason)
        parked = Result(Outcome.PARKED, reason)
        self._report(Decision.of(record.entry, parked, route=record.key.route, key=record.key.key))


class _Mine:
    """The message with which one record comes again. One message in work becomes at most one that waits."""

    def __init__(
        self,
        journal: Journal,
        queue: DueQueue,
        key: JournalKey,
        ticket: str | None,
        clock: Clock,
        luck: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._queue = queue
        self._key = key
        self._ticket = ticket
        self._clock = clock
        self._luck = luck
        self._is_written_here = False
        self.comes_again = False
        """Whether ``come_again`` has succeeded."""

    def come_again(
        self,
        entry: Entry,  # noqa: ARG002 - see the protocol
        key: JournalKey,
        result: Result,
        record: Record | None = None,
    ) -> datetime | None:
        """See ``shared.relay.Deferrals``."""
        try:
            if (record := record or self._journal.get(key)) is None:
                return None
            at = self.wait(record, result.reason, result.pause_seconds)
        except (JournalUnavailable, ResumeUnavailable) as exc:
            _log.warning("the record %s of route %s comes again later than it could: %s", key.key, key.route, exc)
            return None
        self.comes_again = True
        return at

    def wait_for_death(self) -> None:
        """Let the message become visible when the lease of the claim ends that is made next."""
        if self._ticket is None:
            self._ticket = self._queue.put(self._key, self._journal.lease, "its worker may have died")
            self._is_written_here = True

    def wait(self, record: Record, reason: str, pause_seconds: float | None = None) -> datetime:
        """Let the message become visible when it makes sense to try again, and return when."""
        after = wait_of(record, self._journal.now(), pause_seconds, self._luck())
        self.wait_for(after, reason)
        return self._clock() + after

    def wait_for(self, after: timedelta, reason: str) -> None:
        """Let the message become visible after this time.

        :raises ResumeUnavailable: there is no message yet, and none can be written.
        """
        if self._ticket is None:
            self._ticket = self._queue.put(self._key, after, reason)
            return
        try:
            self._queue.move(self._ticket, after)  # if another worker has taken it, that worker goes on
        except ResumeUnavailable as exc:
            _log.warning("a message becomes visible when its lease ends, because it could not be moved: %s", exc)

    def drop(self) -> None:
        """Remove the message, because nothing is left to do. If that fails, it comes again and ends."""
        if self._ticket is not None:
            try:
                self._queue.drop(self._ticket)
            except ResumeUnavailable as exc:
                _log.warning("a message that is no longer needed could not be removed: %s", exc)

    def forget(self) -> None:
        """Remove the message that was written here, because the one in work comes again: otherwise they multiply."""
        if self._is_written_here:
            self.drop()
