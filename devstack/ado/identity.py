"""An emulated managed identity, as App Service offers it to the apps it runs.

A client that finds IDENTITY_ENDPOINT and IDENTITY_HEADER in its environment, as azure-identity's
ManagedIdentityCredential does, asks ``GET {IDENTITY_ENDPOINT}?resource=…&api-version=2019-08-01`` with the latter's
value in X-IDENTITY-HEADER. Source: App Service docs, managed identities, REST endpoint reference.

A token is good for the resource that it was asked for, as those of Microsoft Entra are: one for Azure Resource Manager
is refused by Azure DevOps.
"""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import TYPE_CHECKING

from devstack.ado.call import Call, json_answer

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

API_VERSION = "2019-08-01"
_LIFE = timedelta(hours=24)


def get_identity_token(call: Call) -> Response:
    """``{"access_token", "expires_on", …}``; ``expires_on`` is the seconds since 1970, as text."""
    shown = call.request.headers.get("X-IDENTITY-HEADER", "")
    if not hmac.compare_digest(shown.encode(), call.state.identity_header.encode()):
        return _refusal(401, "X-IDENTITY-HEADER is not the value of IDENTITY_HEADER.")
    if call.request.args.get("api-version") != API_VERSION:
        return _refusal(400, f"The api-version must be {API_VERSION}.")
    resource = call.request.args.get("resource", "").strip()
    if not resource:
        return _refusal(400, "The query must name a resource.")
    expires = call.books.clock() + _LIFE
    return json_answer(
        {
            "access_token": call.state.credentials.issue(resource.rstrip("/")),
            "expires_on": str(int(expires.timestamp())),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": call.request.args.get("client_id", "00000000-0000-0000-0000-000000000000"),
        }
    )


def _refusal(status: int, message: str) -> Response:
    return json_answer({"statusCode": status, "message": message}, status)
