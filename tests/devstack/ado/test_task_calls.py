"""Agentless tasks that call a service over sockets: what they send, and the effect of each answer."""

from __future__ import annotations

import contextlib
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests

from devstack.ado import AzureFunction, Emulator, InvokeRestApi
from devstack.ado.server import Served, serve
from devstack.ado.tasks.inputs import DEFAULT_HEADERS, TaskInputError, TaskInputs, expand
from tests.support.canaries import secret
from tests.support.polling import wait_until
from tests.support.services.emulator import PAT, basic
from tests.support.services.tasks import Callee, serve_callee, with_agentless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from werkzeug.datastructures import Headers
    from werkzeug.wrappers import Request

    from devstack.ado import TaskRecord

KEY = secret("function-key")
SECONDS = 30  # a generous limit for every wait


@contextmanager
def _served(**agentless: Any) -> Iterator[Served]:
    with serve(Emulator(with_agentless(**agentless), pats={PAT})) as served:
        yield served


def _function(callee: Callee, **more: Any) -> AzureFunction:
    return AzureFunction(function=f"{callee.url}/api/waits", key=KEY, body={"run_id": "brave_fig"}, **more)


def _ended(served: Served, task: TaskRecord) -> TaskRecord:
    hub = served.emulator.books.task_hub
    wait_until(lambda: hub.task(task.id).state == "completed")
    return hub.task(task.id)


def _complete(served: Served, headers: Headers, result: str = "succeeded") -> int:
    """Post TaskCompleted to the address in the task's headers, as a callee does."""
    plan = f"{headers['planurl'].rstrip('/')}/{headers['projectid']}/_apis/distributedtask/hubs/{headers['hubname']}"
    body = {"name": "TaskCompleted", "taskId": headers["taskinstanceid"], "jobId": headers["jobid"], "result": result}
    return requests.post(
        f"{plan}/plans/{headers['planid']}/events",
        params={"api-version": "2.0-preview.1"},
        json=body,
        headers={"Authorization": f"Bearer {headers['authtoken']}"},
        timeout=SECONDS,
    ).status_code


def _accepted(_received: Request) -> tuple[int, str]:
    return 202, '{"state": "waiting"}'


def test_an_azure_function_is_called_with_the_default_headers_and_completes_the_task_later() -> None:
    with _served() as served, serve_callee(_accepted) as callee:
        inputs = _function(callee, query_parameters="source=pipeline")
        started = served.emulator.start_wait_task(served.organization_url, inputs)
        hub = served.emulator.books.task_hub
        wait_until(lambda: hub.task(started.record.id).state == "waiting")

        (received,) = callee.received
        assert (received.method, received.full_path) == ("POST", f"/api/waits?code={KEY}&source=pipeline")
        assert callee.json == {"run_id": "brave_fig"}
        sent = {name: received.headers[name.lower()] for name in DEFAULT_HEADERS}
        assert sent == started.headers
        assert sent["PlanUrl"] == f"{served.organization_url}/"
        assert _complete(served, received.headers, "failed") == 204
        record = _ended(served, started.record)

    assert (record.result, record.ended_by, record.completions) == ("failed", "event", 1)
    assert record.log_lines == (
        f"POST {callee.url}/api/waits?code=***&source=pipeline",
        "Response Code: Accepted",
        'Response: {"state": "waiting"}',
    )


def test_a_rest_api_is_called_by_its_service_connection() -> None:
    authorization = basic(secret("connection"))["Authorization"]
    with _served() as served, serve_callee(_accepted) as callee:
        inputs = InvokeRestApi(
            service_url=callee.url,
            url_suffix=f"/api/waits?code={KEY}",
            authorization=authorization,
            body='{"run_id": "brave_fig"}',
        )
        started = served.emulator.start_wait_task(served.organization_url, inputs)
        hub = served.emulator.books.task_hub
        wait_until(lambda: hub.task(started.record.id).state == "waiting")

        (received,) = callee.received
        assert received.full_path == f"/api/waits?code={KEY}"
        assert received.headers["authorization"] == authorization
        assert received.headers["authtoken"] == started.token
        assert callee.json == {"run_id": "brave_fig"}
        assert _complete(served, received.headers) == 204
        record = _ended(served, started.record)

    assert (record.name, record.result) == ("InvokeRESTAPI", "succeeded")
    assert record.log_lines[0] == f"POST {callee.url}/api/waits?code=***"


def test_macros_are_expanded_in_custom_headers_and_body() -> None:
    body = {"PlanId": "$(system.PlanId)", "AuthToken": "$(System.AccessToken)", "other": "$(unknown)"}
    with _served() as served, serve_callee(_accepted) as callee:
        inputs = AzureFunction(function=f"{callee.url}/x", body=body, headers={"X-Job": "$(system.jobId)"})
        started = served.emulator.start_wait_task(served.organization_url, inputs)
        wait_until(lambda: len(callee.received) == 1)

    (received,) = callee.received
    assert received.full_path == "/x?code=&"
    assert received.headers["x-job"] == started.record.job_id
    assert "authtoken" not in received.headers
    assert callee.json == {"PlanId": started.record.plan_id, "AuthToken": started.token, "other": "$(unknown)"}


NO_ANSWER = "Response Code: 0"


