"""The official Python client works against the emulator: proof that the shapes are Azure DevOps' own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from devstack.ado.emulator import Emulator
from devstack.ado.server import Served, serve
from tests.devstack.ado_support import DECLARATION, PAT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(Emulator(DECLARATION, pats={PAT})) as served:
        yield served


@pytest.fixture
def connection(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that keeps its caches of addresses to this test: they would outlive the emulator's port."""
    monkeypatch.setenv("AZURE_DEVOPS_CACHE_DIR", str(tmp_path))
    from azure.devops import _file_cache  # noqa: PLC0415 - reads the variable above when it is imported
    from azure.devops.connection import Connection  # noqa: PLC0415
    from msrest.authentication import BasicAuthentication  # noqa: PLC0415

    for cache in (_file_cache.OPTIONS_CACHE, _file_cache.RESOURCE_CACHE):
        monkeypatch.setattr(cache, "file_name", str(tmp_path / "cache.json"))
        monkeypatch.setattr(cache, "data", {})
        monkeypatch.setattr(cache, "initial_load_occurred", True)
    return Connection(base_url=served.organization_url, creds=BasicAuthentication("", PAT))


def test_pipelines_and_runs(connection: Any, served: Served) -> None:
    client = connection.clients_v7_1.get_pipelines_client()
    asked = {
        "templateParameters": {"runId": "brave_fig"},
        "variables": {"system.debug": {"value": "true"}},
        "resources": {"repositories": {"self": {"refName": "refs/heads/main"}}},
        "stagesToSkip": ["deploy"],
    }

    listed = client.list_pipelines("mlops", order_by="id asc", top=2)
    pipeline = client.get_pipeline("mlops", 1)
    run = client.run_pipeline(asked, "mlops", 1)
    again = client.get_run("mlops", 1, run.id)
    preview = client.preview(asked, "mlops", 1)
    runs = client.list_runs("mlops", 1)

    assert [(each.id, each.name) for each in listed] == [(1, "everything"), (2, "disabled")]
    assert (pipeline.name, pipeline.folder, pipeline.configuration.type) == ("everything", "\\mlops", "yaml")
    assert (run.state, run.result, run.template_parameters["runId"]) == ("inProgress", None, "brave_fig")
    assert run.variables["system.debug"].value == "true"
    assert run.resources.repositories["self"].ref_name == "refs/heads/main"
    assert again.as_dict() == run.as_dict()
    assert abs(run.created_date - datetime.now(UTC)) < timedelta(minutes=1)
    assert preview.final_yaml.startswith("name: everything\n")
    assert [each.id for each in runs] == [run.id]
    assert served.emulator.books.run(run.id) is not None


def test_builds_and_tags(connection: Any, served: Served) -> None:
    pipelines = connection.clients_v7_1.get_pipelines_client()
    client = connection.clients_v7_1.get_build_client()
    run = pipelines.run_pipeline({}, "mlops", 4)
    since = run.created_date - timedelta(seconds=1)

    builds = client.get_builds(
        "mlops", definitions=[4], min_time=since, query_order="queueTimeDescending", top=5, status_filter="inProgress"
    )
    finished = client.get_builds("mlops", definitions=[4], min_time=since)
    client.add_build_tag("mlops", run.id, "drift")
    client.add_build_tags(["nightly", "train"], "mlops", run.id)
    client.delete_build_tag("mlops", run.id, "train")
    tags = client.update_build_tags({"tagsToAdd": ["a"], "tagsToRemove": ["nightly"]}, "mlops", run.id)
    build = client.update_build({"status": "cancelling"}, "mlops", run.id)

    assert [each.id for each in builds] == [run.id]
    assert (builds[0].source_branch, builds[0].definition.name, builds[0].reason) == (
        "refs/heads/main",
        "bare",
        "manual",
    )
    assert finished == []
    assert tags == client.get_build_tags("mlops", run.id) == ["a", "drift"]
    assert (build.status, client.get_build("mlops", run.id).status) == ("cancelling", "cancelling")
    assert served.emulator.finish_run(run.id, "canceled").tags == ("a", "drift")
    assert client.get_build("mlops", run.id).result == "canceled"


def test_refusals_are_understood(connection: Any) -> None:
    from azure.devops.exceptions import AzureDevOpsServiceError  # noqa: PLC0415

    client = connection.clients_v7_1.get_pipelines_client()

    with pytest.raises(AzureDevOpsServiceError, match="A value for the 'runId' parameter must be provided") as caught:
        client.run_pipeline({}, "mlops", 1)
    assert caught.value.type_key == "PipelineValidationException"
    with pytest.raises(AzureDevOpsServiceError, match="TF200016"):
        client.list_pipelines("nowhere")
