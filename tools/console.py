"""All output of the commands: colored and wrapped between words on a terminal; elsewhere plain and complete lines.

Nothing is cut. On a terminal, a table whose last column does not fit shows it below each row.

Names and reasons come from events, so characters that could control a terminal are replaced. An error of another
library may quote a secret, so secrets are masked in error messages.
"""

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Console as RichConsole
from rich.text import Text

from shared.http.masking import without_url_credentials

_WORDS_BY_STYLE: Final = {
    "green": ("queued", "accepted", "ok", "would queue", "would adopt", "true"),
    "cyan": ("duplicate", "suppressed", "would suppress", "gathered", "would gather"),
    "yellow": ("deferred", "uncertain", "released", "claimed", "unknown", "no sample", "would look", "would defer",
               "warning"),
    "bold red": ("parked", "refused", "failed", "would park", "error"),
    "red": ("false",),
    "dim": ("ignored", "skipped", "not reached"),
}  # fmt: skip
_STYLES: Final = {word: style for style, words in _WORDS_BY_STYLE.items() for word in words}
_SECRET: Final = re.compile(r"(?i)\b(sig|AccountKey|SharedAccessSignature)=[^&;\s'\"]+")
_GAP: Final = "  "
_INDENT: Final = "    "
"""Begins the lines below the first line of a row."""
_MIN_WIDTH: Final = 30
"""If there is less room for it, the last column is shown below the others."""


class Console:
    """Prints results to standard output and everything else to standard error."""

    def __init__(self) -> None:
        """Use the current standard output."""
        is_terminal = sys.stdout.isatty()
        self._rich = RichConsole(force_terminal=is_terminal, highlight=False, emoji=False, markup=False)
        self._room = self._rich.width if is_terminal else None

    def line(self, text: str = "") -> None:
        """Print one line of the result."""
        for part in wrapped(printable(text), self._room):
            self._rich.print(Text(part), soft_wrap=True)

    def text(self, text: str) -> None:
        """Print several lines of the result."""
        for line in text.splitlines():
            self.line(line)

    def code(self, text: str) -> None:
        """Print lines that a program reads, as they are."""
        for line in text.splitlines():
            self._rich.print(Text(printable(line)), soft_wrap=True)

    def finding(self, place: str, severity: str, text: str) -> None:
        """Print a line as compilers do: place, severity, text."""
        place, text = printable(place), printable(text)
        first, *others = wrapped(f"{place} {severity}: {text}", self._room)
        line, severity_at = Text(first), len(place) + 1
        line.stylize("bold", 0, len(place))
        line.stylize(_STYLES.get(severity, ""), severity_at, severity_at + len(severity) + 1)
        for part in (line, *map(Text, others)):
            self._rich.print(part, soft_wrap=True)

    def row(self, cells: Sequence[str], widths: Sequence[int]) -> None:
        """Print one row of a table before its other rows are known.

        :param widths: the widths of all cells except the last.
        """
        self._rows([cells], widths)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a whole table."""
        self._rows([head, *rows], [0] * (len(head) - 1))

    def _rows(self, rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
        """Print rows that all have the last column in the same place.

        :param widths: the minimum widths of all cells except the last.
        """
        rows = [[printable(cell) for cell in row] for row in rows]
        texts = [row[-1] for row in rows]
        sizes = [max(width, *(len(row[column]) for row in rows)) for column, width in enumerate(widths)]
        start = sum(sizes) + len(sizes) * len(_GAP)
        has_room = self._room is None or all(_fits_after(text, self._room - start) for text in texts)
        for *cells, text in rows:
            lines = list(_packed(cells, sizes, None if has_room else self._room))
            if has_room:
                first, *others = wrapped(text, None if self._room is None else self._room - start)
                lines[-1].append(_GAP if cells else "").append(first, _STYLES.get(text, ""))
                lines += [Text(" " * start + part) for part in others]
            elif text:
                lines += [Text(part, _STYLES.get(text, "")) for part in wrapped(_INDENT + text, self._room)]
            for line in lines:
                line.rstrip()
                self._rich.print(line, soft_wrap=True)

    def json(self, document: Any) -> None:
        """Print a JSON document in ASCII, so that no value can control a terminal."""
        self._rich.print(Text(json.dumps(document, indent=2)), soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a remark about the result on standard error."""
        room = self._rich.width if sys.stderr.isatty() else None
        sys.stderr.write("\n".join(wrapped(masked(printable(text)), room)) + "\n")
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
        """Ask the operator at the terminal. Any answer other than yes means no, and so does the end of the input."""
        return self._answer(f"{question} [y/N] ").strip().lower() in {"y", "yes"}

    def ask(self, question: str) -> str:
        """Ask a question at the terminal, and return the answer without blanks around it.

        :raises KeyboardInterrupt: the input has ended, as after Ctrl-D.
        """
        answer = self._answer(question)
        if not answer:
            raise KeyboardInterrupt
        return answer.strip()

    def _answer(self, question: str) -> str:
        """Ask a question, and return the line that was entered; an empty string if the input has ended."""
        sys.stderr.write(printable(question))
        sys.stderr.flush()
        return sys.stdin.readline()


def wrapped(text: str, room: int | None) -> list[str]:
    """Return the lines of a string, broken only between words. Further lines are indented by two more spaces.

    :param room: the width of a line; None if a line may have any length.
    """
    if room is None or len(text) <= room:
        return [text]
    margin = " " * (len(text) - len(text.lstrip()))
    lines = textwrap.wrap(
        text.strip(),
        room,
        initial_indent=margin,
        subsequent_indent=margin + _GAP,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [""]


def _fits_after(text: str, room: int) -> bool:
    """Return whether a string fits after other columns, without breaking its longest word."""
    return len(text) <= room or (room >= _MIN_WIDTH and max(map(len, wrapped(text, room))) <= room)


def _packed(cells: Sequence[str], sizes: Sequence[int], room: int | None) -> Iterator[Text]:
    """Yield the lines of the first columns, broken between cells. A cell that is too long is broken between words."""
    line = Text()
    for cell, size in zip(cells, sizes, strict=True):
        if room is not None and line.cell_len and line.cell_len + len(_GAP) + size > room:
            yield line
            line = Text(_INDENT)
        elif line.cell_len:
            line.append(_GAP)
        *first, last = wrapped(line.plain + cell, room) if room is not None and size > room else [cell]
        if first:
            yield from map(Text, first)
            line = Text(last)
        else:
            line.append(last.ljust(size), _STYLES.get(cell, ""))
    yield line


def printable(text: str) -> str:
    """Return the text on one line. Unprintable characters, which may hide or reorder others, are escaped as in JSON."""
    return "".join(one if one.isprintable() else " " if one.isspace() else json.dumps(one)[1:-1] for one in text)


def masked(text: str) -> str:
    """Return the text with keys, signatures, and the credentials of URLs masked."""
    return _SECRET.sub(r"\1=***", without_url_credentials(text))
