"""The host hears only what is logged on the thread or task of a running invocation."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from werkzeug.test import Client

from devstack.host import Host, HostSettings
from tests.support.services.host_apps import exported_log, import_app

APP = """
import contextvars
import json
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(1)
go_on, late = threading.Event(), threading.Event()
log = logging.getLogger("app")
log.warning("import")

def wait_and_say():
    go_on.wait(60)
    log.warning("late")
    late.set()

def on_thread(target):
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()

@app.event_grid_trigger(arg_name="event")
def sync(event: str) -> None:
    log.warning("sync")
    on_thread(lambda: log.warning("own thread"))
    pool.submit(log.warning, "own pool").result()
    context = contextvars.copy_context()
    on_thread(lambda: context.run(log.warning, "copied context"))
    context = contextvars.copy_context()
    threading.Thread(target=lambda: context.run(wait_and_say)).start()

@app.event_grid_trigger(arg_name="event")
async def on_loop(event: str) -> None:
    log.warning("task")
    await asyncio.gather(child())
    on_thread(lambda: log.warning("own thread"))

async def child() -> None:
    log.warning("child task")

@app.event_grid_trigger(arg_name="event")
def hangs(event: str) -> None:
    log.warning("hangs")
    wait_and_say()
"""


@pytest.fixture
def exported() -> Iterator[list[str]]:
    """The messages that the host hears."""

    class Messages(list[str]):
        def __iter__(self) -> Iterator[str]:
            return (record.getMessage() for record in records)

    with exported_log() as records:
        yield Messages()


@pytest.fixture
def module(exported: list[str], tmp_path: Path) -> ModuleType:
    return import_app(tmp_path, APP)


def call(host: Host, name: str) -> int:
    response = Client(host).post(
        f"/runtime/webhooks/eventgrid?functionName={name}",
        headers={"aeg-event-type": "Notification"},
        data=json.dumps({"id": "1"}),
    )
    return response.status_code


def test_a_sync_function(module: ModuleType, exported: list[str]) -> None:
    host = Host(module, threads=1)
    assert call(host, "sync") == 202
    module.go_on.set()
    assert module.late.wait(60)
    host.close()
    assert list(exported) == ["sync", *(["copied context"] if sys.version_info >= (3, 13) else [])]


def test_an_async_function(module: ModuleType, exported: list[str]) -> None:
    host = Host(module, threads=1)
    assert call(host, "on_loop") == 202
    host.close()
    assert list(exported) == ["task", "child task"]


def test_the_threads_of_a_killed_worker(module: ModuleType, exported: list[str]) -> None:
    host = Host(module, settings=HostSettings(function_timeout_seconds=0.2), threads=1)
    assert call(host, "hangs") == 500
    module.go_on.set()
    assert module.late.wait(60)
    host.close()
    assert list(exported) == ["hangs"]
