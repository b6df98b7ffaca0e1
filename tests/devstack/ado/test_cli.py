"""``python -m devstack.ado`` as a process: output, secrets, signals and exit codes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import requests

from devstack.ado.__main__ import first_run_id
from devstack.ado.books import FIRST_RUN_ID
from devstack.processes import start
from tests.contracts import validate
from tests.support import ROOT
from tests.support.services.emulator import basic

if TYPE_CHECKING:
    from pathlib import Path


def _fails(*options: str) -> str:
    """Start the emulator, expect exit code 2, and return its standard error."""
    command = [sys.executable, "-m", "devstack.ado", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    secrets = {"DEVSTACK_PAT": "canary-cli-pat", "DEVSTACK_TOKEN": "canary-cli-token"}
    with start("devstack.ado", env=secrets, cwd=tmp_path, log=tmp_path / "log") as ado, requests.Session() as session:
        address = f"{ado.url}/mlops/_apis/pipelines"
        listed = session.get(address, headers=basic("canary-cli-pat"), timeout=10)
        validate("ado_pipeline_list", listed.json())
        bearer = {"Authorization": "Bearer canary-cli-token"}
        assert session.get(address, headers=bearer, timeout=10).status_code == 200
        suppress = {"X-TFS-FedAuthRedirect": "Suppress"}
        assert session.get(address, headers=basic("devstack-pat") | suppress, timeout=10).status_code == 203

        os.kill(ado.pid, number)
        # The connection of the session is still open, but must not keep the process running.
        assert ado.wait() == 0

    assert (tmp_path / "log").read_text() == f"devstack.ado: {ado.url} (project mlops)\n"


def test_without_the_variables_the_declared_secrets_are_accepted_and_verbose_shows_requests(tmp_path: Path) -> None:
    unset = {"DEVSTACK_PAT": "", "DEVSTACK_TOKEN": ""}
    with start("devstack.ado", "--verbose", env=unset, cwd=tmp_path, log=tmp_path / "log") as ado:
        address = f"{ado.url}/mlops/_apis/pipelines"
        assert requests.get(address, headers=basic("devstack-pat"), timeout=10).status_code == 200
        assert requests.get(address, headers={"Authorization": "Bearer devstack-token"}, timeout=10).status_code == 200
        requests.get(address, headers=basic("canary-cli-bad"), timeout=10, allow_redirects=False)

    log = (tmp_path / "log").read_text()
    assert [line.rpartition("' ")[2] for line in log.splitlines()[1:]] == ["200 -", "200 -", "302 -"]
    assert "canary" not in log
    assert basic("canary-cli-bad")["Authorization"] not in log


def test_an_invalid_declaration(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("organization: contoso\nprojekt: mlops\nbranches: [main]\npipelines: []\n", encoding="utf-8")

    assert _fails("--pipelines", str(file)).splitlines() == [
        f"{file}: (top level): 'project' is a required property",
        f"{file}: (top level): Additional properties are not allowed ('projekt' was unexpected)",
        f"{file}: pipelines: [] should be non-empty",
    ]


def test_a_port_in_use_and_an_invalid_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert _fails("--port", str(port)) == f"devstack.ado: cannot listen on port {port}: Address already in use\n"
    assert "argument --port: must be between 0 and 65535" in _fails("--port", "65536")


def test_the_behavior_and_the_first_run_id_are_options(tmp_path: Path) -> None:
    options = ("--behavior", '{"idempotency": "honored"}', "--first-run-id", "7")
    with start("devstack.ado", *options, env={}, cwd=tmp_path, log=tmp_path / "log") as ado:
        control = ado.url.replace("/contoso", "/_emulator")
        assert requests.get(f"{control}/behavior", timeout=10).json()["idempotency"] == "honored"
        order = {"pipeline": 11, "templateParameters": {"runId": "x", "experimentName": "y"}}
        assert requests.post(f"{control}/runs", json=order, timeout=10).json()["id"] == 7
    assert "argument --behavior: idempotency: 'no' is not one of" in _fails("--behavior", '{"idempotency": "no"}')
    assert "argument --behavior: Expecting" in _fails("--behavior", "honored")
    assert "argument --first-run-id: must be at least 1" in _fails("--first-run-id", "0")


def test_run_ids_are_larger_after_a_restart() -> None:
    now = datetime(2026, 11, 28, 10, tzinfo=UTC)
    first = first_run_id(now)

    assert first_run_id(now + timedelta(seconds=60)) == first + 600
    assert FIRST_RUN_ID == first_run_id(datetime(2020, 1, 1, tzinfo=UTC)) < first
    assert first_run_id(datetime(2032, 1, 1, tzinfo=UTC)) < 1 << 31
