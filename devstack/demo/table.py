"""Prints the outcomes of the demo as a table."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from devstack.demo.event_grid import Delivery

_STYLES: Final = {
    "queued": "bold green",
    "duplicate": "cyan",
    "ignored": "dim",
    "parked": "bold red",
    "deferred": "yellow",
    "completed": "bold green",
    "closed": "dim",
}
# Wide enough that no line is folded in a log or a pipe.
_WIDTH_WITHOUT_TERMINAL: Final = 1000

Decision = Mapping[str, Any]
"""One of the app's decision records. See shared/telemetry.py."""


def show(
    deliveries: Iterable[Delivery],
    decisions: Iterable[Decision],
    pipelines: Mapping[int, str],
    console: Console | None = None,
) -> None:
    """Print a row for each event and each of its outcomes.

    :param decisions: all decision records, in chronological order.
    :param pipelines: the name of the pipeline for each run ID.
    """
    console = console or Console(width=None if Console().is_terminal else _WIDTH_WITHOUT_TERMINAL)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("event", no_wrap=True)
    table.add_column("answers", no_wrap=True)
    table.add_column("route")
    table.add_column("outcome", no_wrap=True)
    table.add_column("pipeline run / reason", overflow="fold")
    by_event: dict[str, list[Decision]] = {}
    for decision in decisions:
        by_event.setdefault(decision["event_id"], []).append(decision)
    for delivery in deliveries:
        first = True
        for decision in _grouped(by_event.get(delivery.event_id, [])):
            outcome = decision["outcome"]
            table.add_row(
                Text(delivery.sample) if first else "",
                _answers(delivery.statuses) if first else "",
                decision["route"] or "-",
                Text(outcome, style=_STYLES.get(outcome, "")),
                Text(_details(decision, pipelines)),
            )
            first = False
        if delivery.note:
            table.add_row("", "", "", "", Text(f"({delivery.note})", style="italic dim"))
    console.print(table)


def _grouped(decisions: list[Decision]) -> Iterable[Decision]:
    """Merge equal decisions, as retries repeat them, and count them in ``times``."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for decision in decisions:
        key = (decision["route"], decision["outcome"], _reason_without_digits(decision))
        row = rows.setdefault(key, {**decision, "times": 0})
        row["times"] += 1
    return rows.values()


def _reason_without_digits(decision: Decision) -> str:
    """Return the reason without its numbers, which differ from one retry to the next."""
    return "".join(character for character in decision["reason"] if not character.isdigit())


def _details(decision: Decision, pipelines: Mapping[int, str]) -> str:
    times = f"{decision['times']} times: " if decision["times"] > 1 else ""
    run_id = decision["run_id"]
    run = "" if run_id is None else f"{pipelines.get(run_id, 'pipeline')} run {run_id}"
    return times + ", ".join(part for part in (run, decision["reason"]) if part)


def _answers(statuses: list[int]) -> str:
    """Return the status codes in order, such as ``500 202`` for one retry. Equal codes in a row become ``202 x3``."""
    groups: list[tuple[int, int]] = []
    for status in statuses:
        count = groups.pop()[1] if groups and groups[-1][0] == status else 0
        groups.append((status, count + 1))
    return " ".join(f"{status}" + (f" x{count}" if count > 1 else "") for status, count in groups)
