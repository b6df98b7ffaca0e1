"""What may stand in NOTIFY_TOPIC_ENDPOINT. Pure: the settings are checked with it at start."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

from shared.http.environment import is_loopback

_PATH: Final = "/api/events"
"""Where every custom topic takes events. Source: Event Grid docs, publish events to custom topics."""

_ADVICE: Final = (
    "copy it from the topic: az eventgrid topic show --query endpoint, as in "
    "https://<topic>.<region>-1.eventgrid.azure.net/api/events"
)


def endpoint_problem(endpoint: str, *, has_key: bool, in_azure: bool) -> str | None:
    """Why this endpoint of a custom topic cannot be used; None where it can.

    :param has_key: there is a key; without one the app's identity is used.
    """
    try:
        url = urlsplit(endpoint)
        _ = url.port
    except ValueError:
        return f"is not a URL; {_ADVICE}"
    if (problem := _form_problem(url)) is not None:
        return f"{problem}; {_ADVICE}"
    if url.scheme == "https":
        return None
    if in_azure or not is_loopback(url.hostname or ""):
        return "must begin with https://, since a credential is sent there (http:// only from a laptop to itself)"
    return None if has_key else "is http://, where no identity's token is sent; set NOTIFY_TOPIC_KEY, or use https://"


def _form_problem(url: SplitResult) -> str | None:
    if url.scheme not in ("http", "https") or not url.hostname:
        return "must begin with https://"
    if url.username or url.password or url.query or url.fragment:
        return "must hold no user name, password, query or fragment"
    if url.path.rstrip("/") != _PATH:
        return f"must end in {_PATH}"
    return None
