"""Azure Storage for tests and the devstack: Azurite's tables and, on demand, its queues, on 127.0.0.1.

    with Azurite(folder) as azurite:
        TablesStore(azurite.connection_string, ...)
        azurite.stop()      # the storage is down
        azurite.start()     # the storage is back, on the same port and (unless in memory) with the same data

It is one separate process. Install it with ``npm ci --prefix devstack/azurite``. Its telemetry is off.
"""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final, Self

from devstack import npm

INSTALL_COMMAND: Final = npm.install_command("azurite")

ACCOUNT: Final = "devstoreaccount1"

# Not a secret: Microsoft publishes this key, and it is the same in every Azurite.
# Source: https://learn.microsoft.com/azure/storage/common/storage-use-azurite, "Well-known storage account and key".
PUBLIC_DEVELOPMENT_KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0

_HOST: Final = "127.0.0.1"
_PROGRAM: Final = npm.installed("azurite", "azurite/dist/src/table/main.js")
_POLL_SECONDS: Final = 0.05
_STARTED: Final = b"Azurite Table service successfully started on "

# Serves blobs, queues and tables, in this order; there is no program for two of them.
_PROGRAM_WITH_QUEUES: Final = npm.installed("azurite", "azurite/dist/src/azurite.js")
_STARTED_WITH_QUEUES: Final = b"Azurite Table service is successfully listening at "
_TAIL_LINES: Final = 20


class AzuriteNotInstalled(Exception):
    """Node.js or the npm package is missing. The message includes the command that installs it."""


class AzuriteFailed(Exception):
    """Azurite ended or timed out before it was ready. The message includes the end of its log."""


def installation_problem(program: Path = _PROGRAM) -> str | None:
    """Return what is missing and how to install it, or None if Azurite can be started."""
    return npm.installation_problem("Azurite", "azurite", program)


class Azurite:
    """One Azurite process with the well-known account and key. A context manager starts and stops it."""

    def __init__(
        self, folder: Path, *, in_memory: bool = False, queues: bool = False, program: Path | None = None
    ) -> None:
        """Prepare the folder. :meth:`start` starts the process.

        :param folder: the folder for the data and the log, ``azurite.log``. It is created if it does not exist.
        :param in_memory: store no data on disk. This is slightly faster, but a restart loses the data.
        :param queues: serve queues too. The start takes longer.
        """
        self.log = folder / "azurite.log"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._in_memory = in_memory
        self._program = program or (_PROGRAM_WITH_QUEUES if queues else _PROGRAM)
        self._started_line = _STARTED_WITH_QUEUES if queues else _STARTED
        self._has_queues = queues
        self._port: int | None = None
        self._queue_port = 0
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port, which stays the same after a restart.

        :raises AzuriteFailed: Azurite has never been started.
        """
        if self._port is None:
            raise AzuriteFailed("Azurite has not been started, so it has no port yet")
        return self._port

    @property
    def url(self) -> str:
        """The URL of the table endpoint."""
        return f"http://{_HOST}:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        """The storage connection string, as ``JOURNAL_CONNECTION`` and ``RESUME_STORAGE`` accept it."""
        queues = f"QueueEndpoint=http://{_HOST}:{self._queue_port}/{ACCOUNT};" if self._has_queues else ""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={PUBLIC_DEVELOPMENT_KEY};"
            f"TableEndpoint={self.url};{queues}"
        )

    def start(self) -> None:
        """Start Azurite and wait until it is ready. Do nothing if it is already running.

        The first start uses a free port. Later starts use the same port again.

        :raises AzuriteNotInstalled: see ``installation_problem``.
        :raises AzuriteFailed: it ended, or was not ready in time. It is no longer running.
        """
        if (reason := installation_problem(self._program)) is not None:
            raise AzuriteNotInstalled(reason)
        if self._popen is not None:
            return
        if self._port is None:
            self._port = self._start_on_free_port()
        else:
            self._start_on(self._port)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int | None:
        """Stop Azurite and return its exit code, or None if it was not running."""
        # On SIGINT it saves its data first. SIGTERM would lose unsaved data.
        popen, self._popen = self._popen, None
        if popen is None:
            return None
        popen.send_signal(how)
        try:
            return popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            return popen.wait()

    def _start_on_free_port(self, tries: int = 3) -> int:
        """Start on a free port, and try another port if a different program takes it first."""
        port = _free_port()
        if self._has_queues:
            self._queue_port = _free_port()
        try:
            self._start_on(port)
        except AzuriteFailed as exc:
            if tries == 1 or "EADDRINUSE" not in str(exc):
                raise
            return self._start_on_free_port(tries - 1)
        return port

    def _start_on(self, port: int) -> None:
        log_offset = self.log.stat().st_size if self.log.exists() else 0
        persistence = ["--inMemoryPersistence"] if self._in_memory else ["--location", str(self._folder)]
        queues = ["--queueHost", _HOST, "--queuePort", str(self._queue_port), "--blobHost", _HOST, "--blobPort", "0"]
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(  # noqa: S603 - our own pinned program
                [
                    *(shutil.which("node") or "node", str(self._program), *persistence),
                    *("--tableHost", _HOST, "--tablePort", str(port), "--disableTelemetry"),
                    *(queues if self._has_queues else ()),
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        reason = self._wait_until_ready(self._popen, log_offset)
        if reason is not None:
            code = self.stop(signal.SIGKILL)
            tail = "\n".join(self.log.read_bytes()[log_offset:].decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])
            raise AzuriteFailed(f"Azurite on port {port} {reason} (exit code {code}); its log {self.log} ends:\n{tail}")

    def _wait_until_ready(self, popen: subprocess.Popen[bytes], log_offset: int) -> str | None:
        """Wait for the ready line in the log, and return None, or why Azurite is not ready.

        A request to the port would prove nothing, because another program may answer it.
        """
        limit = time.monotonic() + READY_SECONDS
        while time.monotonic() < limit:
            if popen.poll() is not None:
                return "ended before it was ready"
            if self._started_line in self.log.read_bytes()[log_offset:]:
                return None
            time.sleep(_POLL_SECONDS)
        return f"was not ready within {READY_SECONDS:g} s"

    def __enter__(self) -> Self:
        """Start Azurite."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop Azurite."""
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
    return port
