"""What is known of a server by its address: proxies and certificates to trust, and whether it is this machine."""

import ipaddress
from typing import Any


def environment_settings(url: str) -> dict[str, Any]:
    """``proxies``, ``verify``, ``cert`` and ``stream``, as ``requests`` would use them for this server.

    Slow, since it reads the whole environment, and ``requests`` does so for each request; the same for every request to
    one server, so look it up once.
    """
    import requests  # noqa: PLC0415 - slow, and is_loopback does without

    with requests.Session() as session:
        return dict(session.merge_environment_settings(origin_of(url), {}, False, None, None))  # noqa: FBT003


def origin_of(url: str) -> str:
    """``https://host:port`` of an address."""
    return "/".join(url.split("/", 3)[:3])


def is_loopback(host: str) -> bool:
    """Whether what is sent there does not leave this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
