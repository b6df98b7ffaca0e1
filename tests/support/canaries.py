"""Secrets for tests. Each contains the word ``canary``, which must not be in any log or output of the tests."""

import base64

MARK = "canary"


def secret(name: str) -> str:
    """Return a PAT, token or key for a test."""
    return f"{MARK}-{name}-7f3a9c"


def leaks(text: str) -> list[str]:
    """Return the canaries in a string, in plain form or encoded as in Basic authentication."""
    encoded = [
        base64.b64encode(f"{prefix}{MARK}".encode()).decode().rstrip("=")[1:-2] for prefix in (":", "::", "x:", "")
    ]
    return [form for form in (MARK, *encoded) if form in text]
