"""Secrets for tests. Each holds the word ``canary``, and nothing that the suite logs or prints may hold it."""

import base64

MARK = "canary"


def secret(name: str) -> str:
    """A PAT, token or key for a test."""
    return f"{MARK}-{name}-7f3a9c"


def leaks(text: str) -> list[str]:
    """The canaries found in a text, as they are or as Basic authentication encodes them."""
    encoded = [
        base64.b64encode(f"{prefix}{MARK}".encode()).decode().rstrip("=")[1:-2] for prefix in (":", "::", "x:", "")
    ]
    return [form for form in (MARK, *encoded) if form in text]
