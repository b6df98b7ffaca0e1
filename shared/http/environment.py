"""What the environment determines for a server: proxies, trusted certificates, and whether it is this machine."""

import ipaddress
from typing import Any


def environment_settings(url: str) -> dict[str, Any]:
    """Return ``proxies``, ``verify``, ``cert`` and ``stream`` as ``requests`` would use them for this server.

    The result is the same for every request to a server. Look it up once, because it is slow: it reads the whole
    environment.
    """
    import requests  # noqa: PLC0415 - slow to import, and is_loopback does not need it

    with requests.Session() as session:
        return dict(session.merge_environment_settings(origin_of(url), {}, False, None, None))  # noqa: FBT003


def origin_of(url: str) -> str:
    """Return the origin of a URL, as in ``https://host:port``."""
    return "/".join(url.split("/", 3)[:3])


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine, so that requests to it do not leave the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
