"""Credentials: which are accepted, and what a request without one sees.

Azure DevOps does not answer 401 to a bad personal access token, as one would expect: it offers a sign-in page.
With ``X-TFS-FedAuthRedirect: Suppress`` that page comes as 203, else a redirect leads to it. Methods that no
browser sends get a 401.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from devstack.ado.errors import unauthorized

SIGN_IN_PATH = "/_signin"

_SIGN_IN_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Azure DevOps Services | Sign In (emulated)</title></head>
<body><h1>Sign in</h1><p>The request had no valid credential.</p></body></html>
"""


class Credentials:
    """The secrets that are accepted. Both sets may be changed at any time, by any thread.

    ``pats`` are passwords of Basic credentials (the user name is ignored), ``tokens`` are bearer tokens.
    """

    def __init__(self, pats: set[str], tokens: set[str]) -> None:
        self.pats = pats
        self.tokens = tokens

    def accept(self, authorization: str) -> bool:
        """Whether the value of an Authorization header carries an accepted secret."""
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return secret.strip() in self.tokens
        return scheme.lower() == "basic" and _password(secret) in self.pats


def _password(encoded: str) -> str | None:
    """The password in Basic credentials, or None where they cannot be read."""
    try:
        decoded = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    _user, colon, password = decoded.partition(":")
    return password if colon else None


def sign_in_page(status: int) -> Response:
    return Response(_SIGN_IN_PAGE, status, content_type="text/html; charset=utf-8")


def refuse(request: Request) -> Response:
    """The answer to a request whose credential is bad or missing.

    :raises ApiError: 401, for a method that no browser sends.
    """
    if request.method not in {"GET", "HEAD", "POST", "OPTIONS"}:
        raise unauthorized(request.host_url)
    if request.headers.get("X-TFS-FedAuthRedirect", "").lower() == "suppress":
        return sign_in_page(203)
    location = f"{request.host_url.rstrip('/')}{SIGN_IN_PATH}?reply_to={quote(request.base_url, safe='')}"
    return Response(_SIGN_IN_PAGE, 302, {"Location": location}, content_type="text/html; charset=utf-8")
