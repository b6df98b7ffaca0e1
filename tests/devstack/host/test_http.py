"""HTTP-triggered functions, administration requests, and the host's own paths."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from werkzeug.test import Client

from devstack.host import Host, HostSettings
from tests.support.services.host_apps import import_app

APP = """
import json

called = threading.Event()

@app.route("echo/{name}", methods=["post", "PUT"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method, "url": req.url, "params": dict(req.params), "route": dict(req.route_params),
        "header": req.headers["X-Seen"], "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json")

@app.route("echo/fixed", methods=["POST"])
def fixed(req: func.HttpRequest) -> str:
    return "höchst fixed"

@app.route()
async def plain(req: func.HttpRequest) -> str:
    return req.method

@app.route("cookies")
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse(b"\\x00\\x01", headers={"X-One": "1", "Content-Type": "application/octet-stream"})
    response.headers.add("Set-Cookie", "a=1; Path=/")
    response.headers.add("Set-Cookie", "b=2; HttpOnly")
    return response

@app.route("nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None

@app.route("fails")
def fails(req: func.HttpRequest) -> str:
    raise RuntimeError("the reason")

@app.route("head", methods=["HEAD"])
def head(req: func.HttpRequest) -> str:
    return "not sent"

@app.function_name("Nightly")
@app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")
def nightly(timer: func.TimerRequest) -> None:
    calls.append((timer.past_due, timer.schedule))
    called.set()

@app.event_grid_trigger(arg_name="event")
def aml_event(event: str) -> None:
    calls.append(event)
    called.set()

@app.event_grid_trigger(arg_name="event")
async def fails_async(event: str) -> None:
    called.set()
    raise RuntimeError("manual call")
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    return import_app(tmp_path, APP)


@pytest.fixture
def client(module: ModuleType) -> Iterator[Client]:
    host = Host(module)
    yield Client(host)
    host.close()


def test_a_function_sees_the_request(client: Client) -> None:
    response = client.put(
        "/api/Echo/Ada?a=1&a=2&b=%20x&empty=", headers={"x-seen": "yes"}, data="tëxt", base_url="http://h:1/"
    )

    assert response.status_code == 201
    assert response.headers["Content-Type"] == "application/json"
    assert response.get_json() == {
        "method": "PUT",
        "url": "http://h:1/api/Echo/Ada?a=1&a=2&b=%20x&empty=",
        "params": {"a": "1,2", "b": " x"},
        "route": {"name": "Ada"},
        "header": "yes",
        "body": "tëxt",
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "text", "logged"),
    [
        ("POST", "/api/echo/fixed", 200, "höchst fixed", ""),  # a literal route has precedence over a parameter
        *[(method, "/api/plain", 200, method, "") for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")],
        ("GET", "/api/echo/fixed", 404, "", ""),  # a wrong method: the host never answers 405 for functions
        ("HEAD", "/api/echo/fixed", 404, "", ""),
        ("POST", "/api/echo/a/b", 404, "", ""),
        *[("GET", path, 404, "", "") for path in ("/api/unknown", "/plain", "/runtime/webhooks/other")],
        ("POST", "/admin/functions", 404, "", ""),
        ("POST", "/", 405, "", ""),
        ("POST", "/admin/host/status", 405, "", ""),
        ("GET", "/admin/functions/Nightly", 405, "", ""),
        ("GET", "/api/fails", 500, "", "RuntimeError: the reason"),
        ("GET", "/api/nothing", 500, "", "function nothing must return a func.HttpResponse or a str, got NoneType"),
    ],
)
def test_answers(
    client: Client, caplog: pytest.LogCaptureFixture, method: str, path: str, status: int, text: str, logged: str
) -> None:
    response = client.open(path, method=method)

    assert (response.status_code, response.text) == (status, text)
    assert response.headers.get("Allow") == ({"GET": "POST", "POST": "GET"}[method] if status == 405 else None)
    assert logged in caplog.text


def test_headers_cookies_and_bytes_are_returned(client: Client) -> None:
    response = client.get("/api/cookies")
    assert response.data == b"\x00\x01"
    assert response.headers["X-One"] == "1"
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers.getlist("Set-Cookie") == ["a=1; Path=/", "b=2; HttpOnly"]


def test_an_empty_route_prefix_and_no_timeout(module: ModuleType) -> None:
    host = Host(module, settings=HostSettings(route_prefix="", function_timeout_seconds=None))
    try:
        assert Client(host).get("/plain").status_code == 200
        assert Client(host).get("/api/plain").status_code == 404
        assert Client(host).get("/").text == "devstack.host is up and running"
    finally:
        host.close()


@pytest.mark.parametrize("body", ['{"input": ""}', '{"input": "anything"}', "{}"])
def test_a_timer_can_be_called_manually(client: Client, module: ModuleType, body: str) -> None:
    response = client.post("/admin/functions/nightly", data=body)

    assert (response.status_code, response.data) == (202, b"")
    assert module.called.wait(60)
    assert module.calls == [(False, {"AdjustForDST": True})]


def test_an_event_can_be_sent_manually(client: Client, module: ModuleType) -> None:
    event = {"id": "1", "data": {}}
    assert client.post("/admin/functions/aml_event", json={"input": json.dumps(event)}).status_code == 202
    assert module.called.wait(60)
    assert [json.loads(text) for text in module.calls] == [event]


def test_a_failed_manual_call_is_only_in_the_log(module: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    host = Host(module)
    response = Client(host).post("/admin/functions/fails_async", json={"input": "{}"})
    assert module.called.wait(60)
    host.close()

    assert response.status_code == 202
    assert [message for message in caplog.messages if message.endswith("RuntimeError: manual call")]


@pytest.mark.parametrize(
    ("name", "body", "status", "logged"),
    [
        ("aml_event", "", 400, ""),
        ("aml_event", "[]", 400, ""),
        ("aml_event", '{"input": {}}', 400, ""),
        ("unknown", "", 400, ""),  # the body is checked first
        ("unknown", '{"input": ""}', 404, ""),
        ("plain", '{"input": ""}', 400, ""),
        ("aml_event", '{"input": "canary-1"}', 202, "'aml_event' was not executed: its input is not JSON"),
    ],
)
def test_manual_calls_that_call_no_function(
    client: Client, module: ModuleType, caplog: pytest.LogCaptureFixture, name: str, body: str, status: int, logged: str
) -> None:
    assert client.post(f"/admin/functions/{name}", data=body).status_code == status
    assert (logged in caplog.text, "canary" in caplog.text, module.calls) == (True, False, [])


def test_queries_and_headers_are_not_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"x-functions-key": "canary-header", "x-seen": "canary-seen"}
    assert client.post("/api/echo/x?code=canary-query", headers=headers).status_code == 201
    assert client.get("/api/fails?code=canary-query", headers=headers).status_code == 500
    assert client.get("/api/unknown?code=canary-query", headers=headers).status_code == 404

    assert len([message for message in caplog.messages if message.startswith("Executed '")]) == 2
    assert "canary" not in caplog.text


def test_sync_functions_share_the_threads_of_the_pool(tmp_path: Path) -> None:
    module = import_app(
        tmp_path,
        """
        running, most, lock = 0, 0, threading.Lock()

        @app.route("busy")
        def busy(req: func.HttpRequest) -> str:
            global running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1
            return threading.current_thread().name
        """,
    )
    host = Host(module, threads=2)
    with ThreadPoolExecutor(6) as pool:
        names = list(pool.map(lambda _: Client(host).get("/api/busy").text, range(6)))
    host.close()

    assert (module.most, len(names), set(names)) == (2, 6, {"function_0", "function_1"})
