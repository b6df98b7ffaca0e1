"""Finds names in the environment that are probably misspelled settings, which the app ignores."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from shared.settings.table import SETTINGS

_MAX_LETTERS: Final = 2
"""How many letters in a row may be wrong, missing or too many. Names of the Functions host, Azure's libraries and azd
differ in more."""


def misspelled(environment: Mapping[str, str], routes_file: Path) -> Iterator[str]:
    """Yield a message for each name that is almost that of a setting which is not set.

    The first event waits for it, so it does without difflib, whose import and comparisons take several times as long.

    :param routes_file: routes.yaml. A name that it uses is not a mistake.
    """
    known = {row.name for row in SETTINGS}
    unset = [row.name for row in SETTINGS if not (row.is_set_by_azure or environment.get(row.name))]
    for name in sorted(environment.keys() - known):
        similar = (each for each in unset if abs(len(each) - len(name)) <= _MAX_LETTERS and _is_almost(name, each))
        meant = next(similar, None)
        if meant is not None and environment[name] and f"${{{name}}}" not in _text(routes_file):
            yield f"{name} is not a setting of nextstage, so it has no effect; did you mean '{meant}'?"


def _is_almost(name: str, other: str) -> bool:
    """Return whether names differ only in case, or in one place by a few letters."""
    name, other = name.lower(), other.lower()
    start = _common_start(name, other)
    end = _common_start(name[start:][::-1], other[start:][::-1])
    return max(len(name), len(other)) - start - end <= _MAX_LETTERS


def _common_start(one: str, other: str) -> int:
    """Return how many letters are the same at the start of two strings."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace")
    return ""
