"""App Service authentication in front of a function app, as infra/modules/function-app.bicep configures it."""

import json
from base64 import b64encode

import requests
from werkzeug.wrappers import Request, Response

PRINCIPAL = "X-MS-CLIENT-PRINCIPAL"


def principal(client_id: str, claim: str = "azp") -> str:
    """Return the header with which App Service describes an application that has signed in."""
    claims = [{"typ": "aud", "val": client_id}, {"typ": claim, "val": client_id}]
    return b64encode(json.dumps({"auth_typ": "aad", "claims": claims}).encode()).decode()


class AppService:
    """Passes requests on to the app. Anonymous ones pass, and a request with an unknown token is answered with 401.

    :param tokens: the client id of the application that each token belongs to.
    """

    def __init__(self, app_url: str, tokens: dict[str, str]) -> None:
        self._app_url = app_url
        self._tokens = tokens

    def answer(self, request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if not name.upper().startswith("X-MS-")}
        headers.pop("Host", None)
        if authorization := request.headers.get("Authorization"):
            client_id = self._tokens.get(authorization.removeprefix("Bearer "))
            if client_id is None:
                return Response(status=401)
            headers[PRINCIPAL] = principal(client_id)
        url = f"{self._app_url}{request.full_path}"
        answer = requests.request(request.method, url, data=request.get_data(), headers=headers, timeout=60)
        return Response(answer.content, answer.status_code, content_type=answer.headers.get("Content-Type"))
