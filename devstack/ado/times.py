"""Times, as the emulator keeps and writes them."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """A time as Azure DevOps writes it: UTC, seven fractional digits, Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
