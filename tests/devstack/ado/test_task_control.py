"""Agentless tasks over the control API, with which tests and the demo start, watch and end them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from devstack.ado import Emulator
from devstack.ado.server import serve
from tests.support.canaries import secret
from tests.support.polling import wait_until
from tests.support.services.emulator import DECLARATION, PAT, Ado
from tests.support.services.tasks import serve_callee

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

TASKS = "/_emulator/tasks"
WORKSPACE = "/subscriptions/s-1/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ml"


@pytest.fixture
def ado() -> Ado:
    return Ado()


def _start(ado: Ado, body: dict[str, object]) -> Any:
    answer = ado.ask("POST", TASKS, body)
    assert answer.status_code == 201, answer.text
    return answer.json


def _task(ado: Ado, task_id: str) -> Any:
    answer = ado.ask("GET", f"{TASKS}/{task_id}")
    assert answer.status_code == 200, answer.text
    return answer.json


def _complete(ado: Ado, headers: dict[str, str]) -> int:
    path = f"/contoso/{headers['ProjectId']}/_apis/distributedtask/hubs/build/plans/{headers['PlanId']}/events"
    body = {"name": "TaskCompleted", "taskId": headers["TaskInstanceId"], "jobId": headers["JobId"]}
    bearer = {"Authorization": f"Bearer {headers['AuthToken']}"}
    return ado.ask("POST", path, {**body, "result": "succeeded"}, headers=bearer).status_code


def test_a_task_without_inputs_returns_its_coordinates(ado: Ado) -> None:
    started = _start(ado, {})
    task, headers = started["task"], started["headers"]

    assert (task["name"], task["state"]) == ("AzureFunction", "waiting")
    assert headers["PlanUrl"] == "http://localhost/contoso/"
    assert headers["TaskInstanceId"] == task["taskInstanceId"]
    assert _complete(ado, headers) == 204
    assert _task(ado, task["taskInstanceId"])["result"] == "succeeded"


@pytest.mark.parametrize("name", ["AzureFunction@1", "AzureFunction@2", "InvokeRESTAPI@1"])
def test_a_task_with_inputs_calls_the_service(name: str) -> None:
    def accepted(_received: Request) -> tuple[int, str]:
        return 202, ""

    with serve(Emulator(DECLARATION, pats={PAT})) as served, serve_callee(accepted) as callee:
        body = {"run_id": "brave_fig"}
        key = secret("key")
        inputs: dict[str, object] = {"function": f"{callee.url}/api/waits", "key": key, "body": body}
        if name == "AzureFunction@2":
            inputs = {"function": f"{callee.url}/api/waits", "authorization": f"Bearer {key}", "body": body}
        if name == "InvokeRESTAPI@1":
            connection = {"url": callee.url, "authorization": f"Bearer {key}"}
            inputs = {"serviceConnection": connection, "urlSuffix": "/api/waits", "body": '{"run_id": "brave_fig"}'}
        request = {"task": name, "inputs": inputs, "timeoutInMinutes": 90, "earlyEvents": "dropped"}
        started = requests.post(f"{served.url}{TASKS}", json=request, timeout=10)

        assert started.status_code == 201
        assert set(started.json()) == {"task"}
        url = f"{served.url}{TASKS}/{started.json()['task']['taskInstanceId']}"
        wait_until(lambda: requests.get(url, timeout=10).json()["state"] == "waiting")
        task = started.json()["task"]
        assert (task["name"], callee.json) == (name.partition("@")[0], body)
        assert callee.received[0].headers["planurl"] == f"{served.organization_url}/"
        assert callee.received[0].full_path.partition("?")[0] == "/api/waits"
        expected = None if name == "AzureFunction@1" else f"Bearer {key}"
        assert callee.received[0].headers.get("authorization") == expected
        (record,) = served.emulator.books.tasks
        assert ((record.deadline - record.started).total_seconds(), record.early_events) == (5400, "dropped")


def test_plans_tokens_and_tasks_can_be_ended_early(ado: Ado) -> None:
    first, second, third = (_start(ado, {}) for _ in range(3))
    plans = [started["task"]["planId"] for started in (first, second, third)]
    tasks = [f"{TASKS}/{started['task']['taskInstanceId']}" for started in (first, second, third)]

    ended = ado.ask("POST", f"/_emulator/plans/{plans[0]}", {"result": "canceled", "status": 410}).json
    assert ended == {"planId": plans[0], "result": "canceled", "status": 410}
    assert _complete(ado, first["headers"]) == 410
    expired = ado.ask("DELETE", f"/_emulator/plans/{plans[1]}/token").json
    assert expired == {"planId": plans[1], "token": "expired"}
    assert _complete(ado, second["headers"]) == 401
    timed_out: Any = ado.ask("POST", tasks[1], {"timedOut": True}).json
    assert (timed_out["result"], timed_out["endedBy"]) == ("canceled", "timeout")
    assert ado.ask("POST", tasks[1], {"timedOut": True}).status_code == 200

    assert _complete(ado, third["headers"]) == 204
    message = ado.refused(409, "TaskEndedException", "POST", tasks[2], {"timedOut": True})
    assert message.endswith("has already ended with the result succeeded.")


def test_an_azure_ml_job_is_set(ado: Ado) -> None:
    for status in ("Running", "Completed"):
        body = {"workspace": WORKSPACE, "name": "brave_fig", "status": status}
        assert ado.ask("POST", "/_emulator/jobs", body).json == body

    wait = {"serviceConnection": {"url": "http://127.0.0.1:1"}, "job": f"{WORKSPACE}/jobs/brave_fig"}
    assert _start(ado, {"task": "AzureMLJobWaitTask@1", "inputs": wait})["task"]["name"] == "AzureMLJobWaitTask"
    books: Any = ado.ask("GET", "/_emulator/books").json
    assert books["jobs"] == [{"workspace": WORKSPACE, "name": "brave_fig", "status": "Completed"}]
