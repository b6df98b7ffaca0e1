"""Azurite starts, stops and restarts as a process, and reports why if it cannot."""

import shutil
import socket
from contextlib import closing
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from devstack import azurite as module
from devstack.azurite import Azurite, AzuriteFailed, AzuriteNotInstalled, installation_problem
from devstack.http_server import serving
from shared.journal.records import Entry, JournalKey, Record, State
from shared.journal.tables.store import TablesStore
from tests.support.clock import ManualClock
from tests.support.journal.stores import no_identity
from tests.support.prerequisites import need

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Azurite needs Node.js: install Node.js 20")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return tmp_path / "program.js"


def record(now: ManualClock) -> Record:
    entry = Entry("id", "type", "subject", "{}", "{}")
    return Record(JournalKey("route", "ab12"), State.CLAIMED, entry, now(), now(), now())


def reachable(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def installed() -> None:
    need(installation_problem())


@pytest.mark.usefixtures("installed")
class TestRunning:
    @pytest.mark.parametrize("in_memory", [False, True])
    def test_data_survive_a_restart_unless_in_memory(self, tmp_path: Path, clock: ManualClock, in_memory: bool) -> None:
        with Azurite(tmp_path, in_memory=in_memory) as azurite:
            store = TablesStore(azurite.connection_string, no_identity)
            with closing(store):
                inserted = store.insert(record(clock))
                url = azurite.url
                assert azurite.stop() == 0
                assert not reachable(azurite.port)
                azurite.start()
                assert azurite.url == url
                assert store.get(JournalKey("route", "ab12")) == (None if in_memory else inserted)
        assert not reachable(azurite.port)
        assert "POST /devstoreaccount1/Tables" in azurite.log.read_text()

    @pytest.mark.parametrize("times", [1, 2])
    def test_the_first_start_tries_another_port_if_the_port_is_in_use(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
    ) -> None:
        free_port = module._free_port
        with serving(Request.application(lambda _: Response())) as taken:
            ports = iter([*[taken.port] * times, free_port()])
            monkeypatch.setattr(module, "_free_port", lambda: next(ports))
            with Azurite(tmp_path) as azurite:
                assert azurite.port != taken.port

    def test_a_restart_fails_if_the_port_is_in_use(self, tmp_path: Path) -> None:
        with Azurite(tmp_path) as azurite:
            azurite.stop()
            ended = r"(?s)ended before it was ready \(exit code 1\).*EADDRINUSE"
            with socket.create_server(("127.0.0.1", azurite.port)), pytest.raises(AzuriteFailed, match=ended):
                azurite.start()


class TestNotInstalled:
    def test_the_error_names_the_command(self, tmp_path: Path, program: Path) -> None:
        with pytest.raises(AzuriteNotInstalled, match=r"npm ci --prefix devstack/azurite|install Node\.js"):
            Azurite(tmp_path, program=program).start()

    def test_without_node(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert "install Node.js 20, then run 'npm ci --prefix devstack/azurite'" in (installation_problem() or "")


@needs_node
class TestFailing:
    def test_a_program_that_ends_immediately(self, tmp_path: Path, program: Path) -> None:
        program.write_text("console.log('no room left'); process.exit(3)")
        with pytest.raises(AzuriteFailed, match=r"(?s)ended before it was ready \(exit code 3\).*no room left"):
            Azurite(tmp_path, program=program).start()

    def test_a_program_that_is_never_ready(
        self, tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "READY_SECONDS", 0.3)
        program.write_text("setTimeout(() => {}, 60000)")
        with pytest.raises(AzuriteFailed, match=r"was not ready within 0.3 s \(exit code -9\)"):
            Azurite(tmp_path, program=program).start()

    def test_a_program_that_ignores_sigint(
        self, tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "STOP_SECONDS", 0.3)
        started = "console.log('Azurite Table service successfully started on here');"
        program.write_text(f"process.on('SIGINT', () => {{}}); {started} setTimeout(() => {{}}, 60000)")
        azurite = Azurite(tmp_path, program=program)
        azurite.start()
        assert azurite.stop() == -9
