"""Gathers events, and queues one run for all that come until it is quiet.

- An event's record and the count of its group change in one step. So each event counts once, however often it comes.
- The message with which a period ends is written before the period begins: there is no period without a message. A
  message without a period ends.
- A period ends in one step too: its run gets a record, and the group's record is closed. The run is then like that of
  any deferred event, and its message was also written before.
- The end is noticed by the message, or by an event that comes later; both do the same.
- A process may freeze until a message was taken in vain, and then die after it has written what the message was for.
  The repetition of its event or message writes the message again, and so does the event that begins the next period.
"""

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, NamedTuple

from shared.clock import Clock, utc_now
from shared.errors import ClaimLost, ResumeUnavailable
from shared.journal.journal import Journal
from shared.journal.records import FINAL_STATES, Entry, JournalKey, Record, State
from shared.logs import logger
from shared.resume.period import (
    Period,
    closed,
    gathered_event,
    group_key,
    is_group,
    open_period,
    run_record,
    with_event,
)
from shared.resume.queue import DueQueue
from shared.resume.resume import Kind
from shared.routing.table import Gather, GatheredRun
from shared.telemetry import Outcome, Result

_MAX_TRIES: Final = 12
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
"""In seconds. Another process writes meanwhile."""

_SHARE: Final = 0.8
"""The share of a delivery's time in which it tries to count its event. Then it has the event wait."""

_LOCKS: Final = 64
_BUSY: Final = "many events of its group come at the same moment"

_log = logger("nextstage.gather")


class _Event(NamedTuple):
    """An event to be counted; see ``Gathering.add``."""

    key: JournalKey
    entry: Entry
    gather: Gather
    request_in: Callable[[GatheredRun], str]
    routes: str
    mine: Record | None

    @property
    def group(self) -> JournalKey:
        return group_key(self.key.route, self.gather.by)


class _Message(NamedTuple):
    """A message that was written before what it is for.

    :param at: when it was written, by the store's clock.
    :param after: how long after that it is due.
    """

    ticket: str
    key: JournalKey
    at: datetime
    after: timedelta
    reason: str


