"""Encrypts the tokens of tasks, so read access to the journal does not reveal them.

The method is Fernet: AES-128-CBC with an HMAC. A token is encrypted together with the task, the run and the workspace
that it was sent for. Write access to the journal therefore does not suffice to send a token elsewhere, or to let a task
wait for another run. But the ends of runs are not encrypted.
"""

import json
from collections.abc import Callable, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.credentials import Secret
from shared.errors import CredentialUnavailable, RequestRefused
from shared.waits.request import is_token
from shared.waits.wait import Wait


class TokenSeal:
    """Encrypts with the first key and decrypts with any key, so keys can be rotated. Thread-safe.

    The keys are read when they are first needed. If none of them decrypts a token, they are read again, since they may
    have been rotated.
    """

    def __init__(self, read_keys: Callable[[], Sequence[Secret]]) -> None:
        """:param read_keys: returns Fernet keys, newest first; raises CredentialUnavailable if there are none."""
        self._read_keys = read_keys
        self._fernet: MultiFernet | None = None

    def seal(self, wait: Wait, token: Secret) -> str:
        """Encrypt a token for one wait.

        :raises CredentialUnavailable: there is no key.
        """
        return self._keys().encrypt(json.dumps([token.value, *wait.terms]).encode()).decode()

    def token_of(self, wait: Wait) -> Secret | None:
        """Decrypt the token of a wait. Return None if no key can decrypt it.

        :raises CredentialUnavailable: there is no key.
        :raises RequestRefused: another program has changed the wait, or the token belongs to another one.
        """
        opened = self._decrypt(wait.sealed or wait.sealed_token)
        if opened is None:
            return None
        if not wait.sealed and is_token(opened):
            return Secret(opened)
        try:
            token, *terms = json.loads(opened)
        except (ValueError, TypeError):  # a token alone, in place of one with its terms
            token, terms = "", []
        if not wait.sealed or terms != wait.terms:
            raise RequestRefused("another program has changed the record of the wait, so its token is not used")
        return Secret(token)

    def _decrypt(self, sealed: str) -> str | None:
        if not sealed:
            return None
        try:
            return self._opened(sealed)
        except InvalidToken:
            self._fernet = None
        try:
            return self._opened(sealed)
        except InvalidToken:
            return None

    def _opened(self, sealed: str) -> str:
        return self._keys().decrypt(sealed.encode()).decode()

    def _keys(self) -> MultiFernet:
        fernet = self._fernet
        if fernet is None:
            try:
                fernet = self._fernet = MultiFernet([Fernet(key.value) for key in self._read_keys()])
            except ValueError as exc:
                raise CredentialUnavailable(
                    "the keys for waiting tasks' tokens are not Fernet keys (32 bytes in URL-safe base64, separated by "
                    "commas); correct the secret that WAIT_TOKEN_KEYS_SECRET_NAME names"
                ) from exc
        return fernet
