"""Azurite's table service as a process of its own: Azure Table storage for tests and the devstack, on 127.0.0.1.

    with Azurite(folder) as azurite:
        TablesStore(azurite.connection_string, ...)
        azurite.stop()      # the storage is down
        azurite.start()     # and there again, on the same port and, unless in memory, with the same data

Installed with ``npm ci --prefix devstack/azurite``. It speaks to nobody: telemetry is off.
"""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final, Self

INSTALL_COMMAND: Final = "npm ci --prefix devstack/azurite"

ACCOUNT: Final = "devstoreaccount1"

# Not a secret: the same in every Azurite, published by Microsoft.
# Source: https://learn.microsoft.com/azure/storage/common/storage-use-azurite, "Well-known storage account and key".
PUBLIC_DEVELOPMENT_KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0

_HOST: Final = "127.0.0.1"
_PROGRAM: Final = Path(__file__).parent / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"
_POLL_SECONDS: Final = 0.05
_STARTED: Final = b"Azurite Table service successfully started on "
_TAIL_LINES: Final = 20


class AzuriteNotInstalled(Exception):
    """Node or the npm package is missing; the text has the command that installs it."""


class AzuriteFailed(Exception):
    """It ended, or took too long, before it was ready; the text has the end of its log."""


def why_not_installed(program: Path = _PROGRAM) -> str | None:
    """What is missing and how to get it; None where Azurite can be started."""
    if shutil.which("node") is None:
        return (
            f"Azurite needs Node.js, and there is no 'node' in PATH: install Node.js 20, then run '{INSTALL_COMMAND}'"
        )
    if not program.exists():
        return f"Azurite is not installed: run '{INSTALL_COMMAND}' in the project's folder"
    return None


class Azurite:
    """One Azurite with one account and key, both well known. As a context manager it runs from start to end."""

    def __init__(self, folder: Path, *, in_memory: bool = False, program: Path = _PROGRAM) -> None:
        """Nothing runs yet; see :meth:`start`.

        :param folder: the folder for its data and its log, ``azurite.log``; made if it is not there.
        :param in_memory: keep no data on disk; a restart begins empty, and everything is a little quicker.
        """
        self.log = folder / "azurite.log"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._in_memory = in_memory
        self._program = program
        self._port: int | None = None
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it listens, the same after each start.

        :raises AzuriteFailed: it has never been started.
        """
        if self._port is None:
            raise AzuriteFailed("Azurite has not been started, so it has no port yet")
        return self._port

    @property
    def url(self) -> str:
        """The table endpoint."""
        return f"http://{_HOST}:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        """A storage connection string, as ``JOURNAL_CONNECTION`` takes it."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={PUBLIC_DEVELOPMENT_KEY};"
            f"TableEndpoint={self.url};"
        )

    def start(self) -> None:
        """Start it on a free port, or on the one it had, and wait until it serves. Does nothing where it runs.

        :raises AzuriteNotInstalled: see ``why_not_installed``.
        :raises AzuriteFailed: it ended, or was not ready in time; it no longer runs then.
        """
        if (reason := why_not_installed(self._program)) is not None:
            raise AzuriteNotInstalled(reason)
        if self._popen is not None:
            return
        if self._port is None:
            self._port = self._start_on_free_port()
        else:
            self._start_on(self._port)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int | None:
        """End it, by default so that its data are on disk. Returns the exit code; None where it did not run."""
        # SIGTERM would end it at once and lose what it has not saved yet; on SIGINT it saves.
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
        """Another program may take a port between our look and Azurite's; then another port is tried."""
        port = _free_port()
        try:
            self._start_on(port)
        except AzuriteFailed as exc:
            if tries == 1 or "EADDRINUSE" not in str(exc):
                raise
            return self._start_on_free_port(tries - 1)
        return port

    def _start_on(self, port: int) -> None:
        beginning = self.log.stat().st_size if self.log.exists() else 0
        where = ["--inMemoryPersistence"] if self._in_memory else ["--location", str(self._folder)]
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(  # noqa: S603 - our own pinned program
                [
                    *(shutil.which("node") or "node", str(self._program), *where),
                    *("--tableHost", _HOST, "--tablePort", str(port), "--disableTelemetry"),
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        reason = self._wait_until_ready(self._popen, beginning)
        if reason is not None:
            code = self.stop(signal.SIGKILL)
            tail = "\n".join(self.log.read_bytes()[beginning:].decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])
            raise AzuriteFailed(f"Azurite on port {port} {reason} (exit code {code}); its log {self.log} ends:\n{tail}")

    def _wait_until_ready(self, popen: subprocess.Popen[bytes], beginning: int) -> str | None:
        """Wait until it says so in its log, since another program may answer on the port; why it has not, or None."""
        limit = time.monotonic() + READY_SECONDS
        while time.monotonic() < limit:
            if popen.poll() is not None:
                return "ended before it was ready"
            if _STARTED in self.log.read_bytes()[beginning:]:
                return None
            time.sleep(_POLL_SECONDS)
        return f"was not ready within {READY_SECONDS:g} s"

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it."""
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
    return port
