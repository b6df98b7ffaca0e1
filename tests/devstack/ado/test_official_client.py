"""The official Python client works against the emulator, so the shapes are those of Azure DevOps."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from devstack.ado.emulator import Emulator
from devstack.ado.server import Served, serve
from tests.support.services.emulator import DECLARATION, PAT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from devstack.ado import StartedTask, TaskRecord


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(Emulator(DECLARATION, pats={PAT})) as served:
        yield served


@pytest.fixture
def connect(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return a function that connects with a PAT or job token.

    Each test has its own cache of locations, because cached ones contain the port of an earlier emulator.
    """
    monkeypatch.setenv("AZURE_DEVOPS_CACHE_DIR", str(tmp_path))
    from azure.devops import _file_cache  # noqa: PLC0415 - reads the variable above when it is imported
    from azure.devops.connection import Connection  # noqa: PLC0415
    from msrest.authentication import BasicAuthentication  # noqa: PLC0415

    for cache in (_file_cache.OPTIONS_CACHE, _file_cache.RESOURCE_CACHE):
        monkeypatch.setattr(cache, "file_name", str(tmp_path / "cache.json"))
        monkeypatch.setattr(cache, "data", {})
        monkeypatch.setattr(cache, "initial_load_occurred", True)
    return lambda secret: Connection(base_url=served.organization_url, creds=BasicAuthentication("", secret))


@pytest.fixture
def connection(connect: Callable[[str], Any]) -> Any:
    return connect(PAT)


def test_pipelines_and_runs(connection: Any, served: Served) -> None:
    client = connection.clients_v7_1.get_pipelines_client()
    asked = {
        "templateParameters": {"runId": "brave_fig"},
        "variables": {"system.debug": {"value": "true"}},
        "resources": {"repositories": {"self": {"refName": "refs/heads/main"}}},
        "stagesToSkip": ["deploy"],
    }

    listed = client.list_pipelines("mlops", top=2)
    pipeline = client.get_pipeline("mlops", 1)
    run = client.run_pipeline(asked, "mlops", 1)
    again = client.get_run("mlops", 1, run.id)
    preview = client.preview(asked, "mlops", 1)

    assert [(each.id, each.name) for each in listed] == [(4, "bare"), (2, "disabled")]
    assert (pipeline.name, pipeline.folder, pipeline.configuration.type) == ("everything", "\\mlops", "yaml")
    assert (run.state, run.result, run.template_parameters["runId"]) == ("inProgress", None, "brave_fig")
    assert run.variables["system.debug"].value == "true"
    assert run.resources.repositories["self"].ref_name == "refs/heads/main"
    assert again.as_dict() == run.as_dict()
    assert abs(run.created_date - datetime.now(UTC)) < timedelta(minutes=1)
    assert preview.final_yaml.startswith("name: everything\n")
    assert served.emulator.books.run(run.id) is not None


def test_builds_and_tags(connection: Any, served: Served) -> None:
    pipelines = connection.clients_v7_1.get_pipelines_client()
    client = connection.clients_v7_1.get_build_client()
    run = pipelines.run_pipeline({}, "mlops", 4)
    since = run.created_date - timedelta(seconds=1)

    builds = client.get_builds(
        "mlops",
        definitions=[4],
        min_time=since,
        query_order="queueTimeDescending",
        top=5,
        branch_name="refs/heads/main",
    )
    finished = client.get_builds("mlops", definitions=[4], min_time=since)
    tags = client.add_build_tags(["nightly", "drift"], "mlops", run.id)
    timeline = client.get_build_timeline("mlops", run.id)
    assert [(each.type, each.identifier, each.state) for each in timeline.records] == [
        ("Stage", "__default", "pending")
    ]
    assert timeline.id == builds[0].orchestration_plan.plan_id
    build = client.update_build({"status": "cancelling"}, "mlops", run.id)

    assert [(each.id, each.source_branch, each.definition.name, each.reason) for each in builds] == [
        (run.id, "refs/heads/main", "bare", "manual")
    ]
    who = connection.clients_v7_1.get_location_client().get_connection_data()
    assert builds[0].requested_by.id == who.authenticated_user.id
    assert builds[0].orchestration_plan.plan_id == builds[0].plans[0].plan_id
    assert finished == []
    assert tags == client.get_build_tags("mlops", run.id) == ["drift", "nightly"]
    assert build.status == "cancelling"
    served.emulator.finish_run(run.id, "canceled")
    assert client.get_build("mlops", run.id).result == "canceled"


