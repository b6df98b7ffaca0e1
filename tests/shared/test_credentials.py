"""Credentials: what is sent, how long it is cached, and the errors if there is none."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
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
from tests.support.services.event_grid_topic import TOKEN
from tests.support.services.managed_identity import FakeIdentity
from tests.support.services.raw_server import server
from tests.support.services.vault import VAULT, Vault, secret_bundle


class TestCache:
    def test_a_credential_is_cached_until_shortly_before_it_expires(self, clock: ManualClock) -> None:
        values = iter("ab")
        credential = Credential(lambda: Issued(Secret(next(values)), clock() + timedelta(hours=1)), clock)
        seen = []
        for seconds in (0, 55 * 60 - 1, 1):
            clock.advance(seconds)
            seen.append(credential.authorization())
        assert seen == ["a", "a", "b"]

    def test_a_late_rejection_of_an_old_credential_keeps_the_new_one(self) -> None:
        values = iter("abc")
        credential = Credential(lambda: Issued(Secret(next(values))))
        old = credential.authorization()
        for _ in range(2):
            credential.reject(old)
            assert credential.authorization() == "b"

    def test_threads_fetch_without_waiting_for_each_other(self) -> None:
        both = threading.Barrier(2, timeout=60)

        def fetch() -> Issued:
            both.wait()
            return Issued(Secret("a"))

        credential = Credential(fetch)
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda _: credential.authorization(), range(2))) == ["a", "a"]


def test_a_pat_is_sent_as_basic_authentication_and_is_masked() -> None:
    assert pat_authorization("abc\n").value == pat_authorization("abc").value == "Basic OmFiYw=="
    issued = Issued(pat_authorization(secret("pat")))
    assert repr(issued) == "Issued(authorization=Secret(***), expires_at=None)"


@pytest.mark.parametrize("pat", [None, ""])
def test_a_missing_pat_in_the_environment_is_reported(pat: str | None) -> None:
    with pytest.raises(CredentialUnavailable, match="AZURE_DEVOPS_EXT_PAT is empty; set it"):
        pat_from_environment(lambda: pat).authorization()


def from_vault(vault: Vault, error: Exception | None = None) -> Credential:
    identity = FakeIdentity(error)
    return pat_from_key_vault(VAULT, "ado-pat", lambda: identity, transport=vault.transport(), retry_total=0)


class TestPatFromKeyVault:
    def test_it_is_cached_and_read_again_after_a_rejection(self) -> None:
        values = iter([secret("one"), secret("two")])
        vault = Vault(lambda: secret_bundle(next(values)))
        credential = from_vault(vault)
        first = credential.authorization()
        assert first == credential.authorization() == pat_authorization(secret("one")).value
        credential.reject(first)
        assert credential.authorization() == pat_authorization(secret("two")).value
        assert all(url.startswith(f"{VAULT}/secrets/ado-pat/?api-version=") for url in vault.urls)

    @pytest.mark.parametrize(
        ("status", "code", "error", "said"),
        [
            (404, "SecretNotFound", None, r"\(SecretNotFound\) no"),
            (403, "Forbidden", None, r"\(Forbidden\) no"),
            (500, "Oops", None, r"\(Oops\) no"),
            (200, "", ClientAuthenticationError("no identity here\nsecond line"), "no identity here"),
        ],
    )
    def test_the_error_says_what_is_wrong_and_what_to_do(
        self, status: int, code: str, error: Exception | None, said: str
    ) -> None:
        vault = Vault(lambda: (status, {"error": {"code": code, "message": "no"}}))
        advice = f"^the secret ado-pat cannot be read from {VAULT}: {said}; check .* the role Key Vault Secrets User$"
        with pytest.raises(CredentialUnavailable, match=advice):
            from_vault(vault, error).authorization()

    @pytest.mark.parametrize("value", [None, ""])
    def test_an_empty_secret_is_reported(self, value: str | None) -> None:
        with pytest.raises(CredentialUnavailable, match=f"the secret ado-pat in {VAULT} is empty"):
            from_vault(Vault(lambda: secret_bundle(value))).authorization()


class TestEntraToken:
    def test_a_new_identity_is_made_when_a_token_expires_or_is_rejected(self, clock: ManualClock) -> None:
        """The old identity would return a rejected token again."""
        made: list[FakeIdentity] = []

        def make() -> FakeIdentity:
            made.append(FakeIdentity(expires_on=int((clock() + timedelta(hours=1)).timestamp())))
            return made[-1]

        credential = entra_token(make, clock)
        for seconds, identities in ((0, 1), (54 * 60, 1), (60, 2)):
            clock.advance(seconds)
            assert credential.authorization() == f"Bearer {TOKEN}"
            assert len(made) == identities
        credential.reject(credential.authorization())
        credential.authorization()
        assert [identity.scopes for identity in made] == [[AZURE_DEVOPS_SCOPE]] * 3

    def test_a_failure_to_get_a_token_is_reported(self) -> None:
        identity = FakeIdentity(ClientAuthenticationError("ManagedIdentityCredential: no endpoint\nmore"))
        words = "no token for Azure DevOps: ManagedIdentityCredential: no endpoint; check the identity"
        with pytest.raises(CredentialUnavailable, match=words):
            entra_token(lambda: identity).authorization()


class TestSilence:
    """A service accepts the connection and does not answer. A delivery may not wait for that as long as the libraries.

    If it waited, it would get an answer after half a minute.
    """

    @pytest.fixture
    def silent(self) -> Iterator[str]:
        token = {"access_token": TOKEN, "expires_on": "9999999999", "token_type": "Bearer", "resource": "x"}
        body = json.dumps(token).encode()

        def serve(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.settimeout(30)
            with suppress(TimeoutError):
                if not connection.recv(65536):
                    return  # the client has hung up
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(head % len(body) + body)

        with server(serve) as url:
            yield url

    def test_of_the_managed_identity(self, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IDENTITY_ENDPOINT", silent)
        monkeypatch.setenv("IDENTITY_HEADER", secret("msi"))
        with pytest.raises(CredentialUnavailable, match=r"no token for Azure DevOps: .*timed out"):
            entra_token(lambda: azure_identity("client", in_azure=True)).authorization()

    def test_of_key_vault(self, silent: str) -> None:
        vault = silent.replace("http:", "https:")
        with pytest.raises(CredentialUnavailable, match=r"the secret ado-pat cannot be read from .*timed out"):
            pat_from_key_vault(vault, "ado-pat", FakeIdentity()).authorization()


def test_the_managed_identity_is_used_in_azure_and_the_default_identity_locally() -> None:
    with azure_identity("client", in_azure=True) as managed:  # type: ignore[attr-defined]
        assert isinstance(managed, ManagedIdentityCredential)
    with azure_identity(None, in_azure=False, authority_host=CHINA.authority_host) as local:  # type: ignore[attr-defined]
        assert isinstance(local, DefaultAzureCredential)
    with pytest.raises(ValueError, match="'http://login' is an invalid authority"):  # shows that it is used
        azure_identity(None, in_azure=False, authority_host="http://login")
