"""An emulated managed identity, as App Service provides it to apps.

Clients such as azure-identity's ManagedIdentityCredential find IDENTITY_ENDPOINT and IDENTITY_HEADER in their
environment. They request ``GET {IDENTITY_ENDPOINT}?resource=…&api-version=2019-08-01``, and send the value of
IDENTITY_HEADER in X-IDENTITY-HEADER. Source: App Service docs, managed identities, REST endpoint reference.

As with Microsoft Entra, a token is valid only for the resource that it was issued for. Azure DevOps refuses a token for
Azure Resource Manager.
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
    """Return ``{"access_token", "expires_on", …}``, where ``expires_on`` is a Unix time as a string."""
    received = call.request.headers.get("X-IDENTITY-HEADER", "")
    if not hmac.compare_digest(received.encode(), call.state.identity_header.encode()):
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
