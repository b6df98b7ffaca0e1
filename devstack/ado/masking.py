"""Keeps secrets out of what the emulator shows."""

from __future__ import annotations

import threading

from devstack.ado.access import OWN_TOKEN

MASK = "***"
_SHORTEST_SECRET = 4


def without_secrets(body: object) -> object:
    """A run request's body with the values of secret variables and of repository tokens masked."""
    if isinstance(body, dict):
        secret = body.get("isSecret") is True
        return {
            key: MASK if (key == "token" or (secret and key == "value")) and value else without_secrets(value)
            for key, value in body.items()
        }
    if isinstance(body, list):
        return [without_secrets(item) for item in body]
    return body


class Masker:
    """Replaces secrets wherever they are, as Azure DevOps does in logs. Safe for threads.

    It knows the tokens that the emulator itself makes, and is told of others: the keys that tasks are given.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: tuple[str, ...] = ()

    def add(self, secret: str) -> None:
        """Remembers a secret; a text of a few letters is none, and would be found everywhere."""
        with self._lock:
            if len(secret) >= _SHORTEST_SECRET and secret not in self._secrets:
                # The longest first: a secret may be a part of another one.
                self._secrets = tuple(sorted((*self._secrets, secret), key=len, reverse=True))

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return OWN_TOKEN.sub(MASK, text)

    def document(self, value: object) -> object:
        """A JSON document with the secrets in all its texts masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.document(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.document(item) for item in value]
        return value
