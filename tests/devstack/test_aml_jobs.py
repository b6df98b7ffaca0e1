"""The emulated Azure Resource Manager returns the status of Azure ML jobs."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.ado import Emulator
from devstack.aml.jobs import JOB_STATUSES
from tests.contracts import validate
from tests.support.services.emulator import DECLARATION, PAT, TOKEN, Ado, basic

WORKSPACE = "/subscriptions/s-1/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ml"
JOB = f"{WORKSPACE}/jobs/brave_fig"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
VERSION = {"api-version": "2024-04-01"}


@pytest.fixture
def ado() -> Ado:
    ado = Ado(Emulator(DECLARATION, pats={PAT}, tokens={TOKEN}))
    ado.emulator.books.jobs.set(WORKSPACE, "brave_fig", "Running")
    return ado


def _get(ado: Ado, path: str = JOB, **more: Any) -> Any:
    return ado.ask("GET", path, **{"headers": BEARER, "query": VERSION, **more})


def _error(answer: Any, status: int, code: str) -> str:
    assert answer.status_code == status
    validate("arm_error", answer.json)
    assert answer.json["error"]["code"] == code
    return str(answer.json["error"]["message"])


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_a_job_and_its_status(ado: Ado, status: str) -> None:
    ado.emulator.books.jobs.set(WORKSPACE, "brave_fig", status)

    answer = _get(ado)

    assert answer.status_code == 200
    validate("aml_job", answer.json)
    assert (answer.json["id"], answer.json["name"]) == (JOB, "brave_fig")
    assert answer.json["properties"]["status"] == status
    studio = answer.json["properties"]["services"]["Studio"]["endpoint"]
    assert studio == f"https://ml.azure.com/runs/brave_fig?wsid={WORKSPACE}"


def test_a_resource_id_is_the_same_in_any_case(ado: Ado) -> None:
    path = WORKSPACE.upper() + "/JOBS/brave_fig"

    assert _get(ado, path).json["id"] == JOB
    assert ado.emulator.books.jobs.set(WORKSPACE.lower(), "brave_fig", "Failed").workspace == WORKSPACE
    assert len(ado.emulator.books.jobs.all) == 1


def test_unknown_jobs_and_workspaces_are_not_found(ado: Ado) -> None:
    message = _error(_get(ado, f"{WORKSPACE}/jobs/other"), 404, "UserError")
    assert message == "Job other not found."
    message = _error(_get(ado, JOB.replace("workspaces/ml", "workspaces/other")), 404, "ResourceNotFound")
    assert message.startswith(
        "The Resource 'Microsoft.MachineLearningServices/workspaces/other' under resource group 'rg'"
    )


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Authorization": ""}, "AuthenticationFailed"),
        ({"Authorization": "Bearer canary-bad"}, "InvalidAuthenticationToken"),
        (basic(PAT), "InvalidAuthenticationToken"),
        (basic(TOKEN), "InvalidAuthenticationToken"),
    ],
)
def test_only_a_bearer_token_is_accepted(ado: Ado, headers: dict[str, str], code: str) -> None:
    job_token = ado.emulator.start_wait_task("http://localhost/contoso").token
    _error(_get(ado, headers={"Authorization": f"Bearer {job_token}"}), 401, "InvalidAuthenticationToken")
    answer = _get(ado, headers=headers)

    _error(answer, 401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("method", "path", "version", "status", "code"),
    [
        ("GET", JOB, None, 400, "MissingApiVersionParameter"),
        ("GET", JOB, "7.1", 400, "InvalidResourceType"),
        ("GET", f"{WORKSPACE}/jobs", "2024-04-01", 404, "InvalidResourceType"),
        ("GET", WORKSPACE, "2024-04-01", 404, "InvalidResourceType"),
        ("PUT", JOB, "2024-04-01", 405, "MethodNotAllowed"),
        ("PATCH", f"{WORKSPACE}/jobs/other", "2024-04-01", 404, "UserError"),
        ("PATCH", JOB, None, 400, "MissingApiVersionParameter"),
    ],
)
def test_requests_that_are_refused(
    ado: Ado, method: str, path: str, version: str | None, status: int, code: str
) -> None:
    _error(ado.ask(method, path, headers=BEARER, query={"api-version": version}), status, code)
