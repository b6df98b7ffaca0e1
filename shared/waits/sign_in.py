"""The sign-in of tasks that call the app with a Microsoft Entra token in place of a function key.

App Service authentication checks the token before a request reaches the app, and describes the caller in a header. If
it is off, anybody could send that header, so the app then accepts nobody.

Sources: App Service docs, "Work with user identities" (the header, which clients cannot set) and the reference of
environment variables (``WEBSITE_AUTH_ENABLED``); Microsoft identity platform, access token claims.
"""

import json
from base64 import b64decode
from collections.abc import Collection, Mapping
from typing import Any, Final

from shared.waits.endpoint import Answer

PRINCIPAL: Final = "x-ms-client-principal"
CLIENT_CLAIMS: Final = ("azp", "appid")
"""The claims that name the client application, in tokens of version 2 and 1."""

_SWITCH_ON: Final = "see docs/wait-without-an-agent.md, 'Signing in with Microsoft Entra'"


class SignIn:
    """Decides whether a caller without a function key may register waits."""

    def __init__(self, client_ids: Collection[str], *, is_checked: bool) -> None:
        """:param client_ids: the client ids of the applications that may, in lower case.
        :param is_checked: whether App Service authentication is on.
        """
        self._client_ids = frozenset(client_ids)
        self._is_checked = is_checked

    def refusal(self, headers: Mapping[str, str]) -> Answer | None:
        """Return the answer for a caller that may not register waits; None for one that may."""
        if not self._client_ids:
            return Answer(501, {"error": f"signing in is switched off; set WAIT_CLIENT_IDS; {_SWITCH_ON}"})
        if not self._is_checked:
            return Answer(501, {"error": f"App Service authentication is off, so nobody can sign in; {_SWITCH_ON}"})
        principal = next((value for name, value in headers.items() if name.lower() == PRINCIPAL), None)
        if principal is None:
            return Answer(401, {"error": "the request has no valid Microsoft Entra token of an application"})
        if _client_of(principal) not in self._client_ids:
            return Answer(403, {"error": "the application that signed in is not one of WAIT_CLIENT_IDS"})
        return None


def _client_of(principal: str) -> str | None:
    """Return the client id in the header's value, in lower case; None if there is none."""
    try:
        document: Any = json.loads(b64decode(principal))
        claims = {claim["typ"]: claim["val"] for claim in document["claims"]}
        return next((str(claims[name]).lower() for name in CLIENT_CLAIMS if name in claims), None)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
