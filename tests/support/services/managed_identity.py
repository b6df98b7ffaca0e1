"""Identities: a credential in memory, and the endpoint of Azure ML's compute, which azure-identity uses."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from azure.core.credentials import AccessToken
from werkzeug.wrappers import Request, Response

from devstack.http_server import serving
from tests.support.canaries import secret
from tests.support.services.event_grid_topic import TOKEN


@dataclass
class FakeIdentity:
    """A TokenCredential that always returns the same token, or always fails. It can serve as its own factory."""

    error: Exception | None = None
    expires_on: int = 10**10
    scopes: list[str] = field(default_factory=list)

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        self.scopes += scopes
        if self.error is not None:
            raise self.error
        return AccessToken(TOKEN, self.expires_on)

    def __call__(self) -> Self:
        return self


@dataclass
class ManagedIdentity:
    """The requests to the endpoint, and the environment variables that a process needs to use it."""

    environment: dict[str, str]
    asked: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def managed_identity(token: str) -> Iterator[ManagedIdentity]:
    """Serve this token to every client with the secret until the end of the block."""
    key = secret("msi")
    served = ManagedIdentity({})

    def answer(request: Request) -> Response:
        served.asked.append(request.args.to_dict())
        if request.headers.get("secret") != key:
            return Response('{"error": "no"}', 401, mimetype="application/json")
        expires_on = str(int(time.time()) + 3600)
        body = {"access_token": token, "expires_on": expires_on, "resource": request.args["resource"]}
        return Response(json.dumps({**body, "token_type": "Bearer"}), mimetype="application/json")

    with serving(Request.application(answer)) as server:
        served.environment = {
            "MSI_ENDPOINT": f"{server.url}/msi/token",
            "MSI_SECRET": key,
            "DEFAULT_IDENTITY_CLIENT_ID": "11111111-2222-3333-4444-555555555555",
        }
        yield served
