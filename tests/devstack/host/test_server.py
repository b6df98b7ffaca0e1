"""The host, served on a port in this process."""

import threading
from pathlib import Path
from types import ModuleType

import pytest
import requests

from devstack.host import Host, serve
from tests.support.services.host_apps import import_app

APP = """
begun, release = threading.Event(), threading.Event()

@app.route("hello/{name}")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"hello {req.route_params['name']}")

@app.route("waits")
def waits(req: func.HttpRequest) -> str:
    begun.set()
    release.wait(60)
    return "done"
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    return import_app(tmp_path, APP)


def test_a_running_invocation_is_answered_before_the_host_stops(module: ModuleType) -> None:
    answers: list[str] = []
    with serve(Host(module)) as served:
        caller = threading.Thread(
            target=lambda: answers.append(requests.get(served.url + "/api/waits", timeout=60).text)
        )
        caller.start()
        assert module.begun.wait(60)
        threading.Timer(0.1, module.release.set).start()
    caller.join(60)
    assert answers == ["done"]
    assert served.abandoned == 0
