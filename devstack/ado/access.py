"""The accepted credentials, and the answers to requests without one.

Azure DevOps does not answer 401 if a personal access token is invalid, but offers a sign-in page. With
``X-TFS-FedAuthRedirect: Suppress``, the answer is the page with status 203. Otherwise, it is a redirect to the page.
Methods that browsers do not send are answered with 401.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import uuid
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from devstack.ado.errors import unauthorized

SIGN_IN_PATH = "/_signin"
AZURE_DEVOPS = "499b84ac-1321-427f-aa17-267ca6975798"
"""The ID of Azure DevOps in Microsoft Entra, which is the resource of its tokens."""

EMULATOR_TOKEN = re.compile(r"canary-[a-z]+-[0-9a-f]{32}")
CredentialKind = Literal["PAT", "token"]

_SIGN_IN_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Azure DevOps Services | Sign In (emulated)</title></head>
<body><h1>Sign in</h1><p>The request had no valid credential.</p></body></html>
"""


@dataclass(frozen=True)
class User:
    """An identity of the organization."""

    id: str
    name: str

    @classmethod
    def named(cls, name: str) -> User:
        """Return an identity whose ID follows from its name."""
        return cls(str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), name)


class Credentials:
    """The accepted secrets. Any thread may change them at any time.

    ``pats`` are passwords of Basic credentials, whose user name is ignored. ``tokens`` are bearer tokens. ``issued``
    maps each bearer token of the emulated managed identity to the resource that it is valid for.
    """

    def __init__(self, pats: set[str], tokens: set[str]) -> None:
        self.pats = pats
        self.tokens = tokens
        self.issued: dict[str, str] = {}

    def accept(self, authorization: str) -> CredentialKind | None:
        """Return the kind of credential in an Authorization header, or None if Azure DevOps would not accept it."""
        if self.accept_token(authorization, AZURE_DEVOPS):
            return "token"
        return "PAT" if _password(authorization) in self.pats else None

    def user(self, authorization: str) -> User | None:
        """Return the identity that a credential belongs to, or None if Azure DevOps would not accept the credential.

        Each secret belongs to an identity of its own. All tokens of the managed identity belong to the same one.
        """
        kind = self.accept(authorization)
        if kind is None:
            return None
        secret = (_password(authorization) or "") if kind == "PAT" else authorization.partition(" ")[2].strip()
        if secret in self.issued:
            return User.named("managed identity")
        return User(str(uuid.uuid5(uuid.NAMESPACE_OID, secret)), "devstack")

    def accept_token(self, authorization: str, resource: str) -> bool:
        """Return whether an Authorization header contains a bearer token that is valid for a resource."""
        scheme, _, secret = authorization.partition(" ")
        token = secret.strip()
        return scheme.lower() == "bearer" and (token in self.tokens or self.issued.get(token) == resource)

    def issue(self, resource: str) -> str:
        """Return a bearer token for a resource, and the same token again while it is in ``issued``."""
        for token, issued_for in list(self.issued.items()):
            if issued_for == resource:
                return token
        token = new_token("identity")
        self.issued[token] = resource
        return token


def new_token(kind: str) -> str:
    """Return a new token of the form EMULATOR_TOKEN. Tests search logs for its first word, ``canary``."""
    return f"canary-{kind}-{secrets.token_hex(16)}"


def job_token(authorization: str) -> str:
    """Return the secret that may be a job token, or an empty string.

    A job token is a bearer token, or the password of Basic credentials with an empty user name.
    """
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    user, password = _basic(secret) if scheme.lower() == "basic" else (None, None)
    return password if password and user == "" else ""


def _password(authorization: str) -> str | None:
    scheme, _, secret = authorization.partition(" ")
    return _basic(secret)[1] if scheme.lower() == "basic" else None


def _basic(encoded: str) -> tuple[str, str] | tuple[None, None]:
    """Return the user name and password of Basic credentials, or ``(None, None)`` if they are invalid."""
    try:
        decoded = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    user, colon, password = decoded.partition(":")
    return (user, password) if colon else (None, None)


def sign_in_page(status: int) -> Response:
    return Response(_SIGN_IN_PAGE, status, content_type="text/html; charset=utf-8")


def refuse(request: Request) -> Response:
    """Return the answer to a request with an invalid or missing credential.

    :raises ApiError: 401, for methods that browsers do not send.
    """
    if request.method not in {"GET", "HEAD", "POST", "OPTIONS"}:
        raise unauthorized(request.host_url)
    if request.headers.get("X-TFS-FedAuthRedirect", "").lower() == "suppress":
        return sign_in_page(203)
    location = f"{request.host_url.rstrip('/')}{SIGN_IN_PATH}?reply_to={quote(request.base_url, safe='')}"
    return Response(_SIGN_IN_PAGE, 302, {"Location": location}, content_type="text/html; charset=utf-8")
