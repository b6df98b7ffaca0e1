"""The log of decisions while something is measured: written as in the app, and kept nowhere."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

from shared.telemetry import LOGGER_NAME


@contextmanager
def decisions_logged() -> Iterator[None]:
    """Take the decisions' records as the worker does: formatted, and here thrown away."""
    log = logging.getLogger(LOGGER_NAME)
    level, propagate, sink = log.level, log.propagate, _Sink()
    handler = logging.StreamHandler(sink)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


class _Sink(StringIO):
    def write(self, text: str, /) -> int:
        return len(text)
