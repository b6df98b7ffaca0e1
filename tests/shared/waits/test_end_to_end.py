"""End-to-end tests over HTTP: tasks of the emulator call the function app in its host, and are completed."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from cryptography.fernet import Fernet

from devstack.ado import AzureFunction, Emulator, Fault, InvokeRestApi, Match, TaskRecord, load_declaration
from devstack.ado import serve as serve_ado
from devstack.host import Host, load_app
from devstack.host import serve as serve_host
from tests.support import ROOT
from tests.support.builders import WORKSPACE, event_text
from tests.support.canaries import leaks, secret
from tests.support.polling import wait_until
from tests.support.services.host_apps import app_settings, deliver, exported_log, web_hook


@dataclass
class Stack:
    """The emulator, and the function app in its host."""

    emulator: Emulator
    organization_url: str
    host_url: str
    log: pytest.LogCaptureFixture

    def start(self, task: str, run_id: str = "run-1", **options: object) -> str:
        """Start an agentless task that waits for a run. Return its id."""
        body = {"run_id": run_id}
        if task == "AzureFunction":
            inputs: AzureFunction | InvokeRestApi = AzureFunction(function=f"{self.host_url}/api/waits", body=body)
        else:
            inputs = InvokeRestApi(service_url=self.host_url, url_suffix="/api/waits", body=body)
        started = self.emulator.start_wait_task(self.organization_url, inputs, **options)  # type: ignore[arg-type]
        return started.record.id

    def task(self, task_id: str) -> TaskRecord:
        return self.emulator.books.task_hub.task(task_id)

    def until(self, task_id: str, *states: str) -> TaskRecord:
        wait_until(lambda: self.task(task_id).state in states)
        return self.task(task_id)

    def deliver(self, name: str, **data: object) -> int:
        event = event_text(name, {"experimentName": "train", "runId": "run-1"} | data)
        return deliver(web_hook(self.host_url), event).status_code

    def sweep(self) -> int:
        """Run the sweep through the host's admin address, and wait for its end."""
        url = f"{self.host_url}/admin/functions/sweep_waits"
        before = self.swept
        status = requests.post(url, json={"input": ""}, timeout=60).status_code
        wait_until(lambda: self.swept > before)
        return status

    @property
    def swept(self) -> int:
        return self.log.text.count(" tasks wait; ")


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Stack]:
    emulator = Emulator(load_declaration(), pats={secret("pat")})
    with serve_ado(emulator) as ado:
        environment = app_settings(ado.organization_url, f"sqlite:{tmp_path / 'journal.sqlite3'}") | {
            "JOURNAL_SETTLE_SECONDS": "0.1",
            "WAIT_TOKEN_KEYS": Fernet.generate_key().decode(),
            "WAIT_SWEEP_AFTER_MINUTES": "0.0001",
            "AML_WORKSPACE_ID": WORKSPACE,
            "AZURE_RESOURCE_MANAGER_URL": ado.url,
            "IDENTITY_ENDPOINT": f"{ado.url}/_emulator/identity",
            "IDENTITY_HEADER": emulator.state.identity_header,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "function_app", raising=False)
        with serve_host(Host(load_app(ROOT), threads=32)) as host:
            yield Stack(emulator, ado.organization_url, host.url, caplog)


@pytest.mark.parametrize("task", ["AzureFunction", "InvokeRESTAPI"])
@pytest.mark.parametrize(
    ("event", "status", "result"),
    [
        ("RunCompleted", None, "succeeded"),
        ("RunStatusChanged", "Completed", "succeeded"),
        ("RunStatusChanged", "Failed", "failed"),
        ("RunStatusChanged", "Canceled", "canceled"),
    ],
)
def test_both_tasks_and_all_results(stack: Stack, task: str, event: str, status: str | None, result: str) -> None:
    task_id = stack.start(task)
    assert stack.until(task_id, "waiting", "completed").state == "waiting"
    assert stack.deliver(event, **({"runStatus": status} if status else {})) == 202
    ended = stack.task(task_id)
    assert (ended.state, ended.result, ended.ended_by, ended.completions) == ("completed", result, "event", 1)
    assert ended.events[0].credential == "job token"
    assert ended.feed_lines[0] == "nextstage: waiting for Azure ML run run-1; no agent is occupied"
    assert ended.log_lines[-2:] == (
        f"nextstage: Azure ML run run-1 is {status or 'Completed'}, so this task has {result}",
        f"nextstage: https://ml.azure.com/runs/run-1?wsid={WORKSPACE}",
    )


@pytest.mark.parametrize("task", ["AzureFunction", "InvokeRESTAPI"])
def test_the_run_has_ended_already(stack: Stack, task: str) -> None:
    assert stack.deliver("RunStatusChanged", runStatus="Failed") == 202
    task_id = stack.start(task)
    assert stack.until(task_id, "completed").result == "failed"
    time.sleep(0.2)  # until the request can no longer be in progress
    assert stack.sweep() == 202
    assert (stack.task(task_id).result, stack.task(task_id).completions) == ("failed", 1)


def test_what_a_registration_decides_is_logged(stack: Stack) -> None:
    """The registration does its work on a thread of the app, whose log records the host drops."""
    assert stack.deliver("RunCompleted") == 202
    stack.emulator.plan(Fault(accept=False, status=500, match=Match(path="/logs$")))
    with exported_log() as records:
        stack.start("AzureFunction")
        wait_until(lambda: [record for record in records if record.name == "nextstage.decision"])
    decisions = [json.loads(record.getMessage()) for record in records if record.name == "nextstage.decision"]
    assert [decision["outcome"] for decision in decisions] == ["completed"]
    (line,) = [record.getMessage() for record in records if record.name == "nextstage.waits"]
    assert line.startswith("no log could be written for")


def test_an_invalid_request_fails_the_task_with_the_reason(stack: Stack) -> None:
    task_id = stack.start("AzureFunction", run_id="$(runId)")
    ended = stack.until(task_id, "completed")
    assert (ended.result, ended.ended_by) == ("failed", "call")
    log = "\n".join(ended.log_lines)
    assert "run_id is '$(runId)', which Azure Pipelines did not replace" in log
    assert leaks(log) == []


def test_an_event_that_never_arrives(stack: Stack) -> None:
    stack.emulator.books.jobs.set(WORKSPACE, "run-1", "Running")
    task_id = stack.start("AzureFunction")
    stack.until(task_id, "waiting", "completed")
    assert stack.sweep() == 202
    assert stack.task(task_id).state == "waiting"
    stack.emulator.books.jobs.set(WORKSPACE, "run-1", "Canceled")
    stack.sweep()
    ended = stack.until(task_id, "completed")
    assert (ended.result, ended.completions) == ("canceled", 1)


def test_waits_that_are_off(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAIT_TOKEN_KEYS")
    monkeypatch.delitem(sys.modules, "function_app", raising=False)
    with serve_host(Host(load_app(ROOT), threads=4)) as host:
        answer = requests.post(f"{host.url}/api/waits", json={"run_id": "run-1"}, timeout=30)
    assert answer.status_code == 501
    assert "set WAIT_TOKEN_KEYS" in answer.json()["error"]
