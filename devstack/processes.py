"""Starts devstack programs as separate processes, for the demo and for tests that kill them.

    with start("devstack.host", "--app-dir", str(app_dir), env={}, cwd=app_dir, log=tmp / "host.log") as host:
        requests.post(host.url + ...)

When a program is ready, it prints its URL on standard output, in a line `PACKAGE.NAME: URL`.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO, NoReturn, Self, cast

from shared.settings import SETTINGS

READY_SECONDS = 60.0
STOP_SECONDS = 10.0

# The host reads it, too, and an empty value is a wrong one for it.
_SETTING_OF_THE_HOST = "PYTHON_THREADPOOL_THREAD_COUNT"
NO_SETTINGS: Mapping[str, str] = {one.name: "" for one in SETTINGS if one.name != _SETTING_OF_THE_HOST}
"""As environment variables, they override local.settings.json, and count as not set."""

_EXIT_SECONDS = 1.0

_READY_LINE = re.compile(rb"^\w+\.\w+: (http://\S+)")
_TAIL_LINES = 30
_PROJECT_ROOT = Path(__file__).resolve().parents[1]


class ProcessFailed(Exception):
    """Raised if a program ends or times out before it is ready. The message includes the end of its log."""


class RunningProcess:
    """A program that is ready and has printed its URL. Used as a context manager, it is stopped when the block ends."""

    def __init__(self, popen: subprocess.Popen[bytes], url: str, reader: threading.Thread) -> None:
        """Wrap a started process. Use :func:`start` to create one."""
        self._popen = popen
        self._reader = reader
        self.url = url

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._popen.pid

    def wait(self, timeout_seconds: float = STOP_SECONDS) -> int:
        """Wait for a program that ends on its own, and return its exit code (a signal as a negative number).

        :raises subprocess.TimeoutExpired: the program is still running.
        """
        self._popen.wait(timeout_seconds)
        return self._reap()

    def stop(self) -> int:
        """Send SIGTERM, and SIGKILL after 10 s, and return the exit code (a signal as a negative number).

        Calling this method again has no effect.
        """
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        return self._reap()

    def kill(self) -> int:
        """Send SIGKILL, as if the machine died, and return the exit code (a signal as a negative number).

        Calling this method again has no effect.
        """
        self._popen.kill()
        return self._reap()

    def _reap(self) -> int:
        code = self._popen.wait()
        self._reader.join(STOP_SECONDS)  # a limit, because a grandchild could hold the pipe open
        return code

    def __enter__(self) -> Self:
        """Return the program itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop the program."""
        self.stop()


def start(
    module: str,
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    ready_seconds: float = READY_SECONDS,
) -> RunningProcess:
    """Run `python -m MODULE ARGUMENTS` and wait until it is ready.

    The program gets a free port, unless the arguments include `--port`. It can import the project's packages from any
    directory.

    :param env: overrides this process's environment variables.
    :param cwd: the program's working directory.
    :param log: the file to which all output is appended.
    :raises ProcessFailed: the program ended, or was not ready within `ready_seconds`. It is no longer running.
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
    log_offset = log.stat().st_size if log.exists() else 0
    command = [sys.executable, "-m", module, *port, *arguments]
    with spawned(command, cwd=cwd, env=environment) as popen:
        source = cast("BinaryIO", popen.stdout)  # not None, because it is a pipe
        # Opened here: after Ctrl-C, the folder may be gone when the thread begins.
        reader = threading.Thread(target=_copy, args=(source, log.open("ab", buffering=0), ready), daemon=True)
        reader.start()
        try:
            url, reason = ready.get(timeout=ready_seconds), "ended before it was ready"
        except Empty:
            url, reason = None, f"was not ready after {ready_seconds:g} s"
    process = RunningProcess(popen, url or "", reader)
    if url is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(_EXIT_SECONDS)  # a program that is about to end keeps its own exit code
        code = process.kill()
        raise ProcessFailed(f"{module} {reason} (exit code {code}); its log ends:\n{_tail(log, log_offset)}")
    return process


def start_app(
    *arguments: str, env: Mapping[str, str], cwd: Path, log: Path, app_dir: Path = _PROJECT_ROOT
) -> RunningProcess:
    """Run the app on the stand-in host, as `start` does. It has only the settings that it is given.

    Those of the shell and of local.settings.json may be about a deployed app.
    """
    own = ("devstack.host", "--app-dir", str(app_dir))
    return start(*own, *arguments, env={**NO_SETTINGS, **env}, cwd=cwd, log=log)


@contextlib.contextmanager
def spawned(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program whose output is one pipe, and kill it if Ctrl-C interrupts the block, or its start."""
    popen = None
    try:
        with _interrupted_at_the_end():
            popen = subprocess.Popen(  # noqa: S603 - our own module or pip, with arguments from a test or the Makefile
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,  # one pipe keeps the lines of both streams in order
            )
        yield popen
    except KeyboardInterrupt:
        if popen is not None:
            popen.kill()
            popen.wait()
        raise


def end_interrupted() -> NoReturn:
    """End this process as Ctrl-C does, so that a shell shows 130 and make stops too. Wait for no thread."""
    sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
    raise AssertionError("the signal has ended the process")


@contextlib.contextmanager
def _interrupted_at_the_end() -> Iterator[None]:
    """Let Ctrl-C take effect only at the end of the block, so that no process is started and lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if arrived:
        signal.raise_signal(signal.SIGINT)


def _copy(source: BinaryIO, log: FileIO, ready: "SimpleQueue[str | None]") -> None:
    """Append the program's output to the log, and report the URL of each ready line, then None at the end."""
    with source, log:
        for line in source:
            log.write(line)
            if found := _READY_LINE.match(line):
                ready.put(found[1].decode("ascii", "replace"))
    ready.put(None)


def _tail(log: Path, offset: int) -> str:
    """Return the last lines of the log after an offset, which excludes the output of earlier programs."""
    with contextlib.suppress(OSError):
        lines = log.read_bytes()[offset:].decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])
    return ""
