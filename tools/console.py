"""All output of the commands: colored and cut to the width of a terminal; elsewhere plain and complete lines.

Names and reasons come from events, so characters that could control a terminal are replaced. An error of another
library may quote a secret, so secrets are masked in error messages.
"""

import json
import re
import sys
from collections.abc import Container, Sequence
from typing import Any, Final

from rich.console import Console as RichConsole
from rich.text import Text

from shared.http.masking import without_url_credentials

_WORDS_BY_STYLE: Final = {
    "green": ("queued", "accepted", "ok", "would queue", "would adopt", "true"),
    "cyan": ("duplicate", "suppressed", "would suppress"),
    "yellow": ("deferred", "uncertain", "released", "claimed", "unknown", "no sample", "would look", "would defer",
               "warning"),
    "bold red": ("parked", "refused", "failed", "would park", "error"),
    "red": ("false",),
    "dim": ("ignored", "skipped", "not reached"),
}  # fmt: skip
_STYLES: Final = {word: style for style, words in _WORDS_BY_STYLE.items() for word in words}
_SECRET: Final = re.compile(r"(?i)\b(sig|AccountKey|SharedAccessSignature)=[^&;\s'\"]+")
_GAP: Final = "  "
_MIN_WIDTH: Final = 6


class Console:
    """Prints results to standard output and everything else to standard error."""

    def __init__(self) -> None:
        """Use the current standard output."""
        self._is_terminal = sys.stdout.isatty()
        self._rich = RichConsole(force_terminal=self._is_terminal, highlight=False, emoji=False, markup=False)

    def line(self, text: str = "") -> None:
        """Print one line of the result, without wrapping or cutting it."""
        self._rich.print(Text(printable(text)), soft_wrap=True)

    def text(self, text: str) -> None:
        """Print several lines of the result, as they are."""
        for line in text.splitlines():
            self.line(line)

    def finding(self, place: str, severity: str, text: str) -> None:
        """Print a line as compilers do: place, severity, text."""
        line = Text(f"{printable(place)} ", "bold")
        line.append(f"{severity}: ", _STYLES.get(severity, ""))
        line.append(printable(text), "not bold")
        self._rich.print(line, soft_wrap=True)

    def row(self, cells: Sequence[str], widths: Sequence[int]) -> None:
        """Print one row of a table before its other rows are known. The last cell is never cut.

        :param widths: the widths of all cells except the last.
        """
        line = Text()
        for cell, width in zip(cells[:-1], widths, strict=True):
            line.append(printable(cell).ljust(width), _STYLES.get(cell, ""))
            line.append(_GAP)
        line.append(printable(cells[-1]))
        line.rstrip()
        self._rich.print(line, soft_wrap=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], shrinking: Container[str]) -> None:
        """Print a whole table.

        :param shrinking: the columns that may be cut on a narrow terminal. Elsewhere nothing is cut.
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
        """Print a JSON document in ASCII, so that no value can control a terminal."""
        self._rich.print(Text(json.dumps(document, indent=2)), soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a remark about the result on standard error."""
        sys.stderr.write(masked(printable(text)) + "\n")
        sys.stderr.flush()

    def incomplete(self, remarks: Sequence[str]) -> int:
        """Print why a list is incomplete, and return the command's exit code: 0 if it is complete, else 1."""
        for remark in remarks:
            self.note(remark)
        return 1 if remarks else 0

    def error(self, text: str) -> None:
        """Print an error message on standard error. Lines after the first are indented."""
        first, *more = text.splitlines() or [""]
        self.note(f"manage.py: {first}")
        for line in more:
            self.note(f"  {line.strip()}")

    def confirm(self, question: str) -> bool:
        """Ask the operator at the terminal. Any answer other than yes means no."""
        return self.ask(f"{question} [y/N] ").lower() in {"y", "yes"}

    def ask(self, question: str) -> str:
        """Ask a question at the terminal, and return the answer without blanks around it.

        :raises KeyboardInterrupt: the input has ended, as after Ctrl-D.
        """
        sys.stderr.write(printable(question))
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:
            raise KeyboardInterrupt
        return answer.strip()


def fitted(widths: Sequence[int], may_shrink: Sequence[int], room: int) -> list[int]:
    """Return the column widths, with the widest shrinkable column reduced until all fit or the minimum is reached.

    :param may_shrink: the indexes of the columns that may shrink.
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
    """Return the text on one line, with a space in place of each unprintable character."""
    return "".join(character if character.isprintable() else " " for character in text)


def masked(text: str) -> str:
    """Return the text with keys, signatures, and the credentials of URLs masked."""
    return _SECRET.sub(r"\1=***", without_url_credentials(text))
