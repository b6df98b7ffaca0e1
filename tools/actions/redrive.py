"""Sends records and dead letters again, or shows what that would do, with one row for each outcome."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from shared.clock import utc_now
from shared.composition import App
from shared.errors import (
    AzureDevOpsError,
    ClaimLost,
    DeliveryDeferred,
    JournalUnavailable,
    NextstageError,
    RequestRefused,
)
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, Record, State
from shared.redrive import REDRIVABLE_STATES, Redrive, forecast_redrive
from shared.relay import Relay
from shared.telemetry import Decision, Outcome
from tools.actions.forecast import WOULD_IGNORE, WOULD_PARK, Row, delivery_row, redrive_rows
from tools.actions.records import SHOWN_KEY
from tools.console import Console
from tools.errors import CommandFailed
from tools.events.dead_letters import DeadLetter
from tools.installation import Installation
from tools.presentation import GOOD_OUTCOMES, counted, summary

_NO_ROUTE: Final = "-"
_ROUTE_WIDTH: Final = 24
_OUTCOME_WIDTH: Final = 12
_ADOPT_SECONDS: Final = 30.0

WOULD_ADOPT: Final = "would adopt"
HAS_ANOTHER: Final = "refused"
"""The record is final, with another run or without one."""

Item = TypeVar("Item")

Fields = dict[str, str | None]
"""What identifies a record or a dead letter, as fields of a JSON document."""


class LooksDifferent(CommandFailed):
    """The run to adopt is visibly not that of the event. A person may be sure all the same.

    :param different: what is different, in words.
    """

    def __init__(self, run_id: int, different: str) -> None:
        super().__init__(
            f"run {run_id} does not look like the run of this event: {different}; nothing was changed; if it is the "
            "event's all the same, repeat the command with --yes"
        )
        self.different = different


class Results:
    """Shows each outcome when it is known, or all of them as one JSON document at the end."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console = console
        self._documents: list[dict[str, Any]] | None = [] if as_json else None

    def add(self, fields: Fields, row: Row, widths: Sequence[int]) -> None:
        """Show or keep one outcome.

        :param widths: the widths of the cells for the fields.
        """
        if self._documents is not None:
            key = row.key or fields.get("record")
            self._documents.append({**fields, **row._asdict(), "key": key, "route": _named(row.route)})
            return
        moved = f"under key {row.key[:SHOWN_KEY]}; " if row.key and "record" in fields else ""
        cells = (*_cells(fields), row.route, row.outcome, (moved + row.words).removesuffix("; "))
        self._console.row(cells, [*widths, _ROUTE_WIDTH, _OUTCOME_WIDTH])

    def end(self, text: str = "") -> None:
        """Show the summary, or all outcomes as JSON."""
        if self._documents is not None:
            self._console.json(self._documents)
        elif text:
            self._console.line(text)


def _of_record(record: Record) -> Fields:
    return {"record": record.key.key, "event_id": record.entry.event_id}


def _of_letter(letter: DeadLetter) -> Fields:
    return {"file": letter.file, "event_id": _named(letter.event_id), "dead_letter_reason": _named(letter.why)}


def _named(text: str) -> str | None:
    return None if text == _NO_ROUTE else text


def _cells(fields: Fields) -> tuple[str, ...]:
    if "record" in fields:
        return ((fields["record"] or "")[:SHOWN_KEY],)
    return tuple(value or _NO_ROUTE for value in fields.values())


def redrive_records(
    installation: Installation, chosen: Sequence[Record], results: Results, *, is_dry: bool, look: bool
) -> bool:
    """Redrive each record; return whether nothing is left to do for any of them.

    :param is_dry: change nothing, and show what each record would request; return whether none would be parked again.
    :param look: False if the operator has checked that no run of these records exists.
    :raises ConfigurationError: the configuration is invalid; nothing was sent.
    :raises JournalUnavailable: the journal cannot be opened; nothing was sent.
    """
    rows: Callable[[Record], Iterable[Row]] = partial(forecast_rows, installation, look=look)
    if not is_dry:
        rows = partial(redriven_rows, installation.compose(lambda _decision: None), look=look)
    return _show(results, chosen, _of_record, rows, "record", is_dry=is_dry)