@pytest.mark.parametrize(
    ("status", "text", "lines"),
    [
        *[
            (
                status,
                "run_id is missing\nand more",
                (f"Response Code: {code}", "Response: run_id is missing", "and more"),
            )
            for status, code in (
                (400, "BadRequest"),
                (500, "InternalServerError"),
                (302, "Found"),
                (599, "599"),
            )
        ],
        (400, "x" * 300_000, ("Response Code: BadRequest", f"Response: {'x' * 100_000}")),
        ("silence", "", (NO_ANSWER, "Response: The request timed out after 0.3 seconds: there was no response.")),
        ("https", "", (NO_ANSWER, "Response: The request failed: SSLError.")),
        ("gone", "", (NO_ANSWER, "Response: The request failed: ConnectionRefusedError.")),
    ],
)
def test_any_answer_other_than_2xx_fails_the_task(status: int | str, text: str, lines: tuple[str, ...]) -> None:
    def answer(_received: Request) -> tuple[int, str]:
        if status == "silence":
            callee.release.wait(SECONDS)
        return int(status) if isinstance(status, int) else 202, text

    with serve_callee(answer) as gone:
        pass
    with _served(call_timeout_seconds=0.3 if status == "silence" else 20) as served, serve_callee(answer) as callee:
        url = gone.url if status == "gone" else callee.url.replace("http:", "https:" if status == "https" else "http:")
        started = served.emulator.start_wait_task(served.organization_url, AzureFunction(function=url, key=KEY))
        record = _ended(served, started.record)

    assert (record.result, record.ended_by) == ("failed", "call")
    assert len(callee.received) == (status not in {"https", "gone"})
    assert [line[: len(start)] for line, start in zip(record.log_lines[1:], lines, strict=True)] == list(lines)
    assert sum(map(len, record.log_lines)) < 200_000


@pytest.mark.parametrize(("trickles", "response"), [(True, "timed out after 0.3 s"), (False, "IncompleteRead")])
def test_an_incomplete_answer_fails_the_task(trickles: bool, response: str) -> None:
    seconds = 0.3 if trickles else SECONDS
    with socket.create_server(("127.0.0.1", 0)) as listener, _served(call_timeout_seconds=seconds) as served:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        started = served.emulator.start_wait_task(served.organization_url, AzureFunction(function=url, key=KEY))
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\nhalf")
            with contextlib.suppress(OSError):  # the task closes the connection
                while trickles:
                    connection.sendall(b".")
                    time.sleep(0.01)
        record = _ended(served, started.record)

    assert (record.result, record.log_lines[1]) == ("failed", "Response Code: 0")
    assert response in record.log_lines[2]


def _completing(served: Served, status: int = 202) -> Callable[[Request], tuple[int, str]]:
    """Return a callee that completes the task before it answers the task's request."""

    def answer(received: Request) -> tuple[int, str]:
        assert _complete(served, received.headers) == 204
        return status, "completed already"

    return answer


@pytest.mark.parametrize("status", [202, 500])
def test_an_event_before_the_answer_counts_whatever_the_answer_is(status: int) -> None:
    with _served() as served, serve_callee(_completing(served, status)) as callee:
        started = served.emulator.start_wait_task(served.organization_url, _function(callee))
        record = _ended(served, started.record)
        hub = served.emulator.books.task_hub
        wait_until(lambda: len(hub.task(record.id).log_lines) == 3)

    assert (record.result, record.ended_by, record.events[0].effect) == ("succeeded", "event", "completed")


def test_an_event_before_the_answer_can_be_dropped() -> None:
    with _served(early_events="dropped") as served, serve_callee(_completing(served)) as callee:
        started = served.emulator.start_wait_task(served.organization_url, _function(callee))
        hub = served.emulator.books.task_hub
        wait_until(lambda: hub.task(started.record.id).state == "waiting")
        assert [event.effect for event in hub.task(started.record.id).events] == ["dropped"]

        assert _complete(served, callee.received[0].headers, "failed") == 204
        record = _ended(served, started.record)

    assert (record.result, record.completions) == ("failed", 2)


def test_stopping_the_server_cancels_the_calls() -> None:
    def slow(_received: Request) -> tuple[int, str]:
        callee.release.wait(SECONDS)
        return 202, ""

    with serve_callee(slow) as callee:
        with _served() as served:
            started = served.emulator.start_wait_task(served.organization_url, _function(callee))
            wait_until(lambda: len(callee.received) == 1)
        record = served.emulator.books.task_hub.task(started.record.id)

    assert (record.result, record.ended_by) == ("failed", "call")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (AzureFunction(function="ftp://127.0.0.1/x"), "function: must be an http or https URL"),
        (AzureFunction(function="http://127.0.0.1:99999/x"), "function: must be an http or https URL"),
        (InvokeRestApi(service_url="http://[::1", url_suffix="/x"), "serviceConnection: must be an http or https URL"),
        (AzureFunction(function="http://127.0.0.1/x", headers={"a": "b\r\nc"}), "headers: the name and value of 'a'"),
    ],
)
def test_inputs_that_do_not_describe_a_valid_request(inputs: TaskInputs, message: str) -> None:
    emulator = Emulator(with_agentless())

    with pytest.raises(TaskInputError, match=f"^{message.replace('(', '.')}"):
        emulator.start_wait_task("http://localhost/contoso", inputs)
    assert emulator.books.tasks == ()


def test_macro_names_are_not_case_sensitive() -> None:
    text = "$(SYSTEM.planid)/$(system.PlanId)/$(plan)/$("
    assert expand(text, {"system.PlanId": "7"}) == "7/7/$(plan)/$("


def test_the_secrets_of_a_call_are_masked() -> None:
    def leaky(received: Request) -> tuple[int, str]:
        return 400, f"{received.full_path} {received.headers['authtoken']}"

    with _served() as served, serve_callee(leaky) as callee:
        started = served.emulator.start_wait_task(served.organization_url, _function(callee))
        _ended(served, started.record)
        books = requests.get(f"{served.url}/_emulator/books", timeout=SECONDS).text

    assert "Response: /api/waits?code=***& ***" in books
    assert [text for text in (books, repr(started)) if "canary" in text] == []
