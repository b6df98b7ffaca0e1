"""The log of decisions during a measurement, written as in the app."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

from shared.telemetry import LOGGER_NAME


@contextmanager
def decisions_logged() -> Iterator[None]:
    """Format decision records as the worker does, and keep them in memory until the end of the block."""
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
