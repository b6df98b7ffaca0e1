"""What ``requests`` takes from the environment for a server: proxies, and certificates to trust."""

from typing import Any

import requests


def environment_settings(url: str) -> dict[str, Any]:
    """``proxies``, ``verify``, ``cert`` and ``stream``, as ``requests`` would use them for this server.

    Slow, since it reads the whole environment, and ``requests`` does so for each request; the same for every request to
    one server, so look it up once.
    """
    with requests.Session() as session:
        return dict(session.merge_environment_settings(origin_of(url), {}, False, None, None))  # noqa: FBT003


def origin_of(url: str) -> str:
    """``https://host:port`` of an address."""
    return "/".join(url.split("/", 3)[:3])
