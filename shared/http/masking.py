"""Masks credentials: that of a request in the answer to it, which may quote the request, and those in URLs. Pure."""

import base64
import re
from contextlib import suppress
from functools import lru_cache
from itertools import product
from typing import Final

MASK: Final = b"***"
# A shorter string is not a credential of Azure DevOps, and could be a part of ordinary words.
_MIN_LENGTH: Final = 8
# A user name and password, or a query such as ?key=... or ?sig=..., but not that of a link to a run or a pipeline.
_IN_URL: Final = re.compile(
    r"(?<=://)[^\s'\"]*@|(?<=://)(?P<place>[^\s'\"?]*\?)(?!(?:buildId|definitionId)=\d+[).,:;]*(?:[\s'\"]|$))[^\s'\"]+"
)


def without_url_credentials(text: str) -> str:
    """Return the text with the user names, passwords and queries of its URLs masked."""
    return _IN_URL.sub(lambda found: f"{found['place'] or ''}***{'@' if found[0].endswith('@') else ''}", text)


def without_credential(content: bytes, authorization: str) -> bytes:
    """Return the content with the credential masked: as it was sent, decoded, and within base64.

    :param authorization: the Authorization header of the request.
    """
    for form in _forms(authorization):
        if form in content:
            content = content.replace(form, MASK)
    return content


@lru_cache(maxsize=64)
def _forms(authorization: str) -> tuple[bytes, ...]:
    """Return the forms in which an answer may contain the credential, the longest first."""
    scheme, _, sent = authorization.partition(" ")
    secrets = [sent.encode()]
    if scheme.lower() == "basic":
        with suppress(ValueError):  # not base64
            secrets.append(base64.b64decode(sent, validate=True).partition(b":")[2])
    secrets = [secret for secret in secrets if len(secret) >= _MIN_LENGTH]
    plain = [form for secret in secrets for form in (secret, secret.rstrip(b"="), *_within_base64(secret))]
    # JSON may escape the two special characters of base64.
    escapes = product((b"+", rb"\u002b", rb"\u002B"), (b"/", rb"\/"))
    forms = {form.replace(b"+", plus).replace(b"/", slash) for plus, slash in escapes for form in plain}
    return tuple(sorted(forms, key=len, reverse=True))


def _within_base64(secret: bytes) -> list[bytes]:
    """Return the characters that encode only the secret, for each position of the secret in the encoded bytes."""
    forms = []
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        bits = (before + len(secret)) * 8
        forms.append(base64.b64encode(b"\0" * before + secret)[shared : bits // 6])
    return forms
