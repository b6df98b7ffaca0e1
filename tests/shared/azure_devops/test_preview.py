"""The client's preview against the emulator over a socket: what is checked, and that nothing is ever queued."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from devstack.ado import Emulator, Fault, Match, load_declaration, serve
from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.runs import RunRequest
from shared.credentials import pat_from_environment
from shared.errors import AzureDevOpsError, CredentialRejected, PermissionDenied, RequestNotSent, RequestRefused
from shared.http.transport import RequestsTransport
from tests.contracts import validate
from tests.support.canaries import secret

PARAMETERS = {"runId": "r", "experimentName": "train"}


@dataclass
class Scene:
    emulator: Emulator
    organization_url: str
    client: PipelinesClient

    def request(self, pipeline: int | str = "model-evaluation", **parameters: str) -> RunRequest:
        return RunRequest(self.organization_url, "mlops", pipeline, "main", parameters or PARAMETERS)

    def preview(self, request: RunRequest) -> str:
        return self.client.preview(request, datetime.now(UTC) + timedelta(seconds=10))


@pytest.fixture
def scene() -> Iterator[Scene]:
    emulator = Emulator(load_declaration(), pats={secret("pat")})
    transport = RequestsTransport(1)
    client = PipelinesClient(pat_from_environment(lambda: secret("pat")), transport, sleep=lambda _seconds: None)
    with serve(emulator) as served:
        yield Scene(emulator, served.organization_url, client)
        transport.close()
    assert emulator.books.runs == ()


def test_the_yaml_that_would_run(scene: Scene) -> None:
    document = yaml.safe_load(scene.preview(scene.request()))
    assert {"script": "echo runId=r"} in document["stages"][0]["jobs"][0]["steps"]
    (asked,) = [request for request in scene.emulator.books.requests if request.method == "POST"]
    assert asked.path.endswith("/pipelines/11/preview")
    validate("ado_run_request", asked.body)


def test_a_wrong_parameter_is_refused_with_the_servers_words(scene: Scene) -> None:
    with pytest.raises(RequestRefused, match="Unexpected parameter 'run'"):
        scene.preview(scene.request(run="r"))


def test_a_pipeline_that_is_not_there(scene: Scene) -> None:
    with pytest.raises(RequestRefused, match="did you mean 'model-evaluation'") as caught:
        scene.preview(scene.request("model-evaluations"))
    assert caught.value.not_found


@pytest.mark.parametrize(
    ("seen", "error"),
    [
        ({"status": 403}, PermissionDenied),
        ({"status": 203, "body": "<html></html>"}, CredentialRejected),
        ({"status": 500}, RequestNotSent),
        ({"drop": True}, RequestNotSent),
        ({"status": 200, "body": {}}, RequestNotSent),
    ],
    ids=["no permission", "bad credential", "server error", "no answer", "no yaml"],
)
def test_no_answer_leaves_a_doubt(scene: Scene, seen: dict[str, Any], error: type[AzureDevOpsError]) -> None:
    scene.emulator.plan(Fault(accept=False, match=Match(path="/preview$"), **seen))
    with pytest.raises(error):
        scene.preview(scene.request(11))


def test_the_pipelines_that_the_app_may_see(scene: Scene) -> None:
    pipelines = scene.client.list_pipelines(scene.request(), datetime.now(UTC) + timedelta(seconds=10))
    assert pipelines[r"\mlops\release\smoke-test"] == 13
    assert len(pipelines) == len(scene.emulator.declaration.pipelines)
