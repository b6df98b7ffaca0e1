"""What happened to a record, step by step. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from shared.durations import short_duration
from shared.errors import UnreadableEvent
from shared.events.event import parse_event
from shared.journal.records import FINAL_STATES, MAX_HISTORY, Record, State, why_not_yet
from tools.actions.resume.deferred import Deferred

_WITHOUT_NOTE: Final = {
    State.CLAIMED: "a delivery began to work on it",
    State.WAITING: "began to wait",
    State.NOTED: "was written down",
}
"""What a step means whose note is empty."""


class Moment(NamedTuple):
    """One line of the timeline.

    :param at: None if the line has no time.
    :param state: the state of the record after it; empty if it is not a step of the record.
    :param after: how long after the line before, such as ``12s later``; empty if it is the first one.
    """

    at: datetime | None
    state: str
    text: str
    after: str = ""


def timeline(record: Record, again: Deferred | None, now: datetime) -> list[Moment]:
    """Return what happened, the earliest first, and what comes next.

    :param again: when the record is tried again; None if it is not.
    :param now: the store's time.
    """
    shown: list[Moment] = []
    earlier: datetime | None = None
    for moment in (*_before(record), *_steps(record), *_next(record, again, now)):
        after = "" if moment.at is None or earlier is None else _later(moment.at - earlier)
        shown.append(moment._replace(after=after))
        earlier = moment.at or earlier
    return shown


def _before(record: Record) -> Iterator[Moment]:
    if not record.key.is_about_event:
        return
    try:
        happened = parse_event(record.entry.event).time
    except UnreadableEvent:
        return
    if happened is not None:
        yield Moment(happened, "", "the event happened")


def _steps(record: Record) -> Iterator[Moment]:
    for number, step in enumerate(record.history):
        if number == 1 and len(record.history) >= MAX_HISTORY:
            yield Moment(None, "", f"the journal keeps the first step and the last {MAX_HISTORY - 1}")
        yield Moment(step.at, step.state, step.note or _WITHOUT_NOTE.get(step.state, ""))


def _next(record: Record, again: Deferred | None, now: datetime) -> Iterator[Moment]:
    if record.key.is_about_event and record.state not in FINAL_STATES and (reason := why_not_yet(record, now)):
        yield Moment(None, "", f"now: {reason}")
    if again is not None and again.at is not None:
        yield Moment(again.at, "", again.words())
    elif again is not None and again.is_stuck:
        yield Moment(None, "", "the app has failed on it too often; try it now after you have removed the cause")


def _later(length: timedelta) -> str:
    if timedelta() <= length < timedelta(seconds=1):
        return f"{length // timedelta(milliseconds=1)} ms later"
    return f"{short_duration(length)} later"
