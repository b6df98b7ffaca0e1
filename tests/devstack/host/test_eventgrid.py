"""The Event Grid web hook, as the real extension answers it."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from werkzeug.test import Client, TestResponse

from devstack.host import Host, HostSettings
from tests.support.host_apps import import_app

APP = """
arrived = threading.Barrier(2, timeout=5)
release = threading.Event()

@app.event_grid_trigger(arg_name="event")
def text(event: str) -> None:
    calls.append(event)

@app.event_grid_trigger(arg_name="event")
def typed(event: func.EventGridEvent) -> None:
    calls.append((event.id, event.event_type, event.get_json()))

@app.event_grid_trigger(arg_name="event")
def unannotated(event):
    calls.append(type(event).__name__)

@app.event_grid_trigger(arg_name="event")
async def on_loop(event: str, context: func.Context) -> None:
    await asyncio.sleep(0)
    calls.append((
        context.function_name, context.invocation_id, context.function_directory,
        context.trace_context, context.retry_context, type(context.thread_local_storage).__name__,
    ))

@app.event_grid_trigger(arg_name="event")
def fails(event: str) -> None:
    import json
    name = json.loads(event)["id"]
    calls.append(name)
    if name.startswith("bad"):
        raise RuntimeError(f"cannot do {name}")
    if name == "silent":
        raise KeyError

@app.event_grid_trigger(arg_name="event")
async def fails_on_loop(event: str) -> None:
    raise SystemExit("stop it all")

@app.event_grid_trigger(arg_name="event")
def meets(event: str) -> None:
    arrived.wait()

@app.event_grid_trigger(arg_name="event")
def hangs(event: str) -> None:
    release.wait(5)

@app.event_grid_trigger(arg_name="event")
def returns(event: str) -> int:
    return 7

@app.route("x")
def web(req: func.HttpRequest) -> str:
    return "web"
