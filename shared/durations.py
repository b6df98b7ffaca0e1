"""Durations such as ``30m``, in routes.yaml and in the options of the operator's commands."""

import re
from datetime import timedelta
from typing import Final

_DURATION: Final = re.compile(
    r"(?:(?P<days>\d{1,5})d)?(?:(?P<hours>\d{1,5})h)?(?:(?P<minutes>\d{1,5})m)?(?:(?P<seconds>\d{1,7})s)?"
)
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def parse_duration(text: str) -> timedelta:
    """Read a duration such as ``90s``, ``30m``, ``6h``, ``1h30m`` or ``2d``.

    :raises ValueError: the string is not a duration, or zero. The message continues the string, and shows valid ones.
    """
    found = _DURATION.fullmatch(text.strip())
    units = {unit: int(number) for unit, number in found.groupdict().items() if number} if found else {}
    length = timedelta(**units)
    if not length:
        wrong = "must be longer than 0s" if units else "is not a duration"
        raise ValueError(f"{wrong}; write '90s', '30m', '6h', '1h30m' or '2d'")
    return length


def duration_text(length: timedelta) -> str:
    """Return the duration in the notation that ``parse_duration`` reads, in whole seconds."""
    seconds = int(length.total_seconds())
    text = ""
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        text += f"{count}{unit}" if count else ""
    return text


def short_duration(length: timedelta) -> str:
    """Return the duration in its largest unit, rounded down: ``45s``, ``12m``, ``3h``, ``2d``; at least ``0s``."""
    seconds = max(0, int(length.total_seconds()))
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size}{unit}"
