"""Credentials: which are accepted, and what a request without one sees.

Azure DevOps does not answer 401 to a bad personal access token, as one would expect: it offers a sign-in page.
With ``X-TFS-FedAuthRedirect: Suppress`` that page comes as 203, else a redirect leads to it. Methods that no
browser sends get a 401.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Literal
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from devstack.ado.errors import unauthorized

SIGN_IN_PATH = "/_signin"
AZURE_DEVOPS = "499b84ac-1321-427f-aa17-267ca6975798"
"""Azure DevOps as Microsoft Entra knows it: the resource that a token for it is issued for."""

OWN_TOKEN = re.compile(r"canary-[a-z]+-[0-9a-f]{32}")
CredentialKind = Literal["PAT", "token"]

_SIGN_IN_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Azure DevOps Services | Sign In (emulated)</title></head>
<body><h1>Sign in</h1><p>The request had no valid credential.</p></body></html>
"""


class Credentials:
    """The secrets that are accepted. All may be changed at any time, by any thread.

    ``pats`` are passwords of Basic credentials (the user name is ignored), ``tokens`` are bearer tokens. ``issued``
    are the bearer tokens that the emulated managed identity gave away, each good for the one resource beside it.
    """

    def __init__(self, pats: set[str], tokens: set[str]) -> None:
        self.pats = pats
        self.tokens = tokens
        self.issued: dict[str, str] = {}

    def accept(self, authorization: str) -> CredentialKind | None:
        """What the value of an Authorization header carries that Azure DevOps accepts; None for nothing of the kind."""
        if self.accept_token(authorization, AZURE_DEVOPS):
            return "token"
        scheme, _, secret = authorization.partition(" ")
        _user, password = _basic(secret) if scheme.lower() == "basic" else (None, None)
        return "PAT" if password in self.pats else None

    def accept_token(self, authorization: str, resource: str) -> bool:
        """Whether it carries a bearer token that is good for a resource."""
        scheme, _, secret = authorization.partition(" ")
        token = secret.strip()
        return scheme.lower() == "bearer" and (token in self.tokens or self.issued.get(token) == resource)

    def issue(self, resource: str) -> str:
        """A bearer token for a resource: the same one until it is taken out of ``issued``."""
        for token, issued_for in list(self.issued.items()):
            if issued_for == resource:
                return token
        token = new_token("identity")
        self.issued[token] = resource
        return token


def new_token(kind: str) -> str:
    """A token of the emulator's own making, of OWN_TOKEN's form. The test suite looks for its first word in logs."""
    return f"canary-{kind}-{secrets.token_hex(16)}"


def job_token(authorization: str) -> str:
    """What may be a job's token: a bearer token, or the password of Basic credentials with an empty user name."""
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    user, password = _basic(secret) if scheme.lower() == "basic" else (None, None)
    return password if password and user == "" else ""


def _basic(encoded: str) -> tuple[str, str] | tuple[None, None]:
    """User name and password of Basic credentials, or twice None where they cannot be read."""
    try:
        decoded = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    user, colon, password = decoded.partition(":")
    return (user, password) if colon else (None, None)


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
