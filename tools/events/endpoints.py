"""Checks of addresses and keys, and the cause of a failed request. Pure."""

from typing import Final
from urllib.parse import urlsplit

from shared.http.environment import is_loopback
from tools.errors import CommandFailed

_MAX_SHOWN: Final = 200


def is_safe_address(url: str) -> bool:
    """Return whether a key may be sent to the address: over TLS, or on this machine only."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.username or parts.password:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def checked_key(key: str) -> str:
    """Return the key without surrounding whitespace, such as a line end.

    :raises CommandFailed: the key contains invalid characters. The message does not show it.
    """
    key = key.strip()
    if not key.isascii() or not key.isprintable():
        raise CommandFailed("the key contains invalid characters; copy the complete key, and nothing else")
    return key


def cause_of(exc: BaseException) -> str:
    """Return the type and message of the innermost cause, which is the most specific one."""
    while (inner := getattr(exc, "inner_exception", None) or exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}"[:_MAX_SHOWN]
