"""The one clock. Wall time on purpose: unlike a monotonic clock it goes on while a machine is suspended."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Tells the time, aware, in UTC."""


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)
