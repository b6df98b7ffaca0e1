"""The sample pipeline that waits without an agent: its jobs fit together, and its tasks send the right request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from devstack.ado import AzureFunction, Emulator, InvokeRestApi, StartedTask, load_declaration, serve
from tests.pipelines.pipeline_files import FOLDER, Pipeline, load
from tests.support import ROOT
from tests.support.canaries import secret
from tests.support.polling import wait_until
from tests.support.services.tasks import Callee, serve_callee

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

FILE = ROOT / "pipelines" / "train-async.yml"
TEXT = FILE.read_text(encoding="utf-8")
KEY = secret("function-key")


def _jobs(text: str = TEXT) -> dict[str, Any]:
    stages = yaml.safe_load(text)["stages"]
    return {job["job"]: job for stage in stages for job in stage["jobs"] if "job" in job}


def _with_the_other_task() -> str:
    """Return the file with the alternative task, which is commented out, instead of the one above it."""
    lines, out, inside = TEXT.splitlines(), [], False
    for line in lines:
        inside = (inside or "# - task: InvokeRESTAPI@1" in line) and line.lstrip().startswith("#")
        out.append(re.sub(r"^( *)# ", r"\1", line) if inside else line)
    return "\n".join(out)


def _wait_inputs(task: str) -> dict[str, str]:
    steps = _jobs(_with_the_other_task())["wait"]["steps"]
    (inputs,) = (step["inputs"] for step in steps if step["task"] == task)
    return dict(inputs)


def _variables(callee: Callee) -> dict[str, str]:
    shared = load(FOLDER / "templates" / "workspace.yml")["variables"]
    return {**shared, "nextstageUrl": callee.url, "nextstageFunctionKey": KEY, "runId": "brave_fig"}


def _filled(text: str, variables: dict[str, str]) -> str:
    """Replace the variables of the pipeline. The task replaces predefined ones."""
    return re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], text)


def test_a_canceled_pipeline_cancels_the_job() -> None:
    (template,) = (job for stage in yaml.safe_load(TEXT)["stages"] for job in stage["jobs"] if "template" in job)
    assert template["template"] == "templates/aml-job-cancel.yml"


@pytest.mark.parametrize("task", ["AzureFunction@1", "InvokeRESTAPI@1"])
def test_the_tasks_send_the_run_and_their_own_id(task: str) -> None:
    def answer(_received: Request) -> tuple[int, str]:
        return 202, "{}"

    emulator = Emulator(load_declaration())
    with serve(emulator) as served, serve_callee(answer) as callee:
        given = {name: _filled(value, _variables(callee)) for name, value in _wait_inputs(task).items()}
        assert (given.pop("waitForCompletion"), given.pop("method")) == ("true", "POST")
        if task == "AzureFunction@1":
            inputs: Any = AzureFunction(function=given["function"], key=given["key"], body=given["body"])
        else:
            assert (given["connectionType"], given["serviceConnection"]) == ("connectedServiceName", "nextstage")
            inputs = InvokeRestApi(service_url=callee.url, url_suffix=given["urlSuffix"], body=given["body"])
        started = emulator.start_wait_task(served.organization_url, inputs)
        _until_waiting(emulator, started)

    (received,) = callee.received
    assert received.full_path.rstrip("&") == f"/api/waits?code={KEY}"
    assert callee.json == {"run_id": "brave_fig", "workspace": "mlops"}
    assert received.headers["taskinstanceid"] == started.record.id


def _until_waiting(emulator: Emulator, started: StartedTask) -> None:
    wait_until(lambda: emulator.books.task_hub.task(started.record.id).state != "calling")
    assert emulator.books.task_hub.task(started.record.id).state == "waiting"


def test_the_wait_needs_no_agent_and_ends_before_its_token_expires() -> None:
    wait = _jobs()["wait"]

    assert wait["pool"] == "server"
    assert 60 < wait["timeoutInMinutes"] <= 24 * 60


def test_the_run_id_is_passed_from_the_job_that_sets_it_to_the_others() -> None:
    jobs = _jobs()
    assert jobs["submit"]["steps"][1]["template"] == "templates/aml-job-submit.yml"
    name = Pipeline(FOLDER / "templates" / "aml-job-submit.yml").parameters["stepName"]["default"]
    output = f"outputs['{name}.runId']"
    assert jobs["wait"]["variables"] == {"runId": f"$[ dependencies.submit.{output} ]"}
    assert jobs["wait"]["dependsOn"] == "submit"
    assert jobs["register"]["variables"] == {"runId": f"$[ stageDependencies.train.submit.{output} ]"}