class Gathering:
    """Counts events and closes periods. Safe for many threads, processes and machines, like the store."""

    def __init__(
        self,
        journal: Journal,
        queue: DueQueue,
        *,
        clock: Clock = utc_now,
        luck: Callable[[], float] = random.random,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """:param luck: returns a random number from 0 to 1."""
        self._journal = journal
        self._queue = queue
        self._clock = clock
        self._luck = luck
        self._sleep = sleep
        self._locks = tuple(Lock() for _ in range(_LOCKS))
        """Threads of this process don't compete for the record of a group. Two groups may share a lock."""

    def add(
        self,
        key: JournalKey,
        entry: Entry,
        gather: Gather,
        deadline: datetime,
        *,
        request_in: Callable[[GatheredRun], str],
        routes: str = "",
        mine: Record | None = None,
    ) -> Result | None:
        """Count an event in the open period of its group, or begin a period.

        Return None if the event has a record already that the caller has not claimed. If the event cannot be counted
        now, the result is ``deferred``, and the record waits.

        :param deadline: when the delivery must end.
        :param request_in: returns the request for the run of a period, as if no other event came.
        :param routes: the digest of the routes.yaml that has decided.
        :param mine: the record that the caller has claimed. Nothing was sent for it.
        :raises ClaimLost: another delivery has taken over the record.
        :raises JournalUnavailable: the store does not answer.
        """
        event = _Event(key, entry, gather, request_in, routes, mine)
        lock = self._locks[hash(event.group) % _LOCKS]
        left = max(timedelta(), deadline - self._clock()) * _SHARE
        until = self._clock() + left
        if lock.acquire(timeout=left.total_seconds()):
            try:
                return self._add(event, until)
            except ResumeUnavailable as exc:
                return self._put_off(event, Result.deferred(exc))
            finally:
                lock.release()
        return self._put_off(event, Result(Outcome.DEFERRED, _BUSY))

    def _add(self, event: _Event, until: datetime) -> Result | None:
        for attempt in range(_MAX_TRIES):
            if (result := self._try(event)) is not None:
                return result
            stored = self._journal.get(event.key)
            if event.mine is None and stored is not None:
                return None
            if event.mine is not None and (stored is None or stored.version != event.mine.version):
                raise ClaimLost(f"the record {event.key.key[:12]} of route {event.key.route} has been taken over")
            if self._clock() >= until:
                break
            self._sleep(self._luck() * min(_FIRST_PAUSE * (1 << attempt), _LONGEST_PAUSE))
        return self._put_off(event, Result(Outcome.DEFERRED, _BUSY))

    def _try(self, event: _Event) -> Result | None:
        """Count the event. Return None if one of the records is not as it was read, or a period had to end first."""
        found, now = self._journal.get(event.group), self._journal.now()
        current = open_period(found)
        if found is not None and current is not None and current.ends_at <= now:
            self.end(found)
            return None
        period = with_event(current, event.key, event.gather, now)
        into, events, since, _ = period.gathered
        run = GatheredRun(JournalKey(event.key.route, into), events, since)
        entry = event.entry._replace(request=event.request_in(run))
        fresh = event.mine or Record(event.key, State.GATHERED, entry, now, now, now, routes=event.routes)
        counted = period.record(event.group, "" if found is None else found.version, now)
        if current is None and found is not None:
            self._remind_of_run(found)
        message = None
        if current is None or period.ends_at < current.ends_at:  # the route may have changed
            message = self._announce(event.group, now, period.ends_at - now, period.held)
        is_written = self._journal.write_together([gathered_event(fresh, entry, period, now), counted])
        if message is not None:
            (self._confirm if is_written else self._drop)(message)
        return Result(Outcome.GATHERED, period.counted) if is_written else None

    def kinds(self) -> tuple[Kind, Kind]:
        """Return what the messages of groups do, and those of events that were gathered."""
        return (
            Kind(lambda record: is_group(record.key), self.end, also_final=True),
            Kind(lambda record: record.state is State.GATHERED, self.remind, also_final=True),
        )

    def remind(self, occurrence: Record) -> None:
        """Write the message of a period again if this event has begun it, and it is open.

        The event comes again, so the delivery that has begun the period may have died before its last step.

        :raises JournalUnavailable: the store does not answer.
        :raises ResumeUnavailable: the queue does not answer.
        """
        if occurrence.gathered is None or occurrence.gathered.events != 1:
            return
        group = JournalKey(occurrence.key.route, occurrence.gathered.group)
        period = open_period(self._journal.get(group))
        if period is not None and period.gathered.into == occurrence.gathered.into:
            self._queue.put(group, max(period.ends_at - self._journal.now(), timedelta()), period.held)

    def end(self, group: Record) -> Result | None:
        """End the period of a group, if it is over. If it is not, the result is ``deferred``, and says for how long.

        If it has ended already, its message comes again, because a process may have died before its last step.

        :raises JournalUnavailable: the store does not answer.
        :raises ResumeUnavailable: the queue does not answer. Nothing was changed.
        """
        period, now = Period.of(group), self._journal.now()
        if group.state in FINAL_STATES:
            self._remind_of_run(group)
            return None
        if now < period.ends_at:
            return Result(Outcome.DEFERRED, period.held, pause_seconds=(period.ends_at - now).total_seconds())
        last = self._journal.get(JournalKey(group.key.route, period.last))
        run = run_record(JournalKey(group.key.route, period.gathered.into), last, period, now)
        message = self._announce(run.key, now, timedelta(), run.reason)
        if not self._journal.write_together([run, closed(group, now)]):
            self._drop(message)
            return Result(Outcome.DEFERRED, "an event came at the end of its period")
        self._confirm(message)
        return None

    def _remind_of_run(self, group: Record) -> None:
        """Write the message of the run of a closed period again, unless the run has ended.

        The process that has closed the period may have frozen until the message was taken in vain, and then died. So
        this is done before the group's record forgets the run.
        """
        run = self._journal.get(JournalKey(group.key.route, Period.of(group).gathered.into))
        if run is not None and run.state not in FINAL_STATES:
            self._queue.put(run.key, timedelta(), run.reason)

    def _announce(self, key: JournalKey, now: datetime, after: timedelta, reason: str) -> _Message:
        """Write a message before what it is for. It is not visible before that is written, or has failed."""
        hidden = max(after, self._journal.lease)
        return _Message(self._queue.put(key, hidden, reason), key, now, after, reason)

    def _confirm(self, message: _Message) -> None:
        """Let the message become visible at its time, because that for which it was announced is written."""
        passed = self._journal.now() - message.at
        try:
            if passed >= self._journal.lease:  # it may have been taken in vain
                self._queue.put(message.key, max(message.after - passed, timedelta()), message.reason)
            elif message.after < self._journal.lease:
                self._queue.move(message.ticket, max(message.after - passed, timedelta()))
        except ResumeUnavailable as exc:
            _log.warning("a message becomes visible later than it could: %s", exc)

    def _put_off(self, event: _Event, result: Result) -> Result | None:
        """Have the event wait in the journal. Return None if it is final by now."""
        if event.mine is not None:
            self._journal.release(event.mine, result.reason)
        elif self._journal.hold(event.key, event.entry, result.reason, event.routes) is None:
            return None
        return result

    def _drop(self, message: _Message) -> None:
        try:
            self._queue.drop(message.ticket)
        except ResumeUnavailable as exc:
            _log.warning("a message that is no longer needed could not be removed: %s", exc)
