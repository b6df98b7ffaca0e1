"""Azure Key Vault in memory, as a transport of the client."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

from azure.core.pipeline.transport import RequestsTransport
from requests import PreparedRequest, Response, Session
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

VAULT = "https://kv.vault.azure.net"


class Vault(BaseAdapter):
    """Key Vault as an adapter for a requests session. It answers 401 with a challenge first."""

    def __init__(self, answer: Callable[[], tuple[int, dict[str, Any]]]) -> None:
        super().__init__()
        self.answer = answer
        self.urls: list[str] = []

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        self.urls.append(request.url or "")
        if "Authorization" in request.headers:
            return _response(*self.answer())
        challenge = (
            'Bearer authorization="https://login.microsoftonline.com/tenant", resource="https://vault.azure.net"'
        )
        return _response(401, {}, {"WWW-Authenticate": challenge})

    def close(self) -> None: ...

    def transport(self) -> RequestsTransport:
        session = Session()
        session.mount("https://", self)
        return RequestsTransport(session=session, session_owner=False)


def _response(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    response = Response()
    response.status_code = status
    response.headers.update({"Content-Type": "application/json"} | (headers or {}))
    response.raw = HTTPResponse(BytesIO(json.dumps(body).encode()), preload_content=False)
    return response


def secret_bundle(value: str | None) -> tuple[int, dict[str, Any]]:
    return 200, {"value": value, "id": f"{VAULT}/secrets/ado-pat/1", "attributes": {"enabled": True}}