def test_the_client_reads_error_answers(connection: Any) -> None:
    from azure.devops.exceptions import AzureDevOpsServiceError  # noqa: PLC0415

    client = connection.clients_v7_1.get_pipelines_client()

    with pytest.raises(AzureDevOpsServiceError, match="A value for the 'runId' parameter must be provided") as caught:
        client.run_pipeline({}, "mlops", 1)
    assert caught.value.type_key == "PipelineValidationException"
    with pytest.raises(AzureDevOpsServiceError, match="TF200016"):
        client.list_pipelines("nowhere")


@dataclass(frozen=True)
class _TaskOfHub:
    """A started task, and the official client with its job token, as a callee would use it."""

    client: Any
    started: StartedTask

    @property
    def plan(self) -> dict[str, str]:
        headers = self.started.headers
        return {"scope_identifier": headers["ProjectId"], "hub_name": "build", "plan_id": headers["PlanId"]}

    @property
    def timeline(self) -> dict[str, str]:
        return {**self.plan, "timeline_id": self.started.headers["TimelineId"]}

    def post(self, location_id: str, version: str, body: object, **values: str) -> int:
        """Send a request that the client has no method for, to a resource given by its well-known ID."""
        headers = self.started.headers
        route = {"scopeIdentifier": headers["ProjectId"], "hubName": "build", "planId": headers["PlanId"], **values}
        answer = self.client._send("POST", location_id, version, route_values=route, content=body)
        assert answer.content == b""
        return int(answer.status_code)


@pytest.fixture
def task(connect: Callable[[str], Any], served: Served) -> _TaskOfHub:
    started = served.emulator.start_wait_task(served.organization_url)
    return _TaskOfHub(connect(started.token).clients_v7_1.get_task_client(), started)


def _wrapped(values: list[object]) -> object:
    """Return a collection for ``update_records``. The client's package has no model for it."""
    from msrest.serialization import Model  # noqa: PLC0415

    keys = {"count": {"key": "count", "type": "int"}, "value": {"key": "value", "type": "[object]"}}
    wrapper: Any = type("VssJsonCollectionWrapper", (Model,), {"_attribute_map": keys})
    return wrapper(count=len(values), value=values)


def _record(served: Served, task: _TaskOfHub) -> TaskRecord:
    return served.emulator.books.task_hub.task(task.started.record.id)


def test_the_log_and_the_timeline_of_a_task(task: _TaskOfHub, served: Served) -> None:
    task_id = task.started.record.id

    log = task.client.create_log({"path": f"logs\\{task_id}"}, **task.plan)
    appended = task.client.append_log_content(io.BytesIO(b"one\ntwo\n"), **task.plan, log_id=log.id)
    changes = _wrapped([{"id": task_id, "log": {"id": log.id}}])
    changed = task.client.update_records(changes, **task.timeline)
    job, own = task.client.get_records(**task.timeline)

    assert (log.id, log.line_count, appended.line_count) == (1, 0, 2)
    assert [(each.id, each.log.id) for each in changed] == [(task_id, log.id)]
    assert (job.type, own.type, own.parent_id, own.state) == ("Job", "Task", job.id, "inProgress")
    assert own.start_time is not None
    assert _record(served, task).log_lines == ("one", "two")


def test_console_lines_and_the_completion_of_a_task(task: _TaskOfHub, served: Served) -> None:
    headers = task.started.headers
    lines = {"value": ["waits"], "count": 1}
    feed = {"timelineId": headers["TimelineId"], "recordId": headers["TaskInstanceId"]}
    event = {"name": "TaskCompleted", "taskId": headers["TaskInstanceId"], "jobId": headers["JobId"]}

    fed = task.post("858983e4-19bd-4c5e-864c-507b59b58b12", "6.0-preview.1", lines, **feed)
    ended = task.post("557624af-b29e-4c20-8ab0-0399d2204f3f", "2.0-preview.1", {**event, "result": "failed"})

    record = _record(served, task)
    assert (fed, ended) == (204, 204)
    assert (record.feed_lines, record.result, record.completions) == (("waits",), "failed", 1)
    assert task.client.get_records(**task.timeline)[1].result == "failed"


def test_the_client_reads_the_error_for_an_ended_plan(task: _TaskOfHub, served: Served) -> None:
    from azure.devops.exceptions import AzureDevOpsServiceError  # noqa: PLC0415

    served.emulator.books.task_hub.end_plan(task.started.record.plan_id, "canceled")

    with pytest.raises(AzureDevOpsServiceError, match="No plan found for identifier") as caught:
        task.client.get_records(**task.timeline)
    assert caught.value.type_key == "TaskOrchestrationPlanNotFoundException"