"""

EVENT = {"id": "1", "eventType": "T", "subject": "s", "data": {"größe": 1.5, "tags": {}, "list": []}}

Send = Callable[..., TestResponse]


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    return import_app(tmp_path, APP)


@pytest.fixture
def send(module: ModuleType) -> Iterator[Send]:
    host = Host(module, threads=4)

    def send(name: str | None, body: object, kind: str | None = "Notification", method: str = "POST") -> TestResponse:
        return Client(host).open(
            "/runtime/webhooks/EventGrid" + ("" if name is None else f"?functionName={name}"),
            method=method,
            headers={} if kind is None else {"aeg-event-type": kind},
            data=body if isinstance(body, bytes) else json.dumps(body),
        )

    yield send
    host.close()


@pytest.mark.parametrize("name", ["nobody", "TEXT", "web", ""])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionValidation", None])
def test_an_unknown_function_is_looked_up_before_anything_else(send: Send, name: str, kind: str | None) -> None:
    response = send(name, b"not JSON", kind)

    assert response.status_code == 404
    assert response.get_data(as_text=True) == f"cannot find function: '{name}'"


def test_a_missing_function_name_is_not_found(send: Send) -> None:
    response = send(None, [EVENT])
    assert (response.status_code, response.get_data(as_text=True)) == (404, "cannot find function: ''")


@pytest.mark.parametrize("kind", ["SubscriptionValidation", "subscriptionvalidation"])
def test_subscription_validation_answers_the_code(send: Send, module: ModuleType, kind: str) -> None:
    request = [
        {
            "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
            "topic": "/subscriptions/00000000-0000-0000-0000-000000000000",
            "subject": "",
            "data": {"validationCode": "512d38b6-c7b8", "validationUrl": "https://example.org/validate"},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2018-01-25T22:12:19.4556811Z",
            "metadataVersion": "1",
            "dataVersion": "1",
        }
    ]

    response = send("text", request, kind)

    assert response.status_code == 200
    assert response.get_json() == {"validationResponse": "512d38b6-c7b8"}
    assert response.mimetype == "application/json"
    assert module.calls == []


@pytest.mark.parametrize("data", [{"validationCode": "c-1"}, json.dumps({"validationCode": "c-1"})])
def test_subscription_validation_takes_a_cloud_event(send: Send, data: object) -> None:
    response = send("text", {"specversion": "1.0", "data": data}, "SubscriptionValidation")
    assert (response.status_code, response.get_json()) == (200, {"validationResponse": "c-1"})


@pytest.mark.parametrize("body", [b"{", [], {}, 7, [{"data": {}}], {"data": "{"}, {"data": None}])
def test_a_validation_without_a_code_fails(send: Send, body: object) -> None:
    response = send("text", body, "SubscriptionValidation")
    assert response.status_code == 500
    assert "no validation code" in response.get_data(as_text=True)


def test_a_function_gets_the_events_text_indented(send: Send, module: ModuleType) -> None:
    response = send("text", [EVENT], "notification")

    assert (response.status_code, response.data) == (202, b"")
    assert module.calls == [json.dumps(EVENT, indent=2, ensure_ascii=False)]
    assert '"größe": 1.5' in module.calls[0]


def test_one_event_may_come_without_an_array(send: Send, module: ModuleType) -> None:
    assert send("text", EVENT).status_code == 202
    assert [json.loads(text) for text in module.calls] == [EVENT]


def test_no_events_are_taken_too(send: Send, module: ModuleType) -> None:
    assert send("text", []).status_code == 202
    assert module.calls == []


def test_other_annotations_go_through_the_converter(send: Send, module: ModuleType) -> None:
    assert send("typed", EVENT).status_code == 202
    assert send("unannotated", EVENT).status_code == 202
    assert module.calls == [("1", "T", EVENT["data"]), "EventGridEvent"]


def test_what_the_converter_cannot_read_is_the_functions_failure(send: Send, module: ModuleType) -> None:
    response = send("typed", {**EVENT, "eventTime": "no time"})
    assert response.status_code == 500
    assert "no time" in response.get_data(as_text=True)
    assert module.calls == []


def test_an_async_function_runs_with_its_context(send: Send, module: ModuleType, tmp_path: Path) -> None:
    assert send("on_loop", EVENT).status_code == 202
    ((name, invocation_id, *rest),) = module.calls
    assert name == "on_loop"
    assert len(invocation_id) == 36
    assert rest == [str(tmp_path), None, None, "_local"]


def test_one_failure_fails_the_request_with_the_first_text_in_order(send: Send, module: ModuleType) -> None:
    response = send("fails", [{"id": name} for name in ("good", "bad1", "bad2", "last")])

    assert response.status_code == 500
    assert response.get_data(as_text=True) == "cannot do bad1"
    assert sorted(module.calls) == ["bad1", "bad2", "good", "last"]


def test_an_exception_without_a_text_is_named(send: Send) -> None:
    response = send("fails", {"id": "silent"})
    assert (response.status_code, response.get_data(as_text=True)) == (500, "KeyError")


def test_even_an_exit_on_the_loop_is_only_a_failure(send: Send) -> None:
    for _ in range(2):
        response = send("fails_on_loop", EVENT)
        assert (response.status_code, response.get_data(as_text=True)) == (500, "stop it all")


def test_a_value_without_a_return_binding_is_a_failure(send: Send) -> None:
    response = send("returns", EVENT)
    assert response.status_code == 500
    assert response.get_data(as_text=True) == "function returns has no $return binding, and returned int"


def test_events_run_side_by_side(send: Send) -> None:
    # Each waits for the other: one after the other, they would both fail.
    assert send("meets", [EVENT, EVENT]).status_code == 202


@pytest.mark.parametrize(("kind", "status"), [("Unsubscribe", 202), ("unsubscribe", 202), ("Else", 400), (None, 400)])
def test_other_kinds_of_request(send: Send, module: ModuleType, kind: str | None, status: int) -> None:
    response = send("text", [EVENT], kind)
    assert (response.status_code, response.data) == (status, b"")
    assert module.calls == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", 7, "text", None])
def test_a_body_that_holds_no_events_fails(send: Send, module: ModuleType, body: object) -> None:
    response = send("text", body)
    assert response.status_code == 500
    assert response.get_data(as_text=True).startswith("the body is ")
    assert module.calls == []


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("eventgrid.azure.net", "eventgrid.azure.net"),
        ("eventgrid.azure.us", "eventgrid.azure.us"),
        ("elsewhere.example.org", "eventgrid.azure.net"),
        (None, "eventgrid.azure.net"),
    ],
)
def test_the_cloud_events_handshake_allows_event_grid_only(
    module: ModuleType, origin: str | None, allowed: str
) -> None:
    host = Host(module)
    try:
        response = Client(host).options(
            "/runtime/webhooks/eventgrid?functionName=text",
            headers={} if origin is None else {"WebHook-Request-Origin": origin},
        )
    finally:
        host.close()
    assert (response.status_code, response.headers["WebHook-Allowed-Origin"]) == (200, allowed)


@pytest.mark.parametrize(("method", "status"), [("GET", 400), ("DELETE", 400), ("PUT", 405), ("OPTIONS", 200)])
def test_methods(send: Send, method: str, status: int) -> None:
    assert send("text", b"", None, method).status_code == status


def test_function_timeout_answers_in_time(module: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    host = Host(module, settings=HostSettings(function_timeout_seconds=0.05), threads=1)
    try:
        response = Client(host).post(
            "/runtime/webhooks/eventgrid?functionName=hangs",
            headers={"aeg-event-type": "Notification"},
            data=json.dumps([{"n": 1}, {"n": 2}]),
        )
        module.release.set()
    finally:
        still_running = host.close()

    assert response.status_code == 500
    assert response.get_data(as_text=True).startswith("Timeout: hangs was still running after 0.05 s")
    assert still_running == 0
    # The first was running, the second waited for the only thread; both are told of once.
    failed = [message for message in caplog.messages if "InvocationTimedOut" in message]
    assert len(failed) == 2
    assert len([message for message in caplog.messages if "Executed 'hangs'" in message]) == 2


def test_an_invocation_logs_one_line(
    send: Send, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    send("text", EVENT)
    send("fails", {"id": "bad"})

    records = [record for record in caplog.records if record.name == "devstack.host"]
    succeeded, failed = (record.getMessage() for record in records)
    assert succeeded.startswith("Executed 'text' (Succeeded, Id=")
    assert succeeded.endswith("ms)")
    assert failed.startswith("Executed 'fails' (Failed, Id=")
    assert failed.endswith("ms): RuntimeError: cannot do bad")
    assert [record.levelname for record in records] == ["INFO", "ERROR"]
    assert records[1].exc_info is None

    caplog.clear()
    caplog.set_level(logging.DEBUG, "devstack.host")
    send("fails", {"id": "bad"})
    assert "Traceback" in caplog.text


def test_a_stopping_host_takes_nothing(module: ModuleType) -> None:
    host = Host(module)
    host.close()
    response = Client(host).post(
        "/runtime/webhooks/eventgrid?functionName=text",
        headers={"aeg-event-type": "Notification"},
        data=json.dumps(EVENT),
    )
    assert response.status_code == 503
    assert module.calls == []


@pytest.mark.parametrize("name", ["hangs_on_loop", "hangs"])
def test_closing_cancels_what_waits(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    module = import_app(
        tmp_path,
        APP
        + """
@app.event_grid_trigger(arg_name="event")
async def hangs_on_loop(event: str) -> None:
    calls.append("begun")
    await asyncio.sleep(60)
""",
    )
    host = Host(module, threads=1)
    answers: list[TestResponse] = []

    def post() -> None:
        answers.append(
            Client(host).post(
                f"/runtime/webhooks/eventgrid?functionName={name}",
                headers={"aeg-event-type": "Notification"},
                data=json.dumps([{"n": 1}, {"n": 2}]),
            )
        )

    thread = threading.Thread(target=post)
    thread.start()
    while not host._worker._running:
        thread.join(0.01)
    still_running = host.close(drain_seconds=0.1)
    module.release.set()
    thread.join(5)

    assert still_running == (1 if name == "hangs" else 0)
    assert [answer.status_code for answer in answers] == [500]
    assert answers[0].get_data(as_text=True) == "cancelled: the host is stopping"
