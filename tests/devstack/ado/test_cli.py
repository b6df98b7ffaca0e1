"""``python -m devstack.ado`` as a process: its one line, its secrets, its signals, its exit codes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests

from tests.contracts import validate
from tests.support import ROOT
from tests.support.services.emulator import basic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-W", "error", "-m", "devstack.ado"]


def _environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DEVSTACK_")}
    return {**kept, **more}


@contextmanager
def _started(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running emulator and the organization's URL from the line that it prints."""
    with subprocess.Popen(
        [*COMMAND, "--port", "0", *options],
        cwd=ROOT,
        env=_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"devstack\.ado: (http://127\.0\.0\.1:\d+/contoso) \(project mlops\)\n", line)
            assert match, line
            yield process, match[1]
        finally:
            process.kill()


def _fails(*options: str) -> str:
    """What a start that fails with exit code 2 says."""
    done = subprocess.run(
        [*COMMAND, *options], cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    with _started(DEVSTACK_PAT="canary-cli-pat", DEVSTACK_TOKEN="canary-cli-token") as (process, url):
        session = requests.Session()
        address = f"{url}/mlops/_apis/pipelines"
        bearer = {"Authorization": "Bearer canary-cli-token"}
        listed = session.get(address, headers=basic("canary-cli-pat"), timeout=10)
        validate("ado_pipeline_list", listed.json())
        assert session.get(address, headers=bearer, timeout=10).status_code == 200
        suppress = {"X-TFS-FedAuthRedirect": "Suppress"}
        assert session.get(address, headers=basic("devstack-pat") | suppress, timeout=10).status_code == 203

        process.send_signal(number)
        # The session still holds its connection open: that must not keep the process.
        out, err = process.communicate(timeout=10)
        session.close()

    assert (process.returncode, out, err) == (0, "", "")


def test_without_the_variables_the_declared_secrets_are_accepted_and_verbose_shows_requests() -> None:
    with _started("--verbose", DEVSTACK_PAT="") as (process, url):
        address = f"{url}/mlops/_apis/pipelines"
        assert requests.get(address, headers=basic("devstack-pat"), timeout=10).status_code == 200
        assert requests.get(address, headers={"Authorization": "Bearer devstack-token"}, timeout=10).status_code == 200
        requests.get(address, headers=basic("canary-cli-bad"), timeout=10, allow_redirects=False)
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=10)

    assert process.returncode == 0
    assert [line.rpartition("' ")[2] for line in err.splitlines()] == ["200 -", "200 -", "302 -"]
    assert "canary" not in err
    assert basic("canary-cli-bad")["Authorization"] not in err


def test_a_bad_declaration(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("organization: contoso\nprojekt: mlops\nbranches: [main]\npipelines: []\n", encoding="utf-8")

    assert _fails("--pipelines", str(file)).splitlines() == [
        f"{file}: (top level): 'project' is a required property",
        f"{file}: (top level): Additional properties are not allowed ('projekt' was unexpected)",
        f"{file}: pipelines: [] should be non-empty",
    ]


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert _fails("--port", str(port)) == f"devstack.ado: cannot listen on port {port}: Address already in use\n"
