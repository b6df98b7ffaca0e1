"""A clock that tests control."""

from datetime import UTC, datetime, timedelta


class ManualClock:
    """A clock that does not move until a test advances it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
