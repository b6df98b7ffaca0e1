"""How the app proves to Azure DevOps who it is: a PAT from the environment or Key Vault, or a Microsoft Entra token.

The Azure libraries are slow to import, so each is imported where the configured way needs it.
"""

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.clock import Clock, utc_now
from shared.errors import CredentialUnavailable

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

AZURE_DEVOPS_SCOPE: Final = "499b84ac-1321-427f-aa17-267ca6975798/.default"
"""Azure DevOps as Microsoft Entra knows it. Source: Azure DevOps docs, service principals and managed identities."""

_EXPIRY_MARGIN: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that must not show: its representation hides it."""

    value: str

    def __repr__(self) -> str:
        return "Secret(***)"


class Issued(NamedTuple):
    """What a source gives: the Authorization header's value, and until when it is good (None: nobody says)."""

    authorization: Secret
    expires_at: datetime | None = None


class Credential:
    """Keeps what its source gave, until it expires or is rejected. Safe for many threads."""

    def __init__(self, fetch: Callable[[], Issued], clock: Clock = utc_now) -> None:
        """:param fetch: asks the source; raises CredentialUnavailable where it gives nothing."""
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._issued: Issued | None = None

    def authorization(self) -> str:
        """The value of the Authorization header.

        :raises CredentialUnavailable: the source gives nothing.
        """
        with self._lock:
            issued = self._issued
        if issued is None or (issued.expires_at is not None and self._clock() >= issued.expires_at - _EXPIRY_MARGIN):
            # Fetched outside the lock, which must not be held over I/O; two threads may fetch at once, to no harm.
            issued = self._fetch()
            with self._lock:
                self._issued = issued
        return issued.authorization.value

    def reject(self, authorization: str) -> None:
        """Azure DevOps did not take this one: forget it, unless another thread has already replaced it."""
        with self._lock:
            if self._issued is not None and self._issued.authorization.value == authorization:
                self._issued = None


def pat_authorization(pat: str) -> Secret:
    """Basic authentication with an empty user name, as Azure DevOps takes a PAT; a line end that slipped in goes."""
    return Secret("Basic " + base64.b64encode(f":{pat.strip()}".encode()).decode())


def pat_from_environment(read_pat: Callable[[], str | None]) -> Credential:
    """The PAT that is in the environment.

    :param read_pat: reads the setting anew, so that a rotated value is seen after a rejection.
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
    """The PAT that is a secret in Key Vault.

    :param options: handed to ``SecretClient``, for example its transport.
    """
    return Credential(lambda: Issued(pat_authorization(read_secret(vault_url, secret_name, make_identity, **options))))


def read_secret(
    vault_url: str, secret_name: str, make_identity: Callable[[], "TokenCredential"], **options: Any
) -> str:
    """A secret in Key Vault, as it is now.

    :param options: handed to ``SecretClient``, for example its transport.
    :raises CredentialUnavailable: it cannot be read, or is empty.
    """
    from azure.core.exceptions import AzureError
    from azure.keyvault.secrets import SecretClient

    try:
        with SecretClient(vault_url, make_identity(), **options) as client:
            value = client.get_secret(secret_name).value
    except (AzureError, ValueError) as exc:
        raise CredentialUnavailable(
            f"the secret {secret_name} cannot be read from {vault_url}: {_first_line(exc)}; check that it exists "
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
    """A Microsoft Entra token.

    :param make_identity: called for each token, because an identity keeps its tokens and would give a rejected one
        again.
    :param scope: what the token is for; ``audience`` is its name in messages.
    """

    def fetch() -> Issued:
        from azure.core.exceptions import AzureError

        try:
            token = make_identity().get_token(scope)
        except AzureError as exc:
            raise CredentialUnavailable(
                f"Microsoft Entra gives no token for {audience}: {_first_line(exc)}; check the identity that "
                "AZURE_CLIENT_ID names, or sign in with 'az login' on a laptop"
            ) from exc
        return Issued(Secret(f"Bearer {token.token}"), datetime.fromtimestamp(token.expires_on, UTC))

    return Credential(fetch, clock)


def azure_identity(client_id: str | None, *, in_azure: bool, authority_host: str | None = None) -> "TokenCredential":
    """The managed identity in Azure; on a laptop whatever ``DefaultAzureCredential`` finds.

    :param authority_host: where to sign in; None: in the public cloud, or where ``AZURE_AUTHORITY_HOST`` says. A
        managed identity asks its own host, which knows.
    """
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    if in_azure:
        return ManagedIdentityCredential(client_id=client_id)
    return DefaultAzureCredential(managed_identity_client_id=client_id, authority=authority_host)


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)[:300]
