"""The emulated managed identity issues tokens to azure-identity's client, and thus to the app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential

from devstack.ado import Emulator
from devstack.ado.server import Served, serve
from shared.credentials import azure_identity, entra_token
from tests.contracts import validate
from tests.support.canaries import secret
from tests.support.services.emulator import DECLARATION, PAT, PROJECT, Ado

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKSPACE = "/subscriptions/s-1/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ml"
JOB = f"{WORKSPACE}/jobs/brave_fig"
VERSION = {"api-version": "2024-04-01"}
IDENTITY_HEADER = secret("identity-header")
AZURE_DEVOPS = "499b84ac-1321-427f-aa17-267ca6975798"
MANAGEMENT = "https://management.azure.com"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Serve an emulator whose managed identity is that of this process."""
    emulator = Emulator(DECLARATION, pats={PAT}, tokens=set(), identity_header=IDENTITY_HEADER)
    with serve(emulator) as served:
        monkeypatch.setenv("IDENTITY_ENDPOINT", served.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        yield served


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "X-TFS-FedAuthRedirect": "Suppress"}


def test_the_real_managed_identity_credential_gets_tokens_that_are_accepted(served: Served) -> None:
    with ManagedIdentityCredential() as credential:
        azure_devops = credential.get_token(f"{AZURE_DEVOPS}/.default")
        management = credential.get_token(f"{MANAGEMENT}/.default")
    served.emulator.books.jobs.set(WORKSPACE, "brave_fig", "Completed")
    pipelines, job = f"{served.url}{PROJECT}/pipelines", f"{served.url}{JOB}?api-version=2024-04-01"

    statuses = [
        requests.get(url, headers=_bearer(token.token), timeout=10).status_code
        for url in (pipelines, job)
        for token in (azure_devops, management)
    ]

    assert statuses == [200, 203, 401, 200]
    assert azure_devops.token != management.token
    assert azure_devops.expires_on > 0


@pytest.mark.parametrize("in_azure", [True, False])
def test_the_app_signs_in_with_the_managed_identity(served: Served, in_azure: bool) -> None:
    credential = entra_token(lambda: azure_identity(None, in_azure=in_azure))

    headers = {"Authorization": credential.authorization()}
    assert requests.get(f"{served.url}{PROJECT}/pipelines", headers=headers, timeout=10).status_code == 200


def test_the_wrong_identity_header(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", secret("wrong-header"))

    with (
        ManagedIdentityCredential() as credential,
        pytest.raises((ClientAuthenticationError, CredentialUnavailableError), match="X-IDENTITY-HEADER"),
    ):
        credential.get_token(f"{MANAGEMENT}/.default")
    assert served.emulator.credentials.issued == {}


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ({"resource": f"{MANAGEMENT}/"}, {"X-IDENTITY-HEADER": IDENTITY_HEADER}, 200),
        ({}, {"X-IDENTITY-HEADER": IDENTITY_HEADER}, 400),
        ({"resource": MANAGEMENT, "api-version": "2017-09-01"}, {"X-IDENTITY-HEADER": IDENTITY_HEADER}, 400),
        ({"resource": MANAGEMENT}, {}, 401),
    ],
)
def test_the_protocol_of_app_service(query: dict[str, str], headers: dict[str, str], status: int) -> None:
    ado = Ado(Emulator(DECLARATION, tokens=set(), identity_header=IDENTITY_HEADER))
    answer: Any = ado.ask("GET", "/_emulator/identity", headers=headers, query={"api-version": "2019-08-01", **query})

    assert answer.status_code == status
    if status != 200:
        assert answer.json["statusCode"] == status
        return
    validate("identity_token", answer.json)
    assert answer.json["resource"] == f"{MANAGEMENT}/"
    answer = ado.ask("GET", JOB, headers=_bearer(answer.json["access_token"]), query=VERSION)
    assert answer.json["error"]["code"] == "ResourceNotFound"