def adopt_run(
    installation: Installation, record: Record, run_id: int, results: Results, *, is_dry: bool, is_sure: bool
) -> bool:
    """Make an existing run that of a record; return whether the record has this run.

    :param is_dry: change nothing, and show whether the run could be adopted.
    :param is_sure: adopt the run also if it is visibly another one.
    :raises CommandFailed: the run cannot be adopted, or is visibly another one; nothing was changed.
    :raises ConfigurationError: the configuration is invalid; nothing was changed.
    :raises JournalUnavailable: the journal cannot be opened; nothing was changed.
    """
    app = installation.compose(lambda _decision: None)
    row = adopted_row(app, record, run_id, is_dry=is_dry, is_sure=is_sure)
    results.add(_of_record(record), row, [SHOWN_KEY])
    results.end()
    return row.outcome in {*GOOD_OUTCOMES, WOULD_ADOPT}


def adopted_row(app: App, record: Record, run_id: int, *, is_dry: bool, is_sure: bool) -> Row:
    """Make an existing run that of a record, or find out whether that is possible, and return the outcome.

    :param is_dry: change nothing.
    :param is_sure: adopt the run also if it is visibly another one.
    :raises LooksDifferent: the run is visibly another one; nothing was changed.
    :raises CommandFailed: the run cannot be adopted; nothing was changed.
    """
    return _known_run(record, run_id) or _adopted(app, record, run_id, is_dry=is_dry, is_sure=is_sure)


def _adopted(app: App, record: Record, run_id: int, *, is_dry: bool, is_sure: bool) -> Row:
    deadline = utc_now() + timedelta(seconds=_ADOPT_SECONDS)
    try:
        build = app.queueing.recovery.adoptable(record, run_id, deadline)
        different = "; ".join(app.queueing.recovery.differences(record, build, deadline))
        if is_dry:
            reason = (f"but {different}; " if different else "") + "nothing was changed"
            return Row(record.key.route, WOULD_ADOPT, reason, run_id=run_id, run_url=build.run.url)
        if different and not is_sure:
            raise LooksDifferent(run_id, different)
        result = app.queueing.recovery.adopt(record, run_id, deadline)
    except RequestRefused as exc:
        raise CommandFailed(f"{exc}; nothing was changed: the record is {record.state} and has no run") from exc
    except (ClaimLost, JournalUnavailable, AzureDevOpsError) as exc:
        return _why_not_adopted(app.journal, record, run_id, exc)
    return Row(record.key.route, result.outcome, result.reason, run_id=run_id, run_url=result.run_url)


def _why_not_adopted(journal: Journal, record: Record, run_id: int, error: NextstageError) -> Row:
    """Return the outcome after an error. Another operator may have been faster."""
    with suppress(JournalUnavailable):
        current = journal.get(record.key)
        if current is not None:
            known = _known_run(current, run_id)
            reason = f"{error}; the record is {current.state} and has no run"
            return known or Row(record.key.route, Outcome.DEFERRED, reason)
    return Row(record.key.route, Outcome.DEFERRED, str(error))


def _known_run(record: Record, run_id: int) -> Row | None:
    """Return the outcome if the record is final already, other than parked."""
    if record.state in REDRIVABLE_STATES or not record.key.is_about_event:
        return None
    row = Row(record.key.route, Outcome.DUPLICATE, "", run_id=record.run_id, run_url=record.run_url)
    if record.run_id == run_id:
        return row._replace(reason=f"it is {record.state}; nothing is left to do")
    return row._replace(outcome=HAS_ANOTHER, reason=f"it is {record.state}; run {run_id} was not adopted")


