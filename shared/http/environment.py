"""What the environment determines for a server: proxies, trusted certificates, and whether it is this machine."""

import ipaddress
from typing import Any, Final
from urllib.parse import urlsplit

PROXY_ADVICE: Final = "must be the URL of a proxy, such as http://proxy.example:3128"


def environment_settings(url: str) -> dict[str, Any]:
    """Return ``proxies``, ``verify``, ``cert`` and ``stream`` as ``requests`` would use them for this server.

    The result is the same for every request to a server. Look it up once, because it is slow: it reads the whole
    environment.

    :raises InvalidProxyURL: a proxy is not a URL. The message does not show it, because it may contain a password.
    """
    import requests  # noqa: PLC0415 - slow to import, and is_loopback does not need it

    with requests.Session() as session:
        settings: dict[str, Any] = dict(session.merge_environment_settings(origin_of(url), {}, False, None, None))  # noqa: FBT003
    if not all(is_proxy(proxy) for proxy in settings["proxies"].values()):
        raise requests.exceptions.InvalidProxyURL(f"HTTPS_PROXY, HTTP_PROXY or ALL_PROXY {PROXY_ADVICE}")
    return settings


def is_proxy(text: str) -> bool:
    """Return whether the text is the URL of a proxy. The scheme may be missing; there may be a password."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and parts.path in {"", "/"} and not (parts.query or parts.fragment)


def origin_of(url: str) -> str:
    """Return the origin of a URL, as in ``https://host:port``."""
    return "/".join(url.split("/", 3)[:3])


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine, so that requests to it do not leave the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
