"""Delivers dead letters as Event Grid would have, and shows a row for each thing that comes of one."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from shared.errors import DeliveryDeferred
from shared.journal.records import UNROUTED
from shared.relay import Relay
from shared.telemetry import Decision
from tools.console import Console
from tools.events.dead_letters import DeadLetter
from tools.installation import Installation
from tools.wording import (
    GOOD_OUTCOMES,
    WOULD_IGNORE,
    WOULD_PARK,
    counted,
    decision_words,
    forecast,
    summary,
)

_NO_ROUTE: Final = "-"
_ROUTE_WIDTH: Final = 24
_OUTCOME_WIDTH: Final = 12

Row = tuple[str, str, str]
"""A route, an outcome, and the words to it."""


def redeliver(installation: Installation, letters: Sequence[DeadLetter], console: Console) -> bool:
    """Deliver each event; whether nothing is left to do about any of them.

    :raises ConfigurationError: the app is set up wrongly; nothing was sent.
    :raises JournalUnavailable: the journal cannot be opened; nothing was sent.
    """
    decisions: list[Decision] = []
    relay = installation.compose(decisions.append).relay
    widths, outcomes = _widths(letters), list[str]()
    for letter in letters:
        for row in _deliver(relay, letter, decisions):
            console.row((letter.file, letter.event_id, letter.why, *row), widths)
            outcomes.append(row[1])
    console.line(summary(counted(len(letters), "event"), outcomes))
    return GOOD_OUTCOMES.issuperset(outcomes)


def foresee_delivery(installation: Installation, letters: Sequence[DeadLetter], console: Console) -> bool:
    """Show what would come of each event, and do nothing; whether none of them would be parked.

    :raises ConfigurationError: the routes are wrong.
    """
    widths, outcomes = _widths(letters), list[str]()
    for letter in letters:
        for row in _foresee(installation, letter):
            console.row((letter.file, letter.event_id, letter.why, *row), widths)
            outcomes.append(row[1])
    console.line(summary(f"{counted(len(letters), 'event')}, and nothing was changed", outcomes))
    return WOULD_PARK not in outcomes


def _deliver(relay: Relay, letter: DeadLetter, decisions: list[Decision]) -> Iterator[Row]:
    """Deliver one event.

    :param decisions: where the relay reports to; it tells of those too that are not deferred when others are.
    """
    decisions.clear()
    with suppress(DeliveryDeferred):
        relay.deliver(letter.text)
    for decision in decisions:
        route = decision.route or (UNROUTED if decision.key else _NO_ROUTE)
        yield route, decision.outcome, decision_words(decision)


def _foresee(installation: Installation, letter: DeadLetter) -> Iterator[Row]:
    verdict = installation.decide(letter.text)
    for decided in verdict.decisions:
        yield decided.key.route, *forecast(decided, installation.present(decided.key))
    if not verdict.decisions:
        yield _NO_ROUTE, WOULD_IGNORE, verdict.why_nothing


def _widths(letters: Sequence[DeadLetter]) -> tuple[int, ...]:
    columns = zip(*((letter.file, letter.event_id, letter.why) for letter in letters), strict=True)
    return (*(max(map(len, column)) for column in columns), _ROUTE_WIDTH, _OUTCOME_WIDTH)
