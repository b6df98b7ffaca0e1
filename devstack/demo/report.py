"""Prints the outcomes of the demo: a block for each event, no wider than the terminal."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from devstack.demo.event_grid import Delivery

_STYLES: Final = {
    "queued": "bold green",
    "duplicate": "cyan",
    "gathered": "cyan",
    "ignored": "dim",
    "parked": "bold red",
    "deferred": "yellow",
    "completed": "bold green",
    "closed": "dim",
}
_WIDEST: Final = 100

Decision = Mapping[str, Any]
"""One of the app's decision records. See shared/telemetry.py."""


class Report:
    """Prints lines that are broken only between words."""

    def __init__(self, console: Console | None = None, width: int | None = None) -> None:
        """Print to standard output, as wide as the terminal.

        :param width: by default COLUMNS, or the width of the terminal, or 80.
        """
        self._console = console or Console(highlight=False)
        self._width = min(width or shutil.get_terminal_size().columns, _WIDEST)

    def line(self, text: str = "", style: str = "", indent: int = 0, *, hanging: int = 0) -> None:
        """Print words in as many lines as it needs.

        :param hanging: by how much more the lines after the first are indented.
        """
        lines = textwrap.wrap(
            text,
            self._width,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + hanging),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for each in lines or [""]:
            self._console.print(Text(each, style), soft_wrap=True)

    def events(
        self, deliveries: Iterable[Delivery], decisions: Iterable[Decision], pipelines: Mapping[int, str]
    ) -> None:
        """Print a block for each event: the answers to its deliveries, and each outcome with its reason below.

        :param decisions: all decision records, in chronological order.
        :param pipelines: the name of the pipeline for each run ID.
        """
        by_event: dict[str, list[Decision]] = {}
        for decision in decisions:
            by_event.setdefault(decision["event_id"], []).append(decision)
        for delivery in deliveries:
            self._block(delivery.sample, delivery.statuses, delivery.note)
            self._outcomes(by_event.get(delivery.event_id, []), pipelines)

    def many(
        self,
        what: str,
        deliveries: Sequence[Delivery],
        decisions: Iterable[Decision],
        pipelines: Mapping[int, str],
    ) -> None:
        """Print one block for several events."""
        events = {delivery.event_id for delivery in deliveries}
        self._block(what, sorted(status for delivery in deliveries for status in delivery.statuses))
        self._outcomes([decision for decision in decisions if decision["event_id"] in events], pipelines)

    def _block(self, what: str, statuses: list[int], note: str = "") -> None:
        self.line()
        self.line(f"{what}: answered {_answers(statuses)}", "bold", hanging=2)
        if note:
            self.line(f"({note})", "italic dim", 2)

    def _outcomes(self, decisions: Iterable[Decision], pipelines: Mapping[int, str]) -> None:
        for decision in _grouped(decisions):
            self.line(_outcome(decision, pipelines), _STYLES.get(decision["outcome"], ""), 2, hanging=2)
            if decision["reason"]:
                self.line(decision["reason"], "", 6)


def _grouped(decisions: Iterable[Decision]) -> Iterable[Decision]:
    """Merge equal decisions, as retries repeat them, into the last one, and count them in ``times``."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for decision in decisions:
        key = (decision["route"], decision["outcome"], _reason_without_digits(decision))
        rows[key] = {**decision, "times": rows.get(key, {}).get("times", 0) + 1}
    return rows.values()


def _reason_without_digits(decision: Decision) -> str:
    """Return the reason without its numbers, which differ from one retry to the next."""
    return "".join(character for character in decision["reason"] if not character.isdigit())


def _outcome(decision: Decision, pipelines: Mapping[int, str]) -> str:
    route, run_id = decision["route"], decision["run_id"]
    times = f", {decision['times']} times" if decision["times"] > 1 else ""
    run = "" if run_id is None else f", {pipelines.get(run_id, 'pipeline')} run {run_id}"
    outcome = f"{decision['outcome']}{times}{run}"
    return f"{route}: {outcome}" if route else outcome


def _answers(statuses: list[int]) -> str:
    """Return the status codes in order, such as ``500 202`` for one retry. Equal codes in a row become ``202 x3``."""
    groups: list[tuple[int, int]] = []
    for status in statuses:
        count = groups.pop()[1] if groups and groups[-1][0] == status else 0
        groups.append((status, count + 1))
    return " ".join(f"{status}" + (f" x{count}" if count > 1 else "") for status, count in groups)
