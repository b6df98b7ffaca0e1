"""The keys of a host, and which of them a request needs.

A request has its key in the query as `code`, or in the header `x-functions-key`. Source: measurements on the Functions
host 4.1037 (`aeg-sas-key` is not read).
"""

import secrets
from collections.abc import Collection
from enum import Enum
from typing import NamedTuple, Self

from werkzeug.wrappers import Request, Response


class Keys(NamedTuple):
    """The keys of a host, all different."""

    system: str  # of the Event Grid extension: eventgrid_extension
    function: str  # of one function; here it opens all of them
    host: str  # of all functions
    master: str

    @classmethod
    def new(cls) -> Self:
        """Make random keys."""
        return cls(*(secrets.token_urlsafe(32) for _ in cls._fields))


class Access(Enum):
    """What a request asks for. The value has the names of the keys that open it."""

    EXTENSION = ("system", "master")
    FUNCTION = ("function", "host", "master")
    ADMIN = ("master",)
    ANONYMOUS = ()


def refusal(request: Request, access: Access, keys: Keys | None) -> Response | None:
    """Return the answer to a request without the right key; None if it may pass.

    :param keys: the keys of the host. None means that it asks for none, like Core Tools.
    """
    if keys is None or access is Access.ANONYMOUS:
        return None
    given = _given(request)
    kind = next((name for name, key in keys._asdict().items() if secrets.compare_digest(key.encode(), given)), None)
    if kind in access.value:
        return None
    # A system key is unknown to HTTP functions, so it is the same as a wrong one.
    return Response(status=403 if kind in _known(access) else 401)


def _known(access: Access) -> Collection[str | None]:
    return () if access is Access.FUNCTION else Keys._fields


def _given(request: Request) -> bytes:
    in_query = (value for name, value in request.args.items() if name.casefold() == "code")
    return (next(in_query, "") or request.headers.get("x-functions-key", "")).encode()
