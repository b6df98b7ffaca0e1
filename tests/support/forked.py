"""Operator's commands in processes of their own, forked from one process that has already imported what they need.

``python -m tests.support.forked`` reads orders as lines of JSON, forks a process for each, and writes ``pid NUMBER``
when it has started and ``exit CODE`` when it has ended. An order has ``arguments``, ``environment`` and ``folder``,
where the process works and writes its output to ``out`` and ``err``.
"""

import faulthandler
import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from coverage import Coverage

from tests.support import ROOT
from tests.support.azd import Ended
from tests.support.canaries import leaks

PRELOADED = (
    "azure.core.pipeline.transport._requests_basic",
    "azure.identity",
    "tools.actions.canary",
    "tools.azure.checking",
    "tools.azure.connecting",
    "tools.azure.disconnecting",
    "tools.azure.sign_in",
    "tools.cli",
    "tools.commands.connect",
    "tools.commands.disconnect",
)
LONGEST_SECONDS = 60


class Forks:
    """Starts commands, one after the other."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        started: Callable[[int], None] = lambda _pid: None,
    ) -> Ended:
        """Run a command to its end. The exit code of a process that was killed is negative.

        :param started: is called with the process ID.
        """
        assert self._server.stdin is not None
        order = {"arguments": arguments, "environment": dict(environment), "folder": str(folder)}
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        started(self._read("pid"))
        code = self._read("exit")
        out, err = ((folder / name).read_text(encoding="utf-8") for name in ("out", "err"))
        assert leaks(out + err) == []
        assert "Traceback" not in err, err
        return Ended(code, out, err)

    def _read(self, word: str) -> int:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line.startswith(word), f"the process that forks has ended: {line}"
        return int(line.split()[1])

    def close(self) -> None:
        self._server.communicate()


def main() -> None:
    """Fork a process for each order, one after the other."""
    for module in PRELOADED:
        importlib.import_module(module)
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            _work(json.loads(line))
        _tell("pid", pid)
        _, status = os.waitpid(pid, 0)
        _tell("exit", os.waitstatus_to_exitcode(status))


def _tell(word: str, number: int) -> None:
    sys.stdout.write(f"{word} {number}\n")
    sys.stdout.flush()


def _work(order: Mapping[str, Any]) -> NoReturn:
    """Run one command and end this process."""
    faulthandler.dump_traceback_later(LONGEST_SECONDS, exit=True)
    os.chdir(order["folder"])
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.clear()
    os.environ.update(order["environment"])
    code = 1
    try:
        code = importlib.import_module("tools.cli").main(order["arguments"], Path(order["folder"]), os.environ)
    except Exception:  # noqa: BLE001 - the test shows any exception
        traceback.print_exc()
    if (measurement := Coverage.current()) is not None:
        measurement.switch_context("")  # saves the data
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
