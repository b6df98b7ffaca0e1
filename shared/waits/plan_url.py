"""Checks the address to which a task's token is sent. Pure.

``PlanUrl`` is part of the request. Without a check, a caller could make the app send a token, even its own, to any
address. Only plain addresses are accepted: the pattern excludes every character with which a URL could mean different
things to different programs.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?:[a-z0-9_~.-]|%20)+)*)/?",
    re.ASCII | re.IGNORECASE,
)
_HTTPS_PORT: Final = 443
_DEFAULT_PORTS: Final = {"https": _HTTPS_PORT, "http": 80}
_SERVICES: Final = "dev.azure.com"
# The older form of an organization's address: <organization>.visualstudio.com.
_OLDER_SERVICES: Final = ".visualstudio.com"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1"})


class PlanUrls:
    """The addresses that are accepted as Azure DevOps."""

    def __init__(self, organization_url: str | None, allowed_hosts: Iterable[str], *, in_azure: bool) -> None:
        """
        :param organization_url: the configured organization or collection. Its host is accepted, and the app's own
            identity may be used only there.
        :param allowed_hosts: additional hosts, each ``host`` or ``host:port``.
        :param in_azure: whether the app runs in Azure. If not, ``http`` is accepted for the organization's own address,
            provided that it is on this machine.
        """
        self._organization = _normal(organization_url) if organization_url else None
        self._hosts = {(_SERVICES, _HTTPS_PORT)} | {_host_and_port(host) for host in allowed_hosts}
        self._local: tuple[str, int] | None = None
        if self._organization is None:
            return
        parts = urlsplit(self._organization)
        own = (parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, _HTTPS_PORT))
        if parts.scheme == "https":
            self._hosts.add(own)
        elif own[0] in _LOOPBACK and not in_azure:
            self._local = own

    def problem(self, url: str) -> str | None:
        """Return what is wrong with an address, and how to correct it; None if it is accepted."""
        match = _ADDRESS.fullmatch(url)
        if match is None or any(part in {".", ".."} for part in match["path"].split("/")):
            return "must be a plain https address without user name, query or fragment, such as https://dev.azure.com/contoso/"
        scheme, host = match["scheme"].lower(), match["host"].lower()
        port = int(match["port"] or _DEFAULT_PORTS[scheme])
        if scheme == "http":
            return None if (host, port) == self._local else "must begin with https://"
        if (host, port) in self._hosts or (host.endswith(_OLDER_SERVICES) and port == _HTTPS_PORT):
            return None
        shown = host if port == _HTTPS_PORT else f"{host}:{port}"
        return f"has the host {shown}, which is not Azure DevOps; add it to WAIT_ALLOWED_HOSTS if it is your server"

    def is_own_organization(self, url: str) -> bool:
        """Return whether an accepted address is that of the configured organization."""
        return self._organization is not None and _normal(url) == self._organization


def organization_of(url: str) -> str:
    """Return the organization or collection of an address, as a key by which its tasks are counted.

    An address of Azure DevOps Services counts for its organization, whatever follows the name of the organization.
    """
    parts = url.lower().rstrip("/").replace(":443", "", 1).split("/")
    host = "".join(parts[2:3])
    if host.endswith(_OLDER_SERVICES):
        return f"https://{_SERVICES}/{host.removesuffix(_OLDER_SERVICES)}"
    return "/".join(parts[:4] if host == _SERVICES else parts)


def _host_and_port(host: str) -> tuple[str, int]:
    name, _, port = host.lower().partition(":")
    return name, int(port or _HTTPS_PORT)


def _normal(url: str) -> str:
    """Convert the two forms of an organization's address to the same string."""
    plain = url.strip().rstrip("/").lower()
    older = re.fullmatch(r"https://([a-z0-9-]+)\.visualstudio\.com(/defaultcollection)?", plain)
    return f"https://{_SERVICES}/{older[1]}" if older else plain
