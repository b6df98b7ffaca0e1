"""The log of decisions while something is measured: written as in the app, and never read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

from shared.telemetry import LOGGER_NAME


@contextmanager
def decisions_logged() -> Iterator[None]:
    """Take the decisions' records as the worker does: formatted, and here kept in memory until the end."""
    log = logging.getLogger(LOGGER_NAME)
    level, propagate = log.level, log.propagate
    handler = logging.StreamHandler(StringIO())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
