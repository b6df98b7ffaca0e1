"""Sends chosen records again, and shows a row for each thing that comes of it."""

from collections.abc import Iterator, Sequence
from typing import Final

from shared.errors import ClaimLost, JournalUnavailable
from shared.journal.records import Record
from shared.redrive import REDRIVABLE_STATES, Redrive, foresee
from shared.telemetry import Decision, Outcome
from tools.actions.records import SHOWN_KEY
from tools.console import Console
from tools.installation import Installation
from tools.wording import GOOD_OUTCOMES, WOULD_IGNORE, WOULD_PARK, counted, decision_words, forecast, summary

_OUTCOME_WIDTH: Final = 12

Row = tuple[str, str, str]
"""A route, an outcome, and the words to it."""


def redrive_records(
    installation: Installation, chosen: Sequence[Record], console: Console, *, look: bool = True
) -> bool:
    """Send each record again; whether nothing is left to do about any of them.

    :param look: False: the operator says that no run of these records exists.
    :raises ConfigurationError: the app is set up wrongly; nothing was sent.
    :raises JournalUnavailable: the journal cannot be opened; nothing was sent.
    """
    app = installation.compose(lambda _decision: None)
    redrive = Redrive(app.relay, app.journal)
    widths, outcomes = _widths(chosen), list[str]()
    for record in chosen:
        for row in _redrive(redrive, record, look=look):
            console.row((record.key.key[:SHOWN_KEY], *row), widths)
            outcomes.append(row[1])
    console.line(summary(counted(len(chosen), "record"), outcomes))
    return GOOD_OUTCOMES.issuperset(outcomes)


def foresee_records(installation: Installation, chosen: Sequence[Record], console: Console) -> bool:
    """Show what each record would ask for, and do nothing; whether none of them would be parked again.

    :raises ConfigurationError: the routes are wrong.
    """
    widths, outcomes = _widths(chosen), list[str]()
    for record in chosen:
        for row in _foresee(installation, record):
            console.row((record.key.key[:SHOWN_KEY], *row), widths)
            outcomes.append(row[1])
    console.line(summary(f"{counted(len(chosen), 'record')}, and nothing was changed", outcomes))
    return WOULD_PARK not in outcomes


def _redrive(redrive: Redrive, record: Record, *, look: bool) -> Iterator[Row]:
    try:
        redriven = redrive.redrive(record, look=look)
    except (ClaimLost, JournalUnavailable) as exc:
        yield record.key.route, Outcome.DEFERRED, str(exc)
        return
    for decision in redriven.decisions:
        yield _route(record, decision), decision.outcome, decision_words(decision, record.key.key)
    if not redriven.decisions:
        yield record.key.route, Outcome.DUPLICATE, redriven.reason


def _foresee(installation: Installation, record: Record) -> Iterator[Row]:
    foreseen = foresee(record, installation.decide(record.entry.event))
    for decided in foreseen.decisions:
        present = None if decided.key == record.key else installation.present(decided.key)
        yield decided.key.route, *forecast(decided, present, looks_first=foreseen.looks_first)
    if not foreseen.decisions:
        is_done = record.state not in REDRIVABLE_STATES
        yield record.key.route, Outcome.DUPLICATE if is_done else WOULD_IGNORE, foreseen.why_nothing


def _route(record: Record, decision: Decision) -> str:
    return decision.route or record.key.route


def _widths(chosen: Sequence[Record]) -> tuple[int, ...]:
    return (SHOWN_KEY, max(len(record.key.route) for record in chosen), _OUTCOME_WIDTH)
