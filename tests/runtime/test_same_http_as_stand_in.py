"""The stand-in host and Microsoft's runtime pass the same requests to HTTP functions and return the same answers."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from devstack.processes import RunningProcess
from devstack.processes import start as start_process
from tests.runtime.functions_host import Answer, Worker, answer_of, http_input
from tests.runtime.functions_host import start as start_runtime
from tests.support.polling import wait_until
from tests.support.services.host_apps import write_app

APP = """
import json

@app.route("echo/{name}", methods=["GET", "POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method, "params": dict(req.params), "route": dict(req.route_params),
        "header": req.headers.get("X-Seen"), "type": req.headers.get("content-type"), "body": req.get_body().decode(),
    }
    logging.info("echo of %s", req.route_params["name"])
    body = json.dumps(seen, sort_keys=True)
    return func.HttpResponse(body, status_code=201, mimetype="application/json", headers={"X-One": "1"})

@app.route("text")
def text(req: func.HttpRequest) -> str:
    return "höchst"

@app.route("later")
async def later(req: func.HttpRequest, context: func.Context) -> str:
    await asyncio.sleep(0)
    return context.function_name

@app.route("bytes")
def data(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(b"\\x00\\xff", headers={"Content-Type": "application/octet-stream"})

@app.route("empty")
def empty(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204)

@app.route("json")
def parsed(req: func.HttpRequest) -> str:
    return str(req.get_json()["run"])

@app.route("fails")
def fails(req: func.HttpRequest) -> str:
    raise RuntimeError("the reason")

@app.route("nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None

@app.route("number")
def number(req: func.HttpRequest) -> func.HttpResponse:
    return 7
"""


@dataclass(frozen=True)
class Call:
    """A request, the function and route parameters that the host finds for its path, and the expected result."""

    function: str
    path: str
    params: dict[str, str] = field(default_factory=dict)
    method: str = "GET"
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int = 200
    error: str = ""  # the beginning of the exception's message


JSON = {"Content-Type": "application/json"}
CALLS = [
    Call("echo", "echo/ada", {"name": "ada"}, query={"a": "1", "none": ""}, headers={"X-Seen": "yes"}, status=201),
    Call("echo", "echo/bob", {"name": "bob"}, "POST", body="tëxt".encode(), status=201),
    Call("echo", "echo/ada", {"name": "ada"}, "POST", headers=JSON, body=b'{"run": 1}', status=201),
    Call("text", "text"),
    Call("later", "later"),
    Call("data", "bytes"),
    Call("empty", "empty", status=204),
    Call("parsed", "json", method="POST", headers=JSON, body=b'{"run": 7}'),
    Call("parsed", "json", method="POST", headers=JSON, body=b"{", status=500, error="ValueError: "),
    Call("fails", "fails", status=500, error="RuntimeError: the reason"),
    Call("nothing", "nothing", status=500, error="TypeError: "),
    Call("number", "number", status=500, error="TypeError: "),
]


FAILED = Answer(500, "", None, b"")


@pytest.fixture(scope="module")
def app_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(tmp_path_factory.mktemp("http") / "app", APP)


@pytest.fixture(scope="module")
def stand_in(app_dir: Path) -> Iterator[RunningProcess]:
    arguments = ("--app-dir", str(app_dir))
    log = app_dir.parent / "stand-in.log"
    with start_process("devstack.host", *arguments, env={}, cwd=app_dir.parent, log=log) as process:
        yield process


@pytest.fixture(scope="module")
def runtime(runtime_python: Path, app_dir: Path) -> Iterator[Worker]:
    with ExitStack() as stack:
        worker = stack.enter_context(start_runtime(runtime_python, {}, app_dir.parent))
        assert worker.start_app(app_dir)["result"]["status"] == "Success"
        yield worker


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method}-{call.path}-{call.status}")
def test_every_call(stand_in: RunningProcess, runtime: Worker, app_dir: Path, call: Call) -> None:
    log = app_dir.parent / "stand-in.log"
    seen = len(log.read_text(encoding="utf-8"))
    url = f"{stand_in.url}/api/{call.path}"
    response = requests.request(
        call.method, url, params=call.query, headers=call.headers, data=call.body or None, timeout=20
    )
    invocation = runtime.invoke(
        call.function,
        http_input("req", call.method, url, headers=call.headers, query=call.query, params=call.params, body=call.body),
    )
    expected = FAILED if call.status == 500 else answer_of(invocation.return_value or {})
    assert (response.status_code, invocation.succeeded) == (call.status, call.status != 500)
    assert invocation.error.startswith(call.error)
    assert (invocation.error == "") == (call.error == "")
    headers = response.headers
    content_type = headers.get("Content-Type", "") if response.content else ""
    assert Answer(response.status_code, content_type, headers.get("X-One"), response.content) == expected
    if call.error:
        error = re.escape(call.error)
        assert re.search(rf"\(Failed, Id=.*\): {error}", wait_for(log, seen, "(Failed, Id="))


def wait_for(log: Path, offset: int, text: str) -> str:
    """Wait until the log contains a text after an offset, and return everything after the offset."""
    wait_until(lambda: text in log.read_text(encoding="utf-8")[offset:])
    return log.read_text(encoding="utf-8")[offset:]
