"""Starts devstack programs as processes of their own, for tests that kill them and for the demonstration.

    with start("devstack.host", "--app-dir", str(app_dir), env={}, cwd=app_dir, log=tmp / "host.log") as host:
        requests.post(host.url + ...)

A program says on its standard output where it is to be reached, in a line `PACKAGE.NAME: URL`.
"""

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO, Self, cast

READY_SECONDS = 60.0
STOP_SECONDS = 10.0

_EXIT_SECONDS = 1.0

_READY_LINE = re.compile(rb"^\w+\.\w+: (http://\S+)")
_TAIL_LINES = 30
_PROJECT_ROOT = Path(__file__).resolve().parents[1]


class ProcessFailed(Exception):
    """The program ended, or said nothing, before it was ready; the text has the end of its log."""


class RunningProcess:
    """A program that has said where it is to be reached. As a context manager it is stopped at the end."""

    def __init__(self, popen: subprocess.Popen[bytes], url: str, reader: threading.Thread) -> None:
        """Made by :func:`start`."""
        self._popen = popen
        self._reader = reader
        self.url = url

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    def wait(self, timeout_seconds: float = STOP_SECONDS) -> int:
        """Waits for a program that ends by itself. Returns the exit code (negative: the signal).

        :raises subprocess.TimeoutExpired: it still runs.
        """
        self._popen.wait(timeout_seconds)
        return self._reap()

    def stop(self) -> int:
        """SIGTERM, and SIGKILL after 10 s. Returns the exit code (negative: the signal); may be repeated."""
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        return self._reap()

    def kill(self) -> int:
        """SIGKILL, as when a machine dies. Returns the exit code (negative: the signal); may be repeated."""
        self._popen.kill()
        return self._reap()

    def _reap(self) -> int:
        code = self._popen.wait()
        self._reader.join(STOP_SECONDS)  # ends with the pipe, which a grandchild could hold open
        return code

    def __enter__(self) -> Self:
        """Gives itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Stops the program."""
        self.stop()


def start(
    module: str,
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    ready_seconds: float = READY_SECONDS,
) -> RunningProcess:
    """Runs `python -m MODULE ARGUMENTS` on a free port (unless there is a `--port`) and waits until it is ready.

    `env` is laid over this process's environment, `cwd` is where the program runs (the project's packages can
    be imported from anywhere), and all that it prints is appended to the file `log`.

    :raises ProcessFailed: it ended, or was not ready within `ready_seconds`; it no longer runs then.
    """
    port = () if "--port" in arguments else ("--port", "0")
    paths = [str(_PROJECT_ROOT), env.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))]
    environment = {
        **os.environ,
        **env,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
    }
    ready: SimpleQueue[str | None] = SimpleQueue()
    beginning = log.stat().st_size if log.exists() else 0
    popen = subprocess.Popen(  # noqa: S603 - our own module, with arguments from a test or the demonstration
        [sys.executable, "-m", module, *port, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # one pipe, so that the log has all lines in their order
    )
    source = cast("BinaryIO", popen.stdout)  # a pipe: we asked for one
    reader = threading.Thread(target=_copy, args=(source, log, ready), daemon=True)
    reader.start()
    try:
        url, reason = ready.get(timeout=ready_seconds), "ended before it was ready"
    except Empty:
        url, reason = None, f"was not ready after {ready_seconds:g} s"
    process = RunningProcess(popen, url or "", reader)
    if url is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(_EXIT_SECONDS)  # its output has ended, or its time is up: perhaps it has an exit code
        code = process.kill()
        raise ProcessFailed(f"{module} {reason} (exit code {code}); its log ends:\n{_tail(log, beginning)}")
    return process


def _copy(source: BinaryIO, log: Path, ready: "SimpleQueue[str | None]") -> None:
    """Appends the program's lines to the log and reports the URL in the first ready line, None at the end."""
    with source, log.open("ab", buffering=0) as output:
        for line in source:
            output.write(line)
            if found := _READY_LINE.match(line):
                ready.put(found[1].decode("ascii", "replace"))
    ready.put(None)


def _tail(log: Path, beginning: int) -> str:
    """The last lines of what this program, and no earlier one, has written."""
    with contextlib.suppress(OSError):
        lines = log.read_bytes()[beginning:].decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])
    return ""
