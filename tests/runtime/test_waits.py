"""A pipeline waits without an agent, on Microsoft's runtime: an HTTP function, an event and a timer together."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from devstack.ado import Fault, Match, StartedTask
from tests.runtime.conftest import Ado, StartWorker
from tests.runtime.functions_host import Worker, answer_of, event_grid_input, http_input, timer_input
from tests.support.builders import run_completed

BODY = json.dumps({"run_id": "run-1"}).encode()


@pytest.fixture
def worker(start_worker: StartWorker, deployed_app: Path, settings: dict[str, str]) -> Worker:
    worker = start_worker(settings | {"WAIT_TOKEN_KEYS": Fernet.generate_key().decode()})
    worker.start_app(deployed_app)
    return worker


def register(worker: Worker, task: StartedTask) -> dict[str, Any]:
    invocation = worker.invoke(
        "register_wait", http_input("request", "POST", "/api/waits", headers=task.headers, body=BODY)
    )
    assert invocation.succeeded, invocation.error
    answer = answer_of(invocation.return_value or {})
    assert answer.content_type.startswith("application/json")
    return {"status": answer.status, **json.loads(answer.body)}


def test_a_task_waits_and_is_completed(worker: Worker, ado: Ado) -> None:
    task = ado.emulator.start_wait_task(ado.served.organization_url)
    assert register(worker, task) == {
        "status": 202,
        "run_id": "run-1",
        "task_id": task.record.id,
        "state": "waiting",
    }
    assert worker.invoke("aml_event", event_grid_input("event", run_completed())).succeeded
    completed = ado.emulator.books.task_hub.task(task.record.id)
    assert (completed.state, completed.result, completed.completions) == ("completed", "succeeded", 1)
    swept = worker.invoke("sweep_waits", timer_input("timer"))
    assert swept.succeeded
    assert [log["message"] for log in worker.logs_of(swept)] == ["0 tasks wait; 0 were completed, 0 given up"]


def test_what_is_decided_on_a_thread_of_the_app_is_logged(worker: Worker, ado: Ado) -> None:
    assert worker.invoke("aml_event", event_grid_input("event", run_completed())).succeeded
    task = ado.emulator.start_wait_task(ado.served.organization_url)
    ado.emulator.plan(Fault(accept=False, status=500, match=Match(path="/logs$")))
    assert register(worker, task)["status"] == 202
    (log, *_) = [
        log for log in worker.logs if log["category"] == "nextstage.decision" and task.record.id in log["message"]
    ]
    assert json.loads(log["message"])["outcome"] == "completed"
    (log,) = [log for log in worker.logs if log["category"] == "nextstage.waits"]
    assert log["message"].startswith("no log could be written for")


def test_an_invalid_registration_names_the_problem(worker: Worker, ado: Ado) -> None:
    task = ado.emulator.start_wait_task(ado.served.organization_url)
    ado.emulator.books.task_hub.expire_token(task.record.plan_id)
    answer = register(worker, task)
    assert (answer["status"], set(answer["problems"])) == (400, {"AuthToken"})


def test_waits_are_off_without_a_key(
    start_worker: StartWorker, deployed_app: Path, settings: dict[str, str], ado: Ado
) -> None:
    worker = start_worker(settings)
    worker.start_app(deployed_app)
    task = ado.emulator.start_wait_task(ado.served.organization_url)
    assert register(worker, task)["status"] == 501
