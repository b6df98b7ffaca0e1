"""Formats values for templates. Pure."""

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from shared.durations import short_duration
from shared.journal.records import JournalKey
from tools.actions.records import SHOWN_KEY

# Source: Unicode's UAX #9, the characters that embed, override and isolate a direction.
_DIRECTIONS: Final = {
    ord(one): f"\\u{ord(one):04x}" for one in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
}


class Entered(str):
    """What goes into a field, and must come back from there as it is. A macro's output is shown, and so escaped."""

    __slots__ = ()


def visible(value: Any) -> Any:
    """Return a value to be shown. Characters in a string that change the order in which others are shown are escaped.

    Otherwise, an event could look like another one.
    """
    return value.translate(_DIRECTIONS) if isinstance(value, str) and not isinstance(value, Entered) else value


def utc(at: datetime) -> str:
    """Return a time to the second, as the commands show it."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def relative(at: datetime, now: datetime) -> str:
    """Return ``5m ago`` or ``in 5m``."""
    return f"{short_duration(now - at)} ago" if at <= now else f"in {short_duration(at - now)}"


def short_key(key: JournalKey) -> str:
    """Return the part of a key that identifies a record in practice."""
    return key.key[:SHOWN_KEY]


def is_web_link(url: str) -> bool:
    """Return whether a link to this URL only opens a website. Others, such as ``javascript:``, are shown as text."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)
