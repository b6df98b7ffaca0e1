"""Helpers for the tests of the emulator: a declaration with every feature, and a client in the same process."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from werkzeug.test import Client

from devstack.ado.declaration import Declaration, PipelineDeclaration, SecretSource, VariableDeclaration
from devstack.ado.emulator import Emulator
from devstack.ado.runs.parameters import ParameterDeclaration
from tests.contracts import validate

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

PAT = "canary-pat-1"
TOKEN = "canary-token-1"
PROJECT = "/contoso/mlops/_apis"
RUNS = f"{PROJECT}/pipelines/1/runs"
PLAIN_RUN: dict[str, object] = {"templateParameters": {"runId": "brave_fig"}}

DECLARATION = Declaration(
    organization="contoso",
    project="mlops",
    branches=("main", "release/1"),
    pat=SecretSource("UNUSED_PAT", "canary-default-pat"),
    token=SecretSource("UNUSED_TOKEN", "canary-default-token"),
    pipelines=(
        PipelineDeclaration(
            id=1,
            name="everything",
            folder="\\mlops",
            revision=3,
            parameters=(
                ParameterDeclaration("runId", "string"),
                ParameterDeclaration("environment", "string", "test", ("test", "production")),
                ParameterDeclaration("replicas", "number", "1", ("1", "2", "2.5")),
                ParameterDeclaration("force", "boolean", "False"),
                ParameterDeclaration("consent", "boolean", "true", ("true",)),
                ParameterDeclaration("options", "object", "{}"),
                ParameterDeclaration("regions", "stringList", '["west"]', ("west", "east")),
            ),
            variables=(
                VariableDeclaration("system.debug", "false", settable=True),
                VariableDeclaration("apiKey", settable=True),
                VariableDeclaration("pool", "small"),
            ),
            stages=("build", "deploy"),
        ),
        PipelineDeclaration(id=2, name="disabled", queue_status="disabled"),
        PipelineDeclaration(id=3, name="forbidden", may_queue=False),
        PipelineDeclaration(id=4, name="bare"),
        PipelineDeclaration(id=5, name="paused", queue_status="paused"),
    ),
)


class Clock:
    """A clock that advances by one second with each call."""

    def __init__(self) -> None:
        self.now = datetime(2026, 8, 12, 8, 0, 0, 685642, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def basic(secret: str, user: str = "anybody") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()}


class Ado:
    """A client of an emulator in the same process, with a valid credential, the Suppress header and the api-version."""

    def __init__(self, emulator: Emulator | None = None) -> None:
        self.emulator = emulator or Emulator(DECLARATION, pats={PAT}, tokens={TOKEN})
        self._client = Client(self.emulator)

    def ask(self, method: str, path: str, body: object = None, **more: Any) -> TestResponse:
        """Send a request.

        :param body: sent as JSON, unless ``data`` is given.
        :param more: ``query`` and ``headers`` to add, in which None removes an entry, and ``data``.
        """
        headers = {**basic(PAT), "X-TFS-FedAuthRedirect": "Suppress", **more.get("headers", {})}
        query = {"api-version": "7.1", **more.get("query", {})}
        query = {name: value for name, value in query.items() if value is not None}
        data = more.get("data")
        if data is None and body is not None:
            data = json.dumps(body)
        if data is not None:
            headers = {"Content-Type": "application/json", **headers}
        return self._client.open(path, method=method, headers=headers, query_string=query, data=data)

    def good(self, contract: str, method: str, path: str, body: object = None, **more: Any) -> Any:
        """Return the document of an answer, which must be 200 and match the contract."""
        answer = self.ask(method, path, body, **more)
        assert answer.status_code == 200, answer.text
        document = answer.json
        validate(contract, document)
        return document

    def refused(self, status: int, key: str, method: str, path: str, body: object = None, **more: Any) -> str:
        """Return the message of an answer, which must be an error with this status and type."""
        answer = self.ask(method, path, body, **more)
        assert answer.status_code == status, answer.text
        document = answer.json
        assert document is not None
        validate("ado_error", document)
        assert document["typeKey"] == key
        return str(document["message"])

    def run(self, body: dict[str, object] | None = None, pipeline: int = 1) -> dict[str, Any]:
        """Queue a run and return it."""
        asked = PLAIN_RUN if body is None else body
        validate("ado_run_request", asked)
        run: dict[str, Any] = self.good("ado_run", "POST", f"{PROJECT}/pipelines/{pipeline}/runs", asked)
        return run
