"""The Event Grid webhook answers as the real extension does."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType, ModuleType

import pytest
from werkzeug.test import Client, TestResponse

from devstack.host import Host, HostSettings
from devstack.host.invocation import timespan
from tests.support.polling import wait_until
from tests.support.services.host_apps import import_app

APP = """
arrived = threading.Barrier(2, timeout=60)
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
    release.wait(60)

@app.event_grid_trigger(arg_name="event")
async def hangs_on_loop(event: str) -> None:
    await asyncio.sleep(60)

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

    def send(
        name: str | None,
        body: object,
        kind: str | None = "Notification",
        method: str = "POST",
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> TestResponse:
        return Client(host).open(
            "/runtime/webhooks/EventGrid" + ("" if name is None else f"?functionName={name}"),
            method=method,
            headers={**({} if kind is None else {"aeg-event-type": kind}), **more},
            data=body if isinstance(body, bytes) else json.dumps(body),
        )

    yield send
    host.close()


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("typed", {**EVENT, "eventTime": "no time"}, "ValueError: "),
        ("fails_on_loop", EVENT, "SystemExit: stop it all"),
        ("returns", EVENT, "RuntimeError: function returns has no $return binding and must return None, got int"),
    ],
)
def test_failures(
    send: Send, module: ModuleType, caplog: pytest.LogCaptureFixture, name: str, body: object, error: str
) -> None:
    response = send(name, body)

    assert (response.status_code, response.text) == (500, f"Exception while executing function: Functions.{name}")
    assert error in caplog.text
    assert module.calls == []


@pytest.mark.parametrize("body", [[EVENT], EVENT])
def test_a_function_gets_the_event_as_indented_json(send: Send, module: ModuleType, body: object) -> None:
    response = send("text", body, "notification")

    assert (response.status_code, response.data) == (202, b"")
    assert module.calls == [json.dumps(EVENT, indent=2, ensure_ascii=False)]


def test_other_annotations_go_through_the_converter(send: Send, module: ModuleType) -> None:
    assert send("typed", EVENT).status_code == 202
    assert send("unannotated", EVENT).status_code == 202
    assert module.calls == [("1", "T", EVENT["data"]), "EventGridEvent"]


def test_an_async_function_runs_with_its_context(send: Send, module: ModuleType, tmp_path: Path) -> None:
    assert send("on_loop", EVENT).status_code == 202
    ((name, invocation_id, *rest),) = module.calls
    assert name == "on_loop"
    assert len(invocation_id) == 36
    assert rest == [str(tmp_path), None, None, "_local"]


def test_one_failure_fails_the_request(send: Send, module: ModuleType) -> None:
    names = ["good", "bad1", "silent", "last"]
    response = send("fails", [{"id": name} for name in names])

    assert (response.status_code, response.text) == (500, "Exception while executing function: Functions.fails")
    assert sorted(module.calls) == sorted(names)


def test_the_events_of_a_request_run_concurrently(send: Send) -> None:
    # Each call waits for the other, so both would fail if they ran one after another.
    assert send("meets", [EVENT, EVENT]).status_code == 202


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("eventgrid.azure.net", "eventgrid.azure.net"),
        ("eventgrid.azure.us", "eventgrid.azure.us"),
        ("elsewhere.example.org", "eventgrid.azure.net"),
        ("", "eventgrid.azure.net"),
    ],
)
def test_the_cloud_events_handshake_allows_event_grid_only(send: Send, origin: str, allowed: str) -> None:
    response = send("text", b"", None, "OPTIONS", {"WebHook-Request-Origin": origin} if origin else {})

    assert (response.status_code, response.headers["WebHook-Allowed-Origin"]) == (200, allowed)


def post(host: Host, name: str, events: object) -> TestResponse:
    return Client(host).post(
        f"/runtime/webhooks/eventgrid?functionName={name}",
        headers={"aeg-event-type": "Notification"},
        data=json.dumps(events),
    )


def test_function_timeout_answers_in_time(module: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    host = Host(module, settings=HostSettings(function_timeout_seconds=0.05), threads=1)
    try:
        response = post(host, "hangs", [{"n": 1}, {"n": 2}])
        module.release.set()
    finally:
        still_running = host.close()

    assert (response.status_code, still_running) == (500, 0)
    assert response.text == "Timeout value of 00:00:00.0500000 was exceeded by function: Functions.hangs"
    # The first call was running, the second waited for the only thread. Each is logged once.
    assert len([message for message in caplog.messages if "Executed 'hangs' (Failed" in message]) == 2


def test_a_timeout_kills_the_worker_with_everything_that_it_runs(module: ModuleType) -> None:
    host = Host(module, settings=HostSettings(function_timeout_seconds=0.5), threads=2)
    try:
        with ThreadPoolExecutor(2) as pool:
            slow = pool.submit(post, host, "hangs", EVENT)
            wait_until(lambda: len(host._worker._running) == 1)
            host._worker._timeout_seconds = None
            other = pool.submit(post, host, "hangs", EVENT)
            assert slow.result().text.startswith("Timeout value of 00:00:00.5000000 was exceeded")
            assert (other.result().status_code, other.result().text) == (
                500,
                "Exception while executing function: Functions.hangs",
            )
        # A new worker serves, although both threads of the old one are still busy.
        assert post(host, "text", EVENT).status_code == 202
    finally:
        module.release.set()
        assert host.close() == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(60, "00:01:00"), (600, "00:10:00"), (0.05, "00:00:00.0500000"), (90_061.5, "1.01:01:01.5000000")],
)
def test_durations_are_written_as_in_dotnet(seconds: float, text: str) -> None:
    assert timespan(seconds) == text


def test_an_invocation_logs_one_line(send: Send, caplog: pytest.LogCaptureFixture) -> None:
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


def test_a_stopping_host_accepts_no_events(module: ModuleType) -> None:
    host = Host(module)
    host.close()
    assert (post(host, "text", EVENT).status_code, module.calls) == (503, [])


@pytest.mark.parametrize("name", ["hangs_on_loop", "hangs"])
def test_close_cancels_waiting_invocations(module: ModuleType, caplog: pytest.LogCaptureFixture, name: str) -> None:
    host = Host(module, threads=1)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, host, name, [{"n": 1}, {"n": 2}])
        wait_until(lambda: host._worker._running)
        still_running = host.close(drain_seconds=0.1)
        module.release.set()

    assert still_running == (1 if name == "hangs" else 0)
    assert answer.result().status_code == 500
    assert "canceled: the host is stopping" in caplog.text
