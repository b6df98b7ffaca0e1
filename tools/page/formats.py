"""Formats values for templates. Pure."""

from datetime import datetime
from urllib.parse import urlsplit

from shared.durations import short_duration
from shared.journal.records import JournalKey
from tools.actions.records import SHOWN_KEY


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
