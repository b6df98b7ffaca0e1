"""The app's credentials: a PAT from the environment or Key Vault, or a Microsoft Entra token.

The Azure libraries are slow to import, so each function imports the one that it needs.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.clock import Clock, utc_now
from shared.errors import CredentialUnavailable, first_line

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

AZURE_DEVOPS_SCOPE: Final = "499b84ac-1321-427f-aa17-267ca6975798/.default"
"""The scope of Azure DevOps in Microsoft Entra.

Source: Azure DevOps docs, service principals and managed identities.
"""

_QUICKLY: Final[Mapping[str, Any]] = {
    "connection_timeout": 2,
    "read_timeout": 6,
    "retry_total": 2,
    "retry_connect": 1,
    "retry_read": 0,
}
"""How a token or a secret is asked for. The libraries would wait for 300 s, and four times, but a delivery has 25 s."""

_EXPIRY_MARGIN: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Secret:
    """A string that must not be shown: its ``repr`` masks it."""

    value: str

    def __repr__(self) -> str:
        return "Secret(***)"


class Issued(NamedTuple):
    """The value of an Authorization header, and its expiry, or None if the expiry is unknown."""

    authorization: Secret
    expires_at: datetime | None = None


class Credential:
    """A cached credential, fetched again when it expires or is rejected. Safe for many threads."""

    def __init__(self, fetch: Callable[[], Issued], clock: Clock = utc_now) -> None:
        """:param fetch: fetches the credential from its source; raises CredentialUnavailable if there is none."""
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._issued: Issued | None = None

    def authorization(self) -> str:
        """Return the value of the Authorization header.

        :raises CredentialUnavailable: the source has no credential.
        """
        with self._lock:
            issued = self._issued
        if issued is None or (issued.expires_at is not None and self._clock() >= issued.expires_at - _EXPIRY_MARGIN):
            # Outside the lock, which must not be held during I/O. Two threads may fetch at once, which is harmless.
            issued = self._fetch()
            with self._lock:
                self._issued = issued
        return issued.authorization.value

    def fingerprint(self) -> str:
        """Return a short hash by which a later process recognizes the identity. It does not reveal the credential.

        Of a token, which changes every hour, it is the hash of the identity that the token names (its claim ``oid``).

        :raises CredentialUnavailable: the source has no credential.
        """
        return _fingerprint(self.authorization())

    def reject(self, authorization: str) -> None:
        """Forget a credential that Azure DevOps has rejected, unless another thread has already replaced it."""
        with self._lock:
            if self._issued is not None and self._issued.authorization.value == authorization:
                self._issued = None


def pat_authorization(pat: str) -> Secret:
    """Return the Authorization value for a PAT: Basic authentication with an empty user name.

    Spaces and line ends around the PAT are removed.
    """
    return Secret("Basic " + base64.b64encode(f":{pat.strip()}".encode()).decode())


def pat_from_environment(read_pat: Callable[[], str | None]) -> Credential:
    """Return a credential for the PAT in the environment.

    :param read_pat: reads the setting. It is called again after a rejection, to pick up a rotated PAT.
    """

    def fetch() -> Issued:
        pat = read_pat()
        if not pat:
            raise CredentialUnavailable("AZURE_DEVOPS_EXT_PAT is empty; set it to a PAT that may queue builds")
        return Issued(pat_authorization(pat))

    return Credential(fetch)


def pat_from_key_vault(
    vault_url: str, secret_name: str, make_identity: Callable[[], "TokenCredential"], **options: Any
) -> Credential:
    """Return a credential for the PAT that is stored as a secret in Key Vault.

    :param options: passed to ``SecretClient``, for example its transport.
    """
    return Credential(lambda: Issued(pat_authorization(read_secret(vault_url, secret_name, make_identity, **options))))


def read_secret(
    vault_url: str, secret_name: str, make_identity: Callable[[], "TokenCredential"], **options: Any
) -> str:
    """Read the current value of a secret in Key Vault.

    :param options: passed to ``SecretClient``, for example its transport.
    :raises CredentialUnavailable: the secret cannot be read, or is empty.
    """
    from azure.core.exceptions import AzureError
    from azure.keyvault.secrets import SecretClient

    try:
        with SecretClient(vault_url, make_identity(), **{**_QUICKLY, **options}) as client:
            value = client.get_secret(secret_name).value
    except (AzureError, ValueError) as exc:
        raise CredentialUnavailable(
            f"the secret {secret_name} cannot be read from {vault_url}: {_words(exc)}; check that it exists "
            "and that the app's identity has the role Key Vault Secrets User"
        ) from exc
    if not value:
        raise CredentialUnavailable(f"the secret {secret_name} in {vault_url} is empty; set it")
    return value


def entra_token(
    make_identity: Callable[[], "TokenCredential"],
    clock: Clock = utc_now,
    *,
    scope: str = AZURE_DEVOPS_SCOPE,
    audience: str = "Azure DevOps",
) -> Credential:
    """Return a credential that is a Microsoft Entra token.

    :param make_identity: called for each token. An identity caches its tokens and would return a rejected one again.
    :param scope: the scope of the token.
    :param audience: the name of the service, for messages.
    """

    def fetch() -> Issued:
        from azure.core.exceptions import AzureError

        try:
            token = make_identity().get_token(scope)
        except AzureError as exc:
            raise CredentialUnavailable(
                f"Microsoft Entra issued no token for {audience}: {_words(exc)}; check the identity that "
                "AZURE_CLIENT_ID names, or sign in with 'az login' on your own machine"
            ) from exc
        return Issued(Secret(f"Bearer {token.token}"), datetime.fromtimestamp(token.expires_on, UTC))

    return Credential(fetch, clock)


def azure_identity(client_id: str | None, *, in_azure: bool, authority_host: str | None = None) -> "TokenCredential":
    """Return the managed identity if the app runs in Azure, else the identity that ``DefaultAzureCredential`` finds.

    :param authority_host: where to sign in. If None: the host in ``AZURE_AUTHORITY_HOST``, or else the public cloud.
        A managed identity does not need it, because it gets its tokens from its own host.
    """
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    if in_azure:
        return ManagedIdentityCredential(client_id=client_id, **_QUICKLY)
    return DefaultAzureCredential(managed_identity_client_id=client_id, authority=authority_host)


@lru_cache(maxsize=8)
def _fingerprint(authorization: str) -> str:
    identity = _object_id(authorization) or authorization
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _object_id(authorization: str) -> str | None:
    """Return the object ID of the identity that a Microsoft Entra token names; None if it cannot be read."""
    try:
        claims = authorization.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["oid"]
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _words(exc: Exception) -> str:
    return first_line(str(exc)) or type(exc).__name__
