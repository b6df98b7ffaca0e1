"""The periods in which a route gathers events for one run. Pure.

A period begins with its first event. It ends when no event has come for the route's ``quiet``, at the latest
``at_most`` after it has begun. An event that comes later begins the next period, even if the end of this one was not
noticed yet. So the periods follow from the times of the events, and not from when a timer is looked at.

A record counts the events of each group of a route, in the partition of the route: the store then changes it in one
step with the record of an event. It is ``waiting`` while a period is open, and ``closed`` afterwards. It is not removed
when the period ends, so that no one takes the record of a later period for it.
"""

import json
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple, Self

from shared.journal.records import MAX_HISTORY, NO_EVENT, Entry, Gathered, JournalKey, Record, State, Step
from shared.journal.stored_form import reading
from shared.routing.table import Gather

GROUP_PREFIX: Final = "$gather."
"""Begins the keys of the records that count."""

_MAX_SHOWN: Final = 200


class Period(NamedTuple):
    """A period of a group.

    :param by: names the group, for people; empty if the route has one group.
    :param gathered: its run, the number of its events, and when it began, by the store's clock.
    :param last: the key of its last event.
    :param last_at: when that event came.
    :param quiet: as the route said when the last event came.
    :param at_most: the same.
    """

    by: str
    gathered: Gathered
    last: str
    last_at: datetime
    quiet: timedelta
    at_most: timedelta

    @property
    def latest(self) -> datetime:
        """When the period ends, however many events come."""
        return self.gathered.since + self.at_most

    @property
    def ends_at(self) -> datetime:
        """When the period ends, if no other event comes."""
        return min(self.last_at + self.quiet, self.latest)

    @property
    def held(self) -> str:
        """When its run is queued, in words."""
        if self.ends_at == self.latest:
            return f"held until {_time(self.latest)} UTC"
        return f"held until {_time(self.ends_at)}, or until {_time(self.latest)} UTC at the latest if more events come"

    @property
    def summary(self) -> str:
        """How many events there are, since when and of which group, in words."""
        events = "1 event" if self.gathered.events == 1 else f"{self.gathered.events} events"
        return f"{events} gathered since {_time(self.gathered.since)} UTC" + (f" for {self.by}" if self.by else "")

    @property
    def counted(self) -> str:
        """The number of its last event, and when its run is queued, in words."""
        return f"event {self.gathered.events} of its group; {self.held}"

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return the period in a record that counts.

        :raises UnreadableRecord: another program has changed the record.
        """
        with reading(record.key):
            kept = json.loads(record.document)
            if record.gathered is None:
                raise ValueError("the count is missing")
            return cls(
                kept["by"],
                record.gathered,
                kept["last"],
                datetime.fromisoformat(kept["last_at"]),
                timedelta(seconds=kept["quiet_seconds"]),
                timedelta(seconds=kept["at_most_seconds"]),
            )

    def record(self, key: JournalKey, version: str, now: datetime) -> Record:
        """Return the record that counts, while the period is open.

        :param version: of the record that it replaces; empty if there is none.
        """
        since = self.gathered.since
        document = {
            "by": self.by,
            "last": self.last,
            "last_at": self.last_at.isoformat(),
            "quiet_seconds": self.quiet.total_seconds(),
            "at_most_seconds": self.at_most.total_seconds(),
        }
        history = (Step(since, State.WAITING, ""), Step(now, State.WAITING, f"event {self.gathered.events}"))
        return Record(
            key,
            State.WAITING,
            NO_EVENT,
            since,
            since,
            since,
            version,
            history=history,
            document=json.dumps(document),
            gathered=self.gathered,
        )


def with_event(current: Period | None, event: JournalKey, gather: Gather, now: datetime) -> Period:
    """Return the period of an event that comes now: the current one, or the next one if that has ended.

    :param current: None if the group has no open period.
    :param now: the store's time.
    """
    if current is None or current.ends_at <= now:
        gathered = Gathered(_run_key(event, gather, now), 1, now, group_key(event.route, gather.by).key)
        return Period(gather.by[:_MAX_SHOWN], gathered, event.key, now, gather.quiet, gather.at_most)
    return current._replace(
        gathered=current.gathered._replace(events=current.gathered.events + 1),
        last=event.key,
        last_at=max(current.last_at, now),  # the clocks of two processes may differ by a second
        quiet=gather.quiet,
        at_most=gather.at_most,
    )


def open_period(group: Record | None) -> Period | None:
    """Return the period that a group's record counts; None if it has none, or it was closed.

    :raises UnreadableRecord: another program has changed the record.
    """
    return Period.of(group) if group is not None and group.state is State.WAITING else None


def closed(group: Record, now: datetime) -> Record:
    """Return the group's record after its period has ended. It keeps what it has counted."""
    return group._replace(state=State.CLOSED, history=(*group.history[:1], Step(now, State.CLOSED, "")))


def gathered_event(mine: Record, entry: Entry, period: Period, now: datetime) -> Record:
    """Return the record of the event that was counted last.

    :param mine: its record so far, which is new or claimed by the caller.
    :param entry: with the request for the period's run, as if no other event came.
    """
    step = Step(now, State.GATHERED, f"event {period.gathered.events} since {_time(period.gathered.since)} UTC")
    history = (*mine.history[: MAX_HISTORY - 1], step) if mine.version else (step,)
    return mine._replace(
        state=State.GATHERED,
        entry=entry,
        lease_until=now,
        settled_at=now,
        lost_until=None,
        reason="",
        history=history,
        gathered=period.gathered,
    )


def run_record(key: JournalKey, last: Record | None, period: Period, now: datetime) -> Record:
    """Return the record of the period's run. It waits like that of a deferred event.

    :param last: the record of the period's last event; None if it was removed, for example by a person.
    """
    return Record(
        key,
        State.RELEASED,
        NO_EVENT if last is None else last.entry,
        now,
        now,
        now,
        reason=period.summary,
        history=(Step(now, State.RELEASED, period.summary),),
        routes="" if last is None else last.routes,
        gathered=period.gathered,
    )


def group_key(route: str, by: str) -> JournalKey:
    """Return the key of the record that counts the events of a group."""
    return JournalKey(route, GROUP_PREFIX + sha256(by.encode(errors="replace")).hexdigest())


def is_group(key: JournalKey) -> bool:
    """Return whether a record counts the events of a group."""
    return key.key.startswith(GROUP_PREFIX)


def _run_key(first: JournalKey, gather: Gather, now: datetime) -> str:
    """Return the key of the record of a period's run. No other period has it."""
    return sha256(json.dumps(["gather", first.route, gather.by, first.key, now.isoformat()]).encode()).hexdigest()


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
