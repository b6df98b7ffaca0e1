"""Waiting for a condition, with a limit that suits slow machines."""

import time
from collections.abc import Callable
from typing import TypeVar

LONGEST_SECONDS = 60

Seen = TypeVar("Seen")


def wait_until(look: Callable[[], Seen]) -> Seen:
    """Call ``look`` repeatedly and return its first true result."""
    limit = time.monotonic() + LONGEST_SECONDS
    while not (seen := look()):
        assert time.monotonic() < limit, f"the condition was not met within {LONGEST_SECONDS} s"
        time.sleep(0.01)
    return seen
