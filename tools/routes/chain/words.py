"""What a picture of the chain says of a route, on a few short lines. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from shared.durations import duration_text
from shared.routing.table import Route

_OPERATOR: Final = re.compile(r"\s*(&&|\|\|)\s*")


def route_lines(route: Route, width: int) -> list[str]:
    """The route's condition and what else decides whether it queues a run.

    :param width: how many characters a line may have; longer words are left whole.
    """
    lines = [] if route.when is None else wrapped(f"when {route.when.text}", width)
    return [*lines, *(line for note in _notes(route) for line in wrapped(note, width))]


def wrapped(text: str, width: int) -> list[str]:
    """Folded before ``&&`` and ``||`` where that is enough, else between words."""
    text = " ".join(text.split())
    pieces = _OPERATOR.sub(r"\n\1 ", text).split("\n")
    lines: list[str] = []
    for word in (piece if len(piece) <= width else word for piece in pieces for word in _words(piece, width)):
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _notes(route: Route) -> Iterator[str]:
    if not route.enabled:
        yield "switched off"
    if route.include_child_runs:
        yield "child runs too"
    if route.once_per is not None:
        yield f"once per {route.once_per.text}"
    if route.cooldown is not None:
        key = "" if route.cooldown_key is None else f" per {route.cooldown_key.text}"
        yield f"at most once in {duration_text(route.cooldown)}{key}"


def _words(piece: str, width: int) -> list[str]:
    return [piece] if len(piece) <= width else piece.split(" ")
