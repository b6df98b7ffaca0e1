"""Waits for something that happens elsewhere, however slow the machine is."""

import time
from collections.abc import Callable
from typing import TypeVar

LONGEST_SECONDS = 60

Seen = TypeVar("Seen")


def wait_until(look: Callable[[], Seen]) -> Seen:
    """Look again and again; returns the first thing seen that is true."""
    limit = time.monotonic() + LONGEST_SECONDS
    while not (seen := look()):
        assert time.monotonic() < limit, f"it did not happen within {LONGEST_SECONDS} s"
        time.sleep(0.01)
    return seen
