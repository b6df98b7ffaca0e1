"""Checks the value of JOURNAL_CONNECTION for Azure Table storage, when the settings are read. No I/O."""

import base64
import binascii
import re
from typing import Final
from urllib.parse import urlsplit

from shared.http.environment import is_loopback

DEVELOPMENT_STORAGE: Final = "UseDevelopmentStorage=true"
"""Azurite on its default port, with its well-known account and key."""

# An account's endpoint in any cloud: core.windows.net, core.usgovcloudapi.net, z01.table.storage.azure.net, ...
_ENDPOINT: Final = re.compile(r"https://[a-z0-9]{3,24}(\.z[0-9]{1,3})?\.table(\.[a-z0-9-]+){2,}/?", re.IGNORECASE)
_ADVICE: Final = (
    "use the table endpoint https://<account>.table.core.windows.net with the app's identity, or a storage account's "
    "connection string"
)


def is_endpoint(connection: str) -> bool:
    """Return whether the connection is a URL, to be used with an identity, and not a connection string."""
    return "://" in connection.partition("=")[0]


def is_development_storage(connection: str) -> bool:
    """Return whether the connection is the short form for Azurite."""
    return _parts(connection) == {"usedevelopmentstorage": "true"}


def connection_problem(connection: str) -> str | None:
    """Return why the connection cannot be used, without secrets, or None if it can."""
    if is_endpoint(connection):
        return (
            None if _ENDPOINT.fullmatch(connection) else f"its URL is not a storage account's table endpoint; {_ADVICE}"
        )
    if is_development_storage(connection):
        return None
    parts = _parts(connection)
    if "sharedaccesssignature" in parts:
        return f"it contains a shared access signature, which would appear in URLs and logs; {_ADVICE}"
    if missing := [name for name in ("AccountName", "AccountKey") if not parts.get(name.lower())]:
        return f"it has no {' and no '.join(missing)}; {_ADVICE}"
    if not _is_base64(parts["accountkey"]):
        return "its AccountKey is not base64; copy the whole connection string again"
    return _endpoint_problem(parts)


def account_key(connection: str) -> str | None:
    """Return the account key in the connection, which must not be shown, or None if there is none."""
    return None if is_endpoint(connection) else _parts(connection).get("accountkey")


def _endpoint_problem(parts: dict[str, str]) -> str | None:
    endpoint = parts.get("tableendpoint")
    if endpoint is None:
        protocol, suffix = (
            parts.get("defaultendpointsprotocol", "https"),
            parts.get("endpointsuffix", "core.windows.net"),
        )
        endpoint = f"{protocol}://{parts['accountname']}.table.{suffix}"
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname or url.query or "@" in url.netloc:
        return f"its table endpoint is not a URL of the form https://<host>; {_ADVICE}"
    if url.scheme == "http" and not is_loopback(url.hostname):
        return (
            f"its table endpoint http://{url.netloc} is not encrypted, which is allowed only for a storage emulator on "
            "this machine; use https"
        )
    return None


def _parts(connection: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in connection.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False
