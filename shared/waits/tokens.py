"""Encrypts the tokens of tasks, so read access to the journal does not reveal them.

The method is Fernet: AES-128-CBC with an HMAC.
"""

from collections.abc import Callable, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.credentials import Secret
from shared.errors import CredentialUnavailable


class TokenSeal:
    """Encrypts with the first key and decrypts with any key, so keys can be rotated. Thread-safe.

    The keys are read when they are first needed. If none of them decrypts a token, they are read again, since they may
    have been rotated.
    """

    def __init__(self, read_keys: Callable[[], Sequence[Secret]]) -> None:
        """:param read_keys: returns Fernet keys, newest first; raises CredentialUnavailable if there are none."""
        self._read_keys = read_keys
        self._fernet: MultiFernet | None = None

    def encrypt(self, token: Secret) -> str:
        """Encrypt a token.

        :raises CredentialUnavailable: there is no key.
        """
        return self._keys().encrypt(token.value.encode()).decode()

    def decrypt(self, sealed: str) -> Secret | None:
        """Decrypt a token. Return None if no key can decrypt it.

        :raises CredentialUnavailable: there is no key.
        """
        try:
            return self._opened(sealed)
        except InvalidToken:
            self._fernet = None
        try:
            return self._opened(sealed)
        except InvalidToken:
            return None

    def _opened(self, sealed: str) -> Secret:
        return Secret(self._keys().decrypt(sealed.encode()).decode())

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
