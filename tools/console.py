"""The only place that prints. On a terminal with colour and to its width; elsewhere plain, whole lines.

Names and reasons come from events, so nothing that a terminal could take for a command is let through; and a secret
that an error of somebody else's code may quote is masked.
"""

import json
import re
import sys
from collections.abc import Container, Sequence
from typing import Any, Final

from rich.console import Console as RichConsole
from rich.text import Text

_STYLES: Final = {
    "queued": "green",
    "duplicate": "cyan",
    "suppressed": "cyan",
    "ignored": "dim",
    "parked": "bold red",
    "deferred": "yellow",
    "uncertain": "yellow",
    "released": "yellow",
    "claimed": "yellow",
    "accepted": "green",
    "refused": "bold red",
    "unknown": "yellow",
    "no sample": "yellow",
    "ok": "green",
    "failed": "bold red",
    "skipped": "dim",
    "would queue": "green",
    "would look": "yellow",
    "would suppress": "cyan",
    "would defer": "yellow",
    "would park": "bold red",
    "true": "green",
    "false": "red",
    "not reached": "dim",
    "error": "bold red",
    "warning": "yellow",
}
_SECRET: Final = re.compile(r"(?i)\b(sig|AccountKey|SharedAccessSignature)=[^&;\s'\"]+")
_GAP: Final = "  "
_MIN_WIDTH: Final = 6


class Console:
    """Prints results on standard output and everything else on standard error."""

    def __init__(self) -> None:
        """Looks at the streams as they are now."""
        self._is_terminal = sys.stdout.isatty()
        self._rich = RichConsole(force_terminal=self._is_terminal, highlight=False, emoji=False, markup=False)

    def line(self, text: str = "") -> None:
        """One line of the result, never folded or cut."""
        self._rich.print(Text(printable(text)), soft_wrap=True)

    def text(self, text: str) -> None:
        """Several lines of the result, as they are."""
        for line in text.splitlines():
            self.line(line)

    def pretty(self, document: Any) -> None:
        """A JSON document for people, or a text that is none."""
        self.text(document if isinstance(document, str) else json.dumps(document, indent=2, ensure_ascii=False))

    def finding(self, place: str, severity: str, text: str) -> None:
        """A line as compilers print one: where, how bad, what."""
        line = Text(f"{printable(place)} ", "bold")
        line.append(f"{severity}: ", _STYLES.get(severity, ""))
        line.append(printable(text), "not bold")
        self._rich.print(line, soft_wrap=True)

    def row(self, cells: Sequence[str], widths: Sequence[int]) -> None:
        """One line of a table that is printed as its rows become known; the last cell has all the room it needs.

        :param widths: of all cells but the last.
        """
        line = Text()
        for cell, width in zip(cells[:-1], widths, strict=True):
            line.append(printable(cell).ljust(width), _STYLES.get(cell, ""))
            line.append(_GAP)
        line.append(printable(cells[-1]))
        line.rstrip()
        self._rich.print(line, soft_wrap=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], shrinking: Container[str]) -> None:
        """A whole table.

        :param shrinking: the columns that are cut where a terminal is too narrow; elsewhere nothing is cut.
        """
        widths = [max(len(printable(row[column])) for row in (head, *rows)) for column in range(len(head))]
        if self._is_terminal:
            may_shrink = [index for index, name in enumerate(head) if name in shrinking]
            widths = fitted(widths, may_shrink, self._rich.width)
            rows = [[_cut(cell, width) for cell, width in zip(row, widths, strict=True)] for row in rows]
        self.row(head, widths[:-1])
        for row in rows:
            self.row(row, widths[:-1])

    def json(self, document: Any) -> None:
        """A JSON document, in ASCII: what is in it cannot speak to a terminal."""
        self._rich.print(Text(json.dumps(document, indent=2)), soft_wrap=True)

    def note(self, text: str) -> None:
        """Something about the result that is not part of it."""
        self._to_stderr(text)

    def error(self, text: str) -> None:
        """What went wrong; further lines of it are kept, indented."""
        first, *more = text.splitlines() or [""]
        self._to_stderr(f"manage.py: {first}")
        for line in more:
            self._to_stderr(f"  {line.strip()}")

    def confirm(self, question: str) -> bool:
        """Ask a person on the terminal; anything but yes means no."""
        sys.stderr.write(f"{printable(question)} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    @staticmethod
    def _to_stderr(text: str) -> None:
        sys.stderr.write(masked(printable(text)) + "\n")
        sys.stderr.flush()


def fitted(widths: Sequence[int], may_shrink: Sequence[int], room: int) -> list[int]:
    """The columns' widths, the widest of those that may shrink made smaller until all fit, or nothing more can go.

    :param may_shrink: the columns' numbers.
    """
    fitting = [min(width, room) if index in may_shrink else width for index, width in enumerate(widths)]
    while sum(fitting) + len(_GAP) * (len(fitting) - 1) > room:
        widest = max(may_shrink, key=fitting.__getitem__)
        if fitting[widest] <= _MIN_WIDTH:
            break
        fitting[widest] -= 1
    return fitting


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def printable(text: str) -> str:
    """The text on one line, with a space for each character that does not show."""
    return "".join(character if character.isprintable() else " " for character in text)


def masked(text: str) -> str:
    """The text without keys and signatures."""
    return _SECRET.sub(r"\1=***", text)
