"""Keeps tasks' tokens so that whoever reads the journal's storage cannot use them (Fernet: AES-128-CBC and HMAC)."""

from collections.abc import Callable, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.credentials import Secret
from shared.errors import CredentialUnavailable


class TokenSeal:
    """Encrypts with the first key, decrypts with any, so keys can be rotated. Safe for many threads.

    The keys are read when they are first needed, and again where they open nothing: they may have been rotated.
    """

    def __init__(self, read_keys: Callable[[], Sequence[Secret]]) -> None:
        """:param read_keys: gives Fernet keys, the newest first; raises CredentialUnavailable where it gives none."""
        self._read_keys = read_keys
        self._fernet: MultiFernet | None = None

    def close(self, token: Secret) -> str:
        """Encrypt a token.

        :raises CredentialUnavailable: there is no key.
        """
        return self._keys().encrypt(token.value.encode()).decode()

    def open(self, sealed: str) -> Secret | None:
        """Decrypt a token; None where no key does.

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
                    "commas); mend the secret that WAIT_TOKEN_KEYS_SECRET_NAME names"
                ) from exc
        return fernet
