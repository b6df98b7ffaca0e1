"""Lengths of time, as routes.yaml writes cooldowns and the operator's commands take them."""

import re
from datetime import timedelta
from typing import Final

_DURATION: Final = re.compile(
    r"(?:(?P<days>\d{1,5})d)?(?:(?P<hours>\d{1,5})h)?(?:(?P<minutes>\d{1,5})m)?(?:(?P<seconds>\d{1,7})s)?"
)
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def parse_duration(text: str) -> timedelta:
    """``90s``, ``30m``, ``6h``, ``1h30m``, ``2d``.

    :raises ValueError: it is none; the message says how one is written.
    """
    found = _DURATION.fullmatch(text.strip())
    units = {unit: int(number) for unit, number in found.groupdict().items() if number} if found else {}
    length = timedelta(**units)
    if not length:
        raise ValueError(f"'{text}' is no duration; write '90s', '30m', '6h', '1h30m' or '2d'")
    return length


def duration_text(length: timedelta) -> str:
    """As it is written: what ``parse_duration`` reads, in whole seconds."""
    seconds = int(length.total_seconds())
    text = ""
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        text += f"{count}{unit}" if count else ""
    return text


def short_duration(length: timedelta) -> str:
    """In its largest unit, rounded down: ``45s``, ``12m``, ``3h``, ``2d``; nothing is younger than ``0s``."""
    seconds = max(0, int(length.total_seconds()))
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size}{unit}"
