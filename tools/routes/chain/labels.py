"""The text about a route in a picture of the chain, on a few short lines. Pure."""

import re
from collections.abc import Iterator
from textwrap import TextWrapper
from typing import Final

from shared.durations import duration_text
from shared.routing.table import Route

SWITCHED_OFF: Final = "switched off"
_OPERAND: Final = re.compile(r" (?=&&|\|\|)")


def route_lines(route: Route, width: int) -> list[str]:
    """Return the route's condition and its other rules for queuing a run. Long lines are broken at operators.

    :param width: the maximum length of a line; a longer word is not broken.
    """
    fold = TextWrapper(width, break_long_words=False, break_on_hyphens=False).wrap
    notes = (_OPERAND.split(note) if len(note) > width else [note] for note in route_notes(route))
    return [line for operands in notes for operand in operands for line in fold(operand)]


def route_notes(route: Route) -> Iterator[str]:
    """Yield the route's condition and its other rules for queuing a run, each on one line of any length."""
    if route.when is not None:
        yield f"when {' '.join(route.when.text.split())}"
    if not route.enabled:
        yield SWITCHED_OFF
    if route.include_child_runs:
        yield "includes child runs"
    if route.once_per is not None:
        yield f"once per {route.once_per.text}"
    if route.cooldown is not None:
        key = "" if route.cooldown_key is None else f" per {route.cooldown_key.text}"
        yield f"at most once in {duration_text(route.cooldown)}{key}"
    if route.gather is not None:
        key = "" if route.gather.by is None else f" per {route.gather.by.text}"
        yield f"once it is quiet for {duration_text(route.gather.quiet)}{key}"
