"""Credentials: what is sent, for how long it is kept, and what is said where there is none."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from shared.clouds import CHINA
from shared.credentials import (
    AZURE_DEVOPS_SCOPE,
    Credential,
    Issued,
    Secret,
    azure_identity,
    entra_token,
    pat_authorization,
    pat_from_environment,
    pat_from_key_vault,
)
from shared.errors import CredentialUnavailable
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.services.vault import VAULT, Vault, secret_bundle


class Identity:
    """A TokenCredential that counts."""

    def __init__(self, expires_on: int = 0, error: Exception | None = None) -> None:
        self.scopes: list[str] = []
        self._expires_on = expires_on
        self._error = error

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        if self._error is not None:
            raise self._error
        self.scopes.extend(scopes)
        return AccessToken(secret(f"token-{len(self.scopes)}"), self._expires_on)


class TestCache:
    def test_what_was_fetched_is_kept(self) -> None:
        fetched: list[int] = []

        def fetch() -> Issued:
            fetched.append(1)
            return Issued(Secret("a"))

        credential = Credential(fetch)
        assert [credential.authorization() for _ in range(3)] == ["a", "a", "a"]
        assert len(fetched) == 1

    def test_what_expires_soon_is_fetched_anew(self, clock: ManualClock) -> None:
        values = iter("ab")
        credential = Credential(lambda: Issued(Secret(next(values)), clock() + timedelta(hours=1)), clock)
        assert credential.authorization() == "a"
        clock.advance(55 * 60 - 1)
        assert credential.authorization() == "a"
        clock.advance(1)
        assert credential.authorization() == "b"

    def test_a_late_rejection_of_the_old_one_leaves_the_new_one(self) -> None:
        values = iter("ab")
        credential = Credential(lambda: Issued(Secret(next(values))))
        old = credential.authorization()
        credential.reject(old)
        assert credential.authorization() == "b"
        credential.reject(old)
        assert credential.authorization() == "b"
        with pytest.raises(StopIteration):
            next(values)

    def test_no_thread_waits_for_another_ones_fetch(self) -> None:
        both = threading.Barrier(2, timeout=60)

        def fetch() -> Issued:
            both.wait()
            return Issued(Secret("a"))

        credential = Credential(fetch)
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(credential.authorization) for _ in range(2)]
            assert [future.result() for future in futures] == ["a", "a"]


def test_secrets_do_not_show() -> None:
    issued = Issued(pat_authorization(secret("pat")))
    assert repr(issued) == "Issued(authorization=Secret(***), expires_at=None)"


def test_a_pat_is_basic_authentication_with_an_empty_user() -> None:
    assert pat_authorization("abc\n").value == "Basic OmFiYw=="
    assert pat_authorization("abc").value == "Basic OmFiYw=="


@pytest.mark.parametrize("pat", [None, ""])
def test_no_pat_in_the_environment(pat: str | None) -> None:
    with pytest.raises(CredentialUnavailable, match="AZURE_DEVOPS_EXT_PAT is empty; set it"):
        pat_from_environment(lambda: pat).authorization()


class TestPatFromKeyVault:
    def credential(self, vault: Vault) -> Credential:
        return pat_from_key_vault(
            VAULT, "ado-pat", lambda: Identity(expires_on=10**10), transport=vault.transport(), retry_total=0
        )

    def test_is_read_with_the_real_client_kept_and_read_anew_after_a_rejection(self) -> None:
        values = iter([secret("one"), secret("two")])
        vault = Vault(lambda: secret_bundle(next(values)))
        credential = self.credential(vault)
        first = credential.authorization()
        assert first == pat_authorization(secret("one")).value
        assert credential.authorization() == first
        credential.reject(first)
        assert credential.authorization() == pat_authorization(secret("two")).value
        assert all(url.startswith(f"{VAULT}/secrets/ado-pat/?api-version=") for url in vault.urls)

    @pytest.mark.parametrize(
        ("status", "code", "said"),
        [(404, "SecretNotFound", "SecretNotFound"), (403, "Forbidden", "Forbidden"), (500, "Oops", "Oops")],
    )
    def test_what_is_wrong_and_what_to_do(self, status: int, code: str, said: str) -> None:
        vault = Vault(lambda: (status, {"error": {"code": code, "message": "no"}}))
        with pytest.raises(CredentialUnavailable) as caught:
            self.credential(vault).authorization()
        message = str(caught.value)
        assert message.startswith(f"the secret ado-pat cannot be read from {VAULT}: ({said}) no; check that it exists")
        assert message.endswith("has the role Key Vault Secrets User")

    @pytest.mark.parametrize("value", [None, ""])
    def test_an_empty_secret(self, value: str | None) -> None:
        with pytest.raises(
            CredentialUnavailable, match=r"the secret ado-pat in https://kv\.vault\.azure\.net is empty"
        ):
            self.credential(Vault(lambda: secret_bundle(value))).authorization()

    def test_an_identity_that_gives_no_token(self) -> None:
        identity = Identity(error=ClientAuthenticationError("no identity here\nsecond line"))
        vault = Vault(lambda: secret_bundle("unused"))
        credential = pat_from_key_vault(VAULT, "ado-pat", lambda: identity, transport=vault.transport(), retry_total=0)
        with pytest.raises(CredentialUnavailable, match="no identity here; check"):
            credential.authorization()


class TestEntraToken:
    def test_is_asked_for_azure_devops_and_kept_until_it_expires(self, clock: ManualClock) -> None:
        identity = Identity(expires_on=int((clock() + timedelta(hours=1)).timestamp()))
        credential = entra_token(lambda: identity, clock)
        assert credential.authorization() == f"Bearer {secret('token-1')}"
        clock.advance(54 * 60)
        assert credential.authorization() == f"Bearer {secret('token-1')}"
        clock.advance(60)
        assert credential.authorization() == f"Bearer {secret('token-2')}"
        assert identity.scopes == [AZURE_DEVOPS_SCOPE] * 2

    def test_a_new_identity_is_made_for_each_token_since_it_would_give_a_rejected_one_again(
        self, clock: ManualClock
    ) -> None:
        made: list[Identity] = []

        def make() -> Identity:
            made.append(Identity(expires_on=int((clock() + timedelta(hours=1)).timestamp())))
            return made[-1]

        credential = entra_token(make, clock)
        credential.reject(credential.authorization())
        credential.authorization()
        assert len(made) == 2

    def test_no_token(self) -> None:
        identity = Identity(error=ClientAuthenticationError("ManagedIdentityCredential: no endpoint\nmore"))
        with pytest.raises(CredentialUnavailable) as caught:
            entra_token(lambda: identity).authorization()
        assert "no token for Azure DevOps: ManagedIdentityCredential: no endpoint; check the identity" in str(
            caught.value
        )


def test_in_azure_the_managed_identity_and_on_a_laptop_whatever_there_is() -> None:
    with azure_identity("client", in_azure=True) as managed:  # type: ignore[attr-defined]
        assert isinstance(managed, ManagedIdentityCredential)
    with azure_identity(None, in_azure=False) as local:  # type: ignore[attr-defined]
        assert isinstance(local, DefaultAzureCredential)


def test_a_laptop_signs_in_where_it_is_told_to() -> None:
    with azure_identity(None, in_azure=False, authority_host=CHINA.authority_host) as local:  # type: ignore[attr-defined]
        assert isinstance(local, DefaultAzureCredential)
    with pytest.raises(ValueError, match="'http://login' is an invalid authority"):  # so it is really used
        azure_identity(None, in_azure=False, authority_host="http://login")
