"""Forecasts the outcome of a decision from what the journal holds now."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from shared.journal.cooldown import Covered, Undecided
from shared.journal.records import FINAL_STATES, Record, State, may_be_set_aside, why_not_yet
from shared.redrive import RedriveForecast
from shared.resume.period import Period, with_event
from shared.routing.table import Match, Refusal
from shared.telemetry import Outcome
from tools.actions.records import parsed
from tools.installation import Installation
from tools.presentation import request_words, run_words

WOULD_QUEUE: Final = "would queue"
WOULD_PARK: Final = "would park"
WOULD_IGNORE: Final = "would ignore"
WOULD_SUPPRESS: Final = "would suppress"
WOULD_GATHER: Final = "would gather"
WOULD_DEFER: Final = "would defer"
WOULD_LOOK: Final = "would look"
"""The app would search for a run that may exist, and send the request again only if there is none."""

_LOOKS: Final = "a run may exist: the app searches for it, and sends the request again only if there is none"


class Row(NamedTuple):
    """What happens to an event on a route.

    :param reason: the explanation; empty if a run is simply queued.
    :param key: the key in the journal; empty if it is that of the record that is redriven, or if there is none.
    """

    route: str
    outcome: str
    reason: str = ""
    key: str = ""
    run_id: int | None = None
    run_url: str = ""

    @property
    def words(self) -> str:
        """The run and the reason, on one line."""
        return "; ".join(
            part for part in (run_words(self.run_id, self.run_url).removeprefix(": "), self.reason) if part
        )


@dataclass(frozen=True, slots=True)
class JournalState:
    """What the journal holds now for an occurrence.

    :param record: None if the occurrence is new.
        A parked record of another event with the same identity does not count: a delivery sets it aside.
    :param cooldown_holder: what the holder of the route's cooldown window means for this occurrence; None if nothing.
    :param period: the open period of the occurrence's group; None if there is none.
    """

    record: Record | None = None
    cooldown_holder: Covered | Undecided | None = None
    period: Period | None = None


def read_journal(installation: Installation, decided: Match | Refusal, event_id: str) -> JournalState:
    """Return what the journal holds now for the decision.

    :param event_id: the event to be delivered or redriven.
    :raises JournalUnavailable: the journal does not answer.
    """
    record = installation.find_record(decided.key)
    if record is not None and may_be_set_aside(record, event_id):
        record = None
    if isinstance(decided, Match) and decided.gather is not None:
        return JournalState(record, period=installation.open_period(decided.key.route, decided.gather))
    if not isinstance(decided, Match) or decided.window is None:
        return JournalState(record)
    return JournalState(record, installation.cooldown_holder(decided.key, decided.window))


def forecast(
    decided: Match | Refusal, found: JournalState, now: datetime, *, looks_first: bool = False
) -> tuple[str, str]:
    """Return the expected outcome and its reason.

    :param looks_first: whether a run may exist in spite of what the journal holds.
    """
    if found.record is not None and (outcome := _outcome_of_record(found.record, now)) is not None:
        return outcome
    if isinstance(decided, Refusal):
        return WOULD_PARK, decided.reason
    if looks_first:
        return WOULD_LOOK, _LOOKS
    return _of_match(decided, found, now)


def _of_match(decided: Match, found: JournalState, now: datetime) -> tuple[str, str]:
    if decided.gather is not None:
        return WOULD_GATHER, with_event(found.period, decided.key, decided.gather, now).counted
    match found.cooldown_holder:
        case Covered(reason):
            return WOULD_SUPPRESS, reason
        case Undecided(reason):
            return WOULD_DEFER, reason
        case None:
            return WOULD_QUEUE, ""


def delivery_row(installation: Installation, decided: Match | Refusal, event_id: str) -> Row:
    """Return what a delivery would do now, and what it would request.

    :raises JournalUnavailable: the journal does not answer.
    """
    return _row(decided, *forecast(decided, read_journal(installation, decided, event_id), installation.clock()))


def redrive_rows(installation: Installation, record: Record, expected: RedriveForecast) -> list[Row]:
    """Return what redriving a record would do now, and what it would request.

    :raises JournalUnavailable: the journal does not answer.
    """
    rows = []
    for decided in expected.decisions:
        found = read_journal(installation, decided, record.entry.event_id)
        if decided.key == record.key and record.state is State.PARKED:  # the redrive reopens it
            found = replace(found, record=None)
        rows.append(_row(decided, *forecast(decided, found, installation.clock(), looks_first=expected.looks_first)))
    return rows


def redrive_document(expected: RedriveForecast) -> dict[str, Any]:
    """Return what redriving would do, as a JSON document."""
    return {
        "looks_first": expected.looks_first,
        "decisions": [
            {
                "route": decided.key.route,
                "key": decided.key.key,
                "request": None if isinstance(decided, Refusal) else parsed(decided.request.to_json()),
                "refused": decided.reason if isinstance(decided, Refusal) else "",
            }
            for decided in expected.decisions
        ],
        "why_nothing": expected.why_nothing,
    }


def _row(decided: Match | Refusal, outcome: str, because: str) -> Row:
    words = [because] if because else []
    if isinstance(decided, Match) and outcome in {WOULD_QUEUE, WOULD_GATHER, WOULD_LOOK}:
        words.append(request_words(decided.request))
        if decided.window is not None:
            words.append("unless the cooldown of another run covers it")
    return Row(decided.key.route, outcome, "; ".join(words))


def _outcome_of_record(record: Record, now: datetime) -> tuple[str, str] | None:
    """Return the outcome that follows from the record alone; None if it is claimed like a new occurrence."""
    if record.state in FINAL_STATES:
        return Outcome.DUPLICATE, f"already {record.state}{run_words(record.run_id, record.run_url)}"
    if (reason := why_not_yet(record, now)) is not None:
        return WOULD_DEFER, reason
    if record.state is State.RELEASED or not record.entry.request:
        return None
    return WOULD_LOOK, _LOOKS
