"""`python -m devstack.host` as a separate process, and the helper that starts such processes."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from devstack.processes import ProcessFailed, RunningProcess, start
from tests.support.polling import wait_until
from tests.support.services.host_apps import request_unlogged, write_app

APP = """
import os

logging.warning("imported")
os.environ["DIRECTORY"] = os.getcwd()

@app.route("setting/{name}")
def setting(req: func.HttpRequest) -> str:
    logging.info("asked for %s", req.route_params["name"])
    logging.debug("not shown")
    return os.environ.get(req.route_params["name"], "(none)")

@app.route("waits/{seconds}")
def waits(req: func.HttpRequest) -> str:
    logging.info("waiting")
    time.sleep(int(req.route_params["seconds"]))
    return "waited"

@app.event_grid_trigger(arg_name="event")
def aml_event(event: str) -> None:
    raise RuntimeError("no such luck")
"""


def start_host(directory: Path, *arguments: str, **env: str) -> RunningProcess:
    return start("devstack.host", "--app-dir", "app", *arguments, env=env, cwd=directory, log=directory / "host.log")


def run_host(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "devstack.host", "--port", "0", "--app-dir", str(directory / "app"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def wait_for_line(log: Path, text: str) -> None:
    wait_until(lambda: text in log.read_text(encoding="utf-8"))


def test_it_runs_an_app_and_stops_cleanly(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", APP)
    (app / "local.settings.json").write_text(
        json.dumps({"Values": {"FROM_FILE": "file", "FROM_BOTH": "canary-file"}}), encoding="utf-8"
    )
    (app / "host.json").write_text('{"extensions": {"http": {"routePrefix": "v1"}}}', encoding="utf-8")

    with start_host(tmp_path, FROM_BOTH="shell") as host:
        assert requests.get(host.url + "/admin/host/status", timeout=60).json()["state"] == "Running"
        assert requests.get(host.url + "/v1/setting/FROM_FILE", timeout=60).text == "file"
        directory, threads = (
            requests.get(f"{host.url}/v1/setting/{name}", timeout=60).text
            for name in ("DIRECTORY", "PYTHON_THREADPOOL_THREAD_COUNT")
        )
        with_key = request_unlogged("GET", host.url + "/v1/setting/FROM_BOTH?code=canary-key")
        assert with_key == (200, "shell")
        failed = request_unlogged(
            "POST",
            host.url + "/runtime/webhooks/eventgrid?functionName=aml_event&code=canary-key",
            "[{}]",
            {"aeg-event-type": "Notification"},
        )
        assert failed == (500, "Exception while executing function: Functions.aml_event")
        assert host.stop() == 0
        assert host.stop() == 0

    log = (tmp_path / "host.log").read_text(encoding="utf-8")
    lines = log.splitlines()
    assert (directory, threads) == (str(app), "1000")
    assert "imported" not in log, "the host drops what is logged without an invocation"
    assert "asked for FROM_FILE" in lines
    assert "devstack.host: already set in the environment, so ignored in local.settings.json: FROM_BOTH" in lines
    assert f"aml_event: eventGridTrigger {host.url}/runtime/webhooks/eventgrid?functionName=aml_event" in lines
    assert f"devstack.host: {host.url}" in lines
    assert len([line for line in lines if line.startswith("Executed 'setting' (Succeeded, Id=")]) == 4
    assert len([line for line in lines if line.endswith("ms): RuntimeError: no such luck")]) == 1
    assert "not shown" not in log
    assert "Traceback" not in log
    assert "canary" not in log


def test_it_abandons_an_invocation_that_takes_too_long(tmp_path: Path) -> None:
    write_app(tmp_path / "app", APP)
    with start_host(tmp_path, "--drain-seconds", "0.2") as host, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.get, host.url + "/api/waits/60", timeout=20)
        wait_for_line(tmp_path / "host.log", "waiting")
        os.kill(host.pid, signal.SIGINT)
        assert host.wait() == 0  # wait() allows 10 s, not 60
        assert isinstance(answer.exception(), requests.ConnectionError)
    log = (tmp_path / "host.log").read_text(encoding="utf-8")
    assert "abandoned 1 invocations that were still running after 0.2 s" in log


TWO_PROBLEMS = "raise ValueError('two problems:\\n  routes.yaml:1: one\\n  routes.yaml:2: two')"


@pytest.mark.parametrize(
    ("files", "code", "error"),
    [
        (
            {"function_app.py": TWO_PROBLEMS},
            1,
            "devstack.host: the function app cannot be loaded (ValueError):\ntwo problems:\n  routes.yaml:1: one\n",
        ),
        (
            {},
            1,
            "devstack.host: the function app cannot be loaded (IndexingFailed):\nthere is no function_app.py in ",
        ),
        ({"host.json": "{canary-1"}, 2, "devstack.host: host.json is not JSON: "),
        ({"local.settings.json": "{canary-1"}, 2, "devstack.host: local.settings.json is not JSON: "),
    ],
)
def test_a_failed_start_is_reported_without_a_traceback(
    tmp_path: Path, files: dict[str, str], code: int, error: str
) -> None:
    (tmp_path / "app").mkdir()
    for name, text in files.items():
        (tmp_path / "app" / name).write_text(text, encoding="utf-8")

    ended = run_host(tmp_path)

    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith(error)
    assert "Traceback" not in ended.stderr
    assert "canary" not in ended.stderr


def test_verbose_shows_the_traceback(tmp_path: Path) -> None:
    write_app(tmp_path / "app", TWO_PROBLEMS)
    assert "Traceback (most recent call last)" in run_host(tmp_path, "--verbose").stderr


def test_a_port_in_use_is_exit_code_1(tmp_path: Path) -> None:
    write_app(tmp_path / "app", APP)
    with start_host(tmp_path) as host:
        port = host.url.rpartition(":")[2]
        ended = run_host(tmp_path, "--port", port)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"devstack.host: port {port} of 127.0.0.1 cannot be used: " in ended.stderr


def program(directory: Path, text: str) -> Path:
    (directory / "sample_program.py").write_text(text, encoding="utf-8")
    return directory


def start_program(directory: Path, text: str, *, ready_seconds: float = 20.0) -> RunningProcess:
    return start(
        "sample_program",
        "--more",
        env={"GREETING": "hello"},
        cwd=program(directory, text),
        log=directory / "log",
        ready_seconds=ready_seconds,
    )


def test_start_reads_the_url_from_the_ready_line(tmp_path: Path) -> None:
    text = (
        "import os, sys, time\n"
        "print(sys.argv[1:], os.environ['GREETING'], 'devstack.not: http://this')\n"
        "print('devstack.ado: http://127.0.0.1:9/contoso (project mlops)')\n"
        "print('to stderr', file=sys.stderr)\n"
        "time.sleep(60)\n"
    )
    with start_program(tmp_path, text) as running:
        assert running.url == "http://127.0.0.1:9/contoso"
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.01)
        wait_for_line(tmp_path / "log", "to stderr")
    assert running.kill() == -signal.SIGTERM
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "['--port', '0', '--more'] hello devstack.not: http://this\n" in log


def test_a_program_that_ends_at_once_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier run\n", encoding="utf-8")
    text = "import sys\nprint('\\n'.join(f'line {n}.' for n in range(99)))\nsys.exit('the reason')\n"

    with pytest.raises(ProcessFailed) as caught:
        start_program(tmp_path, text)

    message = str(caught.value)
    assert message.startswith("sample_program ended before it was ready (exit code 1); its log ends:\n")
    assert "the reason" in message
    assert "line 98." in message
    assert "line 1." not in message
    assert "earlier" not in message
    assert (tmp_path / "log").read_text(encoding="utf-8").startswith("of an earlier run\nline 0.\n")


def test_a_program_that_is_never_ready_is_killed(tmp_path: Path) -> None:
    text = "import os, time\nprint('my pid:', os.getpid())\ntime.sleep(60)\n"

    with pytest.raises(ProcessFailed, match=r"was not ready after 0.5 s \(exit code -9\)") as caught:
        start_program(tmp_path, text, ready_seconds=0.5)

    pid = int(str(caught.value).rpartition("my pid: ")[2])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devstack.processes.STOP_SECONDS", 0.2)
    text = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('devstack.deaf: http://127.0.0.1:9')\n"
        "time.sleep(60)\n"
    )
    with start_program(tmp_path, text) as running:
        assert running.stop() == -signal.SIGKILL
