"""The host on a port, in this process."""

import threading
from pathlib import Path
from types import ModuleType

import pytest
import requests

from devstack.host import Host, serve
from tests.support.services.host_apps import import_app, request_unlogged

APP = """
begun, release = threading.Event(), threading.Event()

@app.route("hello/{name}")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"hello {req.route_params['name']}")

@app.route("waits")
def waits(req: func.HttpRequest) -> str:
    begun.set()
    release.wait(10)
    return "done"
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    return import_app(tmp_path, APP)


def test_it_serves_on_a_free_port_of_the_loopback_address(module: ModuleType) -> None:
    with serve(Host(module)) as first, serve(Host(module)) as second:
        assert first.url == f"http://127.0.0.1:{first.port}"
        assert first.port != second.port
        for served in (first, second):
            response = requests.get(served.url + "/api/hello/Ada", timeout=5)
            assert (response.status_code, response.text) == (200, "hello Ada")
    assert (first.abandoned, second.abandoned) == (0, 0)
    with pytest.raises(requests.ConnectionError):
        requests.get(first.url, timeout=5)


def test_a_running_invocation_is_answered_before_the_end(module: ModuleType) -> None:
    answers: list[str] = []
    with serve(Host(module)) as served:
        caller = threading.Thread(
            target=lambda: answers.append(requests.get(served.url + "/api/waits", timeout=5).text)
        )
        caller.start()
        assert module.begun.wait(5)
        threading.Timer(0.1, module.release.set).start()
    caller.join(5)
    assert answers == ["done"]
    assert served.abandoned == 0


def test_nothing_is_written_about_requests(
    module: ModuleType, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve(Host(module)) as served:
        assert request_unlogged("GET", served.url + "/api/hello/a?code=canary-key") == (200, "hello a")
    assert (capfd.readouterr(), "canary" in caplog.text) == (("", ""), False)
