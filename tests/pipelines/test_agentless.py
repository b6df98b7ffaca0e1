"""The sample pipelines that wait without an agent: their jobs fit together, and each way completes the task."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.ado import AzureFunction, Emulator, load_declaration, serve
from devstack.processes import RunningProcess, start
from tests.pipelines.pipeline_files import FOLDER, Pipeline, nodes
from tests.support.agent import Agent
from tests.support.builders import WORKSPACE
from tests.support.canaries import leaks, secret
from tests.support.polling import wait_until
from tests.support.services.tasks import serve_callee

TEMPLATE = Pipeline(FOLDER / "templates" / "aml-job-wait-agentless.yml")
SAMPLES = {
    "train-wait-task.yml": "task",
    "train-post-back.yml": "postBack",
    "train-async-entra.yml": "nextstage",
    "train-one-at-a-time.yml": "nextstage",
    "batch-endpoint.yml": "${{ parameters.way }}",
}
TOKEN = secret("arm-token")

each_sample = pytest.mark.parametrize("name", sorted(SAMPLES))


def expanded(value: Any, given: Mapping[str, str]) -> Any:
    """Expand the expressions of the template: ``parameters.name``, and steps under ``if eq(parameters.name, 'x')``."""
    if isinstance(value, str):
        return re.sub(r"\$\{\{ parameters\.(\w+) \}\}", lambda match: given[match[1]], value)
    if isinstance(value, dict):
        return {key: expanded(item, given) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    items: list[Any] = []
    for item in value:
        condition = re.fullmatch(r"\$\{\{ if eq\(parameters\.(\w+), '(\w+)'\) \}\}", next(iter(item), ""))
        if condition is None:
            items.append(expanded(item, given))
        elif given[condition[1]] == condition[2]:
            items += expanded(next(iter(item.values())), given)
    return items


def jobs(way: str, **given: str) -> dict[str, Any]:
    """Return the jobs of the template by name, for the workspace of the tests."""
    defaults = {name: str(each.get("default", "")) for name, each in TEMPLATE.parameters.items()}
    subscription, group, workspace = re.findall(r"/(?:subscriptions|resourceGroups|workspaces)/([^/]+)", WORKSPACE)
    names = {"subscriptionId": subscription, "resourceGroup": group, "workspace": workspace}
    more = {"azureSubscription": "mlops", "nextstageConnection": "nextstage", "nextstageUrl": "$(nextstageUrl)"}
    wait, cancel = expanded(TEMPLATE.document["jobs"], defaults | names | more | {"way": way} | given)
    file = Pipeline(TEMPLATE.file.parent / cancel["template"])
    own = {name: str(each.get("default", "")) for name, each in file.parameters.items()}
    return {"wait": wait, "cancel": expanded(file.document["jobs"][0], own | cancel["parameters"])}


def wait_inputs(way: str, **variables: str) -> dict[str, str]:
    """Return the inputs of the task that waits, with the variables of its job."""
    (step,) = jobs(way)["wait"]["steps"]
    known = {"runId": "brave_fig", **variables}
    inputs = {
        name: re.sub(r"\$\((\w+)\)", lambda match: known[match[1]], value) for name, value in step["inputs"].items()
    }
    return {"task": step["task"], **inputs}


@each_sample
def test_the_jobs_of_a_sample_fit_together(name: str) -> None:
    pipeline = Pipeline(FOLDER / name)
    [given] = [given for file, given in pipeline.calls if file.name == TEMPLATE.file.name]
    assert given["way"] == SAMPLES[name]
    submit = given.get("submitJob", "submit")
    declared = {node["job"]: node for node in nodes(pipeline.document) if "job" in node}
    names = [step.get("name", "amlJob") for step in declared[submit]["steps"] if "template" in step or "name" in step]
    assert names == ["amlJob"], "the step that sets runId"
    output = f"$[ dependencies.{submit}.outputs['amlJob.runId'] ]"
    found = jobs("task", submitJob=submit)
    assert found["wait"]["dependsOn"] == submit
    assert {found[each]["variables"]["runId"] for each in ("wait", "cancel")} == {output}
    if "evaluate" in declared:
        assert declared["evaluate"]["dependsOn"] == [submit, "wait"]
        assert declared["evaluate"]["variables"] == {"runId": output}
        assert f"experiment_name={name.removesuffix('.yml')}" in str(declared[submit])


@pytest.mark.parametrize("way", TEMPLATE.parameters["way"]["values"])
def test_a_wait_needs_no_agent_and_a_canceled_pipeline_cancels_the_job(way: str) -> None:
    wait, cancel = jobs(way).values()
    assert wait["pool"] == "server"
    assert 60 < TEMPLATE.parameters["timeoutInMinutes"]["default"] <= 24 * 60, "as long as the token is surely valid"
    assert (cancel["condition"], cancel["dependsOn"]) == ("canceled()", ["submit", "wait"])
    assert cancel["steps"][-1]["inputs"]["scriptPath"].endswith("/aml_job_cancel.sh")
    assert cancel["steps"][-1]["env"]["AML_RUN_ID"] == "$(runId)"


@dataclass
class Cloud:
    """Azure DevOps and Azure ML as a process of their own."""

    process: RunningProcess

    @property
    def url(self) -> str:
        return "/".join(self.process.url.split("/")[:3])

    def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = requests.request(method, f"{self.url}/_emulator/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def job_is(self, name: str, status: str) -> None:
        self.ask("POST", "jobs", {"workspace": WORKSPACE, "name": name, "status": status})

    def start(self, task: str, inputs: dict[str, Any]) -> str:
        """Start a task with a service connection to Azure. Return its id when its request is answered."""
        connection = {"url": f"{self.url}/", "authorization": f"Bearer {TOKEN}"}
        started = self.ask("POST", "tasks", {"task": task, "inputs": {"serviceConnection": connection, **inputs}})
        task_id: str = started["task"]["taskInstanceId"]
        wait_until(lambda: self.task(task_id)["state"] != "calling")
        return task_id

    def task(self, task_id: str) -> dict[str, Any]:
        task: dict[str, Any] = self.ask("GET", f"tasks/{task_id}")
        return task


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with start("devstack.ado", env={"DEVSTACK_TOKEN": TOKEN}, cwd=folder, log=folder / "ado.log") as process:
        yield Cloud(process)


def started(cloud: Cloud, way: str, job: str) -> str:
    """Start the task of the template as it waits for a job."""
    given = wait_inputs(way, runId=job)
    if way == "task":
        assert given.keys() == {
            *("task", "serviceConnection", "resourceGroupName", "azureMLWorkspaceName", "azureMLJobName")
        }
        subscription = WORKSPACE.partition("/resourceGroups")[0]
        resource = f"{subscription}/resourceGroups/{given['resourceGroupName']}/providers"
        resource += f"/Microsoft.MachineLearningServices/workspaces/{given['azureMLWorkspaceName']}/jobs"
        return cloud.start(given["task"], {"job": f"{resource}/{given['azureMLJobName']}"})
    assert (given["connectionType"], given["waitForCompletion"]) == ("connectedServiceNameARM", "true")
    inputs = {name: given[name] for name in ("urlSuffix", "method", "body")}
    return cloud.start(given["task"], {**inputs, "headers": json.loads(given["headers"])})


@pytest.mark.parametrize("way", ["task", "postBack"])
@pytest.mark.parametrize(
    ("status", "result"), [("Completed", "succeeded"), ("Failed", "failed"), ("Canceled", "canceled")]
)
def test_azure_ml_completes_the_task(cloud: Cloud, way: str, status: str, result: str) -> None:
    job = f"job_{way}_{status}"
    cloud.job_is(job, "Running")
    task_id = started(cloud, way, job)
    assert cloud.task(task_id)["state"] == "waiting"
    cloud.job_is(job, status)
    wait_until(lambda: cloud.task(task_id)["state"] == "completed")
    ended = cloud.task(task_id)
    assert (ended["result"], ended["endedBy"], ended["completions"]) == (result, "event", 1)
    assert leaks(json.dumps(ended)) == []


@pytest.mark.parametrize("way", ["task", "postBack"])
def test_a_lost_post_back_leaves_the_task_to_its_timeout(cloud: Cloud, way: str) -> None:
    job = f"lost_{way}"
    cloud.job_is(job, "Running")
    task_id = started(cloud, way, job)
    cloud.ask("POST", "faults", [{"accept": False, "status": 503, "match": {"path": "/events$"}}])
    cloud.job_is(job, "Completed")
    wait_until(lambda: cloud.ask("GET", "faults")["faults"] == [])
    assert cloud.task(task_id)["state"] == "waiting"
    cloud.ask("POST", f"tasks/{task_id}", {"timedOut": True})
    assert cloud.task(task_id)["result"] == "canceled"


@pytest.mark.parametrize("way", ["task", "postBack"])
def test_a_missing_job_fails_the_task(cloud: Cloud, way: str) -> None:
    cloud.job_is("another", "Running")
    task = cloud.task(started(cloud, way, f"missing_{way}"))
    assert (task["result"], task["endedBy"]) == ("failed", "call")


def test_nextstage_gets_the_run_and_the_token_of_the_connection() -> None:
    """The rest of this way: tests/shared/waits/test_sign_in.py."""
    emulator = Emulator(load_declaration())
    with serve(emulator) as served, serve_callee(lambda _: (202, "{}")) as callee:
        given = wait_inputs("nextstage", nextstageUrl=callee.url)
        assert (given["task"], given["azureSubscription"]) == ("AzureFunction@2", "nextstage")
        assert (given["method"], given["waitForCompletion"]) == ("POST", "true")
        assert "key" not in given
        inputs = AzureFunction(function=given["function"], authorization=f"Bearer {TOKEN}", body=given["body"])
        task = emulator.start_wait_task(served.organization_url, inputs).record
        wait_until(lambda: emulator.books.task_hub.task(task.id).state == "waiting")
    (received,) = callee.received
    assert (received.path, received.headers["authorization"]) == ("/api/entra/waits", f"Bearer {TOKEN}")
    assert callee.json == {"run_id": "brave_fig", "workspace": WORKSPACE.rpartition("/")[2]}


def test_one_run_at_a_time_holds_its_lock_during_the_whole_training() -> None:
    [stage] = Pipeline(FOLDER / "train-one-at-a-time.yml").document["stages"]
    assert stage["lockBehavior"] == "sequential"
    assert [job.get("job", job.get("template")) for job in stage["jobs"]] == [
        "submit",
        "templates/aml-job-wait-agentless.yml",
        "evaluate",
    ]


class TestBatchEndpoint:
    INPUTS: Mapping[str, str] = {
        "AML_ENDPOINT": "scoring",
        "AML_DEPLOYMENT": "default",
        "AML_INPUTS_FILE": "none",
        "AML_RESOURCE_GROUP": "rg-mlops",
        "AML_WORKSPACE": "mlops",
    }

    @pytest.fixture
    def agent(self, tmp_path: Path) -> Agent:
        (tmp_path / "inputs.yml").write_text("inputs: {}\n")
        return Agent(tmp_path, {"extension show": ["{}"], "batch-endpoint invoke": ["brave_fig"]})

    def run(self, agent: Agent, **changes: str) -> Any:
        return agent.run("batch_endpoint_invoke.sh", **{**self.INPUTS, **changes})

    def test_it_invokes_the_endpoint_and_names_the_job(self, agent: Agent) -> None:
        ended = self.run(agent)
        assert (ended.code, ended.outputs) == (0, {"runId": "brave_fig"})
        [call] = agent.calls_of("ml batch-endpoint invoke")
        assert call.values("--name") + call.values("--workspace-name") == ["scoring", "mlops"]
        assert not {"--deployment-name", "--file"} & set(call.arguments)

    def test_a_deployment_and_inputs(self, agent: Agent) -> None:
        assert self.run(agent, AML_DEPLOYMENT="blue", AML_INPUTS_FILE="inputs.yml").code == 0
        [call] = agent.calls_of("ml batch-endpoint invoke")
        assert call.values("--deployment-name") + call.values("--file") == ["blue", "inputs.yml"]

    @pytest.mark.parametrize(
        ("answer", "changes", "code", "error"),
        [
            ({"err": "ERROR: quota", "code": 1}, {}, 3, "the endpoint scoring could not be invoked: ERROR: quota"),
            ("", {}, 3, "az invoked the endpoint scoring but did not return the job; see Azure ML studio"),
            ("x", {"AML_ENDPOINT": ""}, 2, "these environment variables must be set: AML_ENDPOINT"),
            ("x", {"AML_INPUTS_FILE": "no.yml"}, 2, "the inputs file no.yml does not exist in "),
        ],
    )
    def test_failures(self, agent: Agent, answer: Any, changes: dict[str, str], code: int, error: str) -> None:
        agent.plan["batch-endpoint invoke"] = [answer]
        ended = self.run(agent, **changes)
        assert (ended.code, ended.outputs) == (code, {})
        assert [line.startswith(error) for line in ended.errors] == [True]

    def test_the_pipeline_sets_the_variables_that_the_script_reads(self) -> None:
        pipeline = Pipeline(FOLDER / "batch-endpoint.yml")
        [script] = pipeline.script_files
        documented = set(re.findall(r"^#   (AML_\w+)", script.read_text(), re.MULTILINE))
        [environment] = [node["env"] for node in nodes(pipeline.document) if "env" in node]
        assert environment.keys() == documented | {"AML_RESOURCE_GROUP", "AML_WORKSPACE", "AML_CLOUD"}