def redeliver(installation: Installation, letters: Sequence[DeadLetter], results: Results, *, is_dry: bool) -> bool:
    """Deliver each event as Event Grid would have; return whether nothing is left to do for any of them.

    :param is_dry: change nothing, and show what each event would lead to; return whether none would be parked.
    :raises ConfigurationError: the configuration is invalid; nothing was sent.
    :raises JournalUnavailable: the journal cannot be opened; nothing was sent.
    """
    rows: Callable[[DeadLetter], Iterable[Row]] = partial(_forecast_delivery, installation)
    if is_dry:
        installation.check_start()
    else:
        decisions: list[Decision] = []
        rows = partial(_deliver, installation.compose(decisions.append).relay, decisions)
    return _show(results, letters, _of_letter, rows, "event", is_dry=is_dry)


def _show(
    results: Results,
    items: Sequence[Item],
    fields: Callable[[Item], Fields],
    rows: Callable[[Item], Iterable[Row]],
    thing: str,
    *,
    is_dry: bool,
) -> bool:
    """Show the rows of each item when they are known, then a summary; return whether all outcomes are good.

    :param fields: returns what identifies an item.
    """
    widths = [max(map(len, column)) for column in zip(*map(_cells, map(fields, items)), strict=True)]
    outcomes: list[str] = []
    for item in items:
        for row in rows(item):
            results.add(fields(item), row, widths)
            outcomes.append(row.outcome)
    what = counted(len(items), thing) + (", and nothing was changed" if is_dry else "")
    results.end(summary(what, outcomes))
    return WOULD_PARK not in outcomes if is_dry else GOOD_OUTCOMES.issuperset(outcomes)


def redriven_rows(app: App, record: Record, *, look: bool) -> Iterator[Row]:
    """Redrive one record, and yield its outcomes.

    :param look: False if the operator has checked that no run of this record exists.
    """
    try:
        redriven = Redrive(app.relay, app.journal).redrive(record, look=look)
    except (ClaimLost, JournalUnavailable) as exc:
        yield Row(record.key.route, Outcome.DEFERRED, str(exc))
        return
    for decision in redriven.decisions:
        moved = decision.key if decision.key != record.key.key else ""
        yield _row(decision, decision.route or record.key.route, moved)
    if not redriven.decisions:
        yield Row(record.key.route, Outcome.DUPLICATE, redriven.reason)


def forecast_rows(installation: Installation, record: Record, *, look: bool) -> Iterator[Row]:
    """Yield what redriving one record would do now. Changes nothing.

    :param look: see ``redriven_rows``.
    :raises ConfigurationError: the routes are invalid.
    :raises JournalUnavailable: the journal does not answer.
    """
    expected = forecast_redrive(record, installation.decide_again(record))
    looks_first = expected.looks_first and (look or record.state is not State.PARKED)
    yield from redrive_rows(installation, record, replace(expected, looks_first=looks_first))
    if not expected.decisions:
        is_done = record.state not in REDRIVABLE_STATES
        yield Row(record.key.route, Outcome.DUPLICATE if is_done else WOULD_IGNORE, expected.why_nothing)


def _deliver(relay: Relay, decisions: list[Decision], letter: DeadLetter) -> Iterator[Row]:
    """Deliver one event.

    :param decisions: the list that the relay reports to. It includes finished routes even if others are deferred.
    """
    decisions.clear()
    with suppress(DeliveryDeferred):
        relay.deliver(letter.text)
    for decision in decisions:
        route = decision.route or (UNROUTED if decision.key else _NO_ROUTE)
        yield _row(decision, route, decision.key)


def _row(decision: Decision, route: str, key: str) -> Row:
    return Row(route, decision.outcome, decision.reason, key, decision.run_id, decision.run_url)


def _forecast_delivery(installation: Installation, letter: DeadLetter) -> Iterator[Row]:
    verdict = installation.decide(letter.text)
    for decided in verdict.decisions:
        yield delivery_row(installation, decided, verdict.entry.event_id)
    if not verdict.decisions:
        yield Row(_NO_ROUTE, WOULD_IGNORE, verdict.why_nothing)
