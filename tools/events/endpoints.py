"""What may be sent where, with which key, and why nobody answered. Pure."""

from typing import Final
from urllib.parse import urlsplit

from shared.http.environment import is_loopback
from tools.errors import CommandFailed

_MAX_SHOWN: Final = 200


def is_safe_address(url: str) -> bool:
    """Whether a key may be sent there: over TLS, or not beyond this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.username or parts.password:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def checked_key(key: str) -> str:
    """A key as it goes into a header; a line end that slipped in goes.

    :raises CommandFailed: it can be no key; the message does not show it.
    """
    key = key.strip()
    if not key.isascii() or not key.isprintable():
        raise CommandFailed("the key holds characters that no key has; copy it again, whole and alone")
    return key


def cause_of(exc: BaseException) -> str:
    """The innermost reason, which says most in the fewest words."""
    while (inner := getattr(exc, "inner_exception", None) or exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}"[:_MAX_SHOWN]
