"""``python -m devstack.install`` shows the progress of pip, the reason of a failure, and no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

PIP = r"""#!/bin/sh
echo "$@" > "$(dirname "$0")/arguments"
echo "Collecting azure-functions==1.26.0 (from -r x.txt (line 3))"
echo "  Downloading azure_functions-1.26.0-py3-none-any.whl (100 kB)"
echo "Processing /wheels/cryptography-50.0.2-cp311-abi3.whl (from x)"
echo "Installing collected packages: azure-functions, cryptography"
"""
FAILS = PIP + "echo 'ERROR: No matching distribution found for x'\nexit 1\n"
HANGS = "#!/bin/sh\nexec sleep 600\n"


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A virtual environment whose Python is a script."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "pip").touch()
    return tmp_path / "venv"


def python_is(venv: Path, script: str) -> None:
    (venv / "bin" / "python").write_text(script)
    (venv / "bin" / "python").chmod(0o755)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "devstack.install", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False)


def on_a_terminal(columns: int, *arguments: str | Path) -> list[str]:
    """Run it on a terminal, and return what its line showed, one text after the other."""
    leader, follower = os.openpty()
    environment = {**os.environ, "COLUMNS": str(columns)}
    done = subprocess.run(command(*arguments), cwd=ROOT, stdout=follower, env=environment, check=True)
    os.close(follower)
    output = os.read(leader, 100_000).decode()
    os.close(leader)
    assert done.returncode == 0
    return [text.strip() for text in output.replace("\n", "\r").split("\r") if text.strip()]


def test_each_package_is_shown_in_the_same_line(venv: Path) -> None:
    python_is(venv, PIP)
    shown = on_a_terminal(300, venv, "-r", "x.txt")
    assert shown[1:4] == [
        f"installing pinned packages into {venv}: 1, azure-functions …",
        f"installing pinned packages into {venv}: 2, cryptography …",
        f"installing pinned packages into {venv}: writing 2 packages to disk …",
    ]
    assert shown[-1] == f"installed; {venv} takes 0 MB"
    assert (venv / "bin" / "arguments").read_text().endswith("--progress-bar=off -r x.txt\n")
    assert max(map(len, on_a_terminal(40, venv, "-r", "x.txt")[:-1])) < 40


def test_a_log_gets_two_lines(venv: Path) -> None:
    python_is(venv, PIP)
    result = run(venv, "-r", "x.txt")
    assert result.stdout == f"installing pinned packages into {venv} …\ninstalled; {venv} takes 0 MB\n"


def test_a_failure_shows_the_reason(venv: Path) -> None:
    python_is(venv, FAILS)
    result = run(venv, "-r", "x.txt")
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, "ERROR: No matching distribution found for x")
    (venv.parent / "file").touch()
    result = run(venv.parent / "file", "-r", "x.txt")
    assert (result.returncode, "apt-get install python3-venv" in result.stderr) == (1, True)


@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "process"])
def test_an_interruption_ends_pip(venv: Path, whole_group: bool) -> None:
    python_is(venv, HANGS)
    with subprocess.Popen(
        command(venv), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        (os.killpg if whole_group else os.kill)(program.pid, signal.SIGINT)
        output = program.stdout.read()
        assert (program.wait(60), output) == (-signal.SIGINT, "interrupted; to continue, run the same command again\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(program.pid, 0)  # nothing is left
