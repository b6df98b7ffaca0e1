"""Lists the records that are tried again, with the time of the next attempt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from shared.durations import short_duration
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Record, Selection, Skipped, State
from shared.redrive import awaits_redrive
from shared.resume.period import Period, is_group, open_period
from shared.resume.queue import Due, DueQueue
from shared.resume.sqlite_queue import MAX_TAKEN
from shared.resume.when import first_seen, wait_of
from tools.actions.records import MAX_SCANNED, short_reason
from tools.installation import Installation

STATES: Final = frozenset({State.RELEASED, State.UNCERTAIN, State.CLAIMED, State.WAITING})
NO_QUEUE: Final = "RESUME_STORAGE is not set, so only Event Grid's retries bring deferred events again"
_BY_HAND: Final = "let go by an operator"


class Waiting(NamedTuple):
    """The messages in the queue.

    :param messages: the earliest message of each record, as far as the queue tells.
    :param is_complete: whether the queue tells of all messages. Azure Queue Storage does not tell of those that are
        invisible until they are due.
    """

    messages: Mapping[JournalKey, Due]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Deferred:
    """A record that is tried again.

    :param at: when; None if that is not known, or nothing tries it again.
    :param is_exact: whether the queue says so. Otherwise, ``at`` is the latest time that follows from the record.
    :param taken: how often its message was taken in vain.
    :param is_stuck: the app has failed on it too often, and waits for an operator.
    :param period: the open period, if the record counts events that are gathered.
    """

    record: Record
    at: datetime | None = None
    is_exact: bool = True
    taken: int = 0
    is_stuck: bool = False
    period: Period | None = None

    @property
    def reason(self) -> str:
        """Return why it waits."""
        if self.period is None:
            return short_reason(self.record)
        return f"{self.period.summary}; {self.period.held}"

    @property
    def since(self) -> datetime:
        """When the event was first tried."""
        return first_seen(self.record)

    def due(self, now: datetime) -> str:
        """Return when it is tried again, for the cell of a table."""
        if self.at is None:
            return "stuck" if self.is_stuck else "-"
        if self.at <= now:
            return "now"
        return f"{'in' if self.is_exact else 'within'} {short_duration(self.at - now)}"

    def words(self) -> str:
        """Return when it is tried again, in words; empty if that is not known."""
        return (
            "" if self.at is None else f"comes again {'at' if self.is_exact else 'by'} {self.at:%Y-%m-%d %H:%M:%S} UTC"
        )

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document, with times in ISO 8601."""
        return {
            "key": self.record.key.key,
            "route": self.record.key.route,
            "state": self.record.state.value,
            "since": self.since.isoformat(),
            "comes_again_at": None if self.at is None else self.at.isoformat(),
            "is_exact": self.at is not None and self.is_exact,
            "taken": self.taken,
            "is_stuck": self.is_stuck,
            "event_id": self.record.entry.event_id,
            "event_type": self.record.entry.event_type,
            "reason": self.record.reason or self.reason,
        }


def waiting_messages(
    queue: DueQueue, *, is_complete: bool, key: JournalKey | None = None, limit: int = MAX_SCANNED
) -> Waiting:
    """Return the messages in the queue.

    :param is_complete: whether the queue tells of all messages.
    :param key: only those of this record; None for all.
    :param limit: the maximum number of messages that are read. If there are more, the result is not complete.
    :raises ResumeUnavailable: the queue does not answer.
    """
    found: dict[JournalKey, Due] = {}
    number = 0
    for number, due in enumerate(queue.due(limit, key), start=1):  # noqa: B007 - also used after the loop
        found.setdefault(due.key, due)
    return Waiting(found, is_complete and number < limit)


def queued_messages(
    installation: Installation, *, key: JournalKey | None = None, limit: int = MAX_SCANNED
) -> Waiting | None:
    """Return the messages in the queue of an installation; None if it has no queue.

    The other parameters and the error are those of ``waiting_messages``.
    """
    queue = installation.due_queue()
    if queue is None:
        return None
    return waiting_messages(queue, is_complete=installation.lists_all_messages, key=key, limit=limit)


def deferred_records(
    journal: Journal, route: str | None, waiting: Waiting | None, now: datetime, skipped: Skipped
) -> list[Deferred]:
    """Return the records that are tried again: first those that come next, then those whose time is not known.

    :param waiting: None if there is no queue.
    :param skipped: is told of each record that cannot be read.
    :raises JournalUnavailable: the journal does not answer.
    """
    return in_order(journal.select(Selection(route, STATES), MAX_SCANNED, skipped), waiting, now)


def in_order(records: Iterable[Record], waiting: Waiting | None, now: datetime) -> list[Deferred]:
    """Return those of the records that are tried again, in the same order as ``deferred_records``."""
    found = filter(None, (deferred(each, waiting, now) for each in records))
    return sorted(found, key=lambda one: (one.at is None, one.at or one.since))


def deferred(record: Record, waiting: Waiting | None, now: datetime) -> Deferred | None:
    """Return when a record is tried again; None if it is final, in work, or only a redrive finishes it.

    If the queue does not tell, the time is estimated. A pause that Azure DevOps has asked for is not in the record, so
    an estimate that has passed says nothing.

    :param waiting: None if there is no queue.
    """
    if is_group(record.key) and (period := open_period(record)) is not None:
        return Deferred(record, period.ends_at, period=period)
    message = None if waiting is None else waiting.messages.get(record.key)
    is_in_work = message is None and record.state is State.CLAIMED and record.lease_until > now
    if record.state not in STATES or not record.key.is_about_event or awaits_redrive(record) or is_in_work:
        return None
    if message is not None:
        # Azure Queue Storage tells only of visible messages, without a time, and sets a message aside that is stuck.
        at, is_stuck = message.at or now, message.at is not None and message.taken >= MAX_TAKEN
        return Deferred(record, None if is_stuck else at, taken=message.taken, is_stuck=is_stuck)
    if waiting is None or waiting.is_complete:
        return Deferred(record)
    latest = record.changed_at + wait_of(record, record.changed_at, None, 1.0)
    return Deferred(record, latest if latest > now else None, is_exact=False)


def let_go(queue: DueQueue, waiting: Waiting, chosen: Sequence[Deferred], now: datetime) -> list[Deferred]:
    """Let records be tried now, and return them with that time. A record without a message gets one.

    A period of gathered events cannot be ended before its time.

    :raises ResumeUnavailable: the queue does not answer.
    """
    chosen = [one for one in chosen if one.period is None or one.period.ends_at <= now]
    queue.hurry([one.record.key for one in chosen])
    for one in chosen:
        if waiting.is_complete and one.record.key not in waiting.messages:
            queue.put(one.record.key, timedelta(), _BY_HAND)
    return [replace(one, at=now, is_exact=True, is_stuck=False) for one in chosen]
