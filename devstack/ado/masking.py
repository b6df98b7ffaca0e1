"""Masks secrets in everything that the emulator shows."""

from __future__ import annotations

import threading

from devstack.ado.access import EMULATOR_TOKEN

MASK = "***"
_SHORTEST_SECRET = 4
_TOKEN_KEYS = {"token", "AuthToken"}


def without_secrets(body: object) -> object:
    """Return the body of a request with the values of secret variables and tokens masked."""
    if isinstance(body, dict):
        secret = body.get("isSecret") is True
        return {
            key: MASK if (key in _TOKEN_KEYS or (secret and key == "value")) and value else without_secrets(value)
            for key, value in body.items()
        }
    if isinstance(body, list):
        return [without_secrets(item) for item in body]
    return body


class Masker:
    """Masks secrets in strings, as Azure DevOps does in logs. Thread-safe.

    It recognizes the tokens that the emulator issues. Other secrets, such as the keys of tasks, must be added.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: tuple[str, ...] = ()

    def add(self, secret: str) -> None:
        """Add a secret, unless it is so short that it would match unrelated strings."""
        with self._lock:
            if len(secret) >= _SHORTEST_SECRET and secret not in self._secrets:
                # The longest first, because a secret may be part of another one.
                self._secrets = tuple(sorted((*self._secrets, secret), key=len, reverse=True))

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return EMULATOR_TOKEN.sub(MASK, text)

    def document(self, value: object) -> object:
        """Return a JSON document with the secrets in all its strings masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.document(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.document(item) for item in value]
        return value
