"""Fixtures: Microsoft's runtime on Python 3.13, the deployed app, and the emulator that it calls."""

import os
import shutil
import socket
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.ado import Emulator, Served, load_declaration, serve
from devstack.package import AZURE, Package, build
from tests.runtime.functions_host import Worker, start
from tests.support import ROOT
from tests.support.canaries import leaks, secret
from tests.support.prerequisites import need
from tests.support.services.host_apps import app_settings

ENVIRONMENT = ROOT / ".venv-runtime"
INSTALLED = ROOT / "dist" / "python_packages"  # shared with 'make package', because pip is slow
# The package must run on this machine. It is built for Azure's platform only if this machine has that platform.
PLATFORM = AZURE if (sys.platform, os.uname().machine) == ("linux", "x86_64") else ()

# Settings that make deliveries give up early.
SHORT_TIMES = {"DELIVERY_BUDGET_SECONDS": "4", "JOURNAL_LEASE_SECONDS": "5", "JOURNAL_SETTLE_SECONDS": "0.5"}

StartWorker = Callable[[Mapping[str, str]], Worker]


@pytest.fixture(scope="session")
def runtime_python() -> Path:
    need(
        None
        if (ENVIRONMENT / ".ready").exists()
        else f"{ENVIRONMENT.name} does not exist: run 'make runtime', which needs Python 3.13"
    )
    return ENVIRONMENT / "bin" / "python"


def packaged(python: Path, folder: Path) -> Package:
    return build(python, folder, pip=python, platform=PLATFORM, installed=INSTALLED)


@pytest.fixture(scope="session")
def package(runtime_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The deployed zip. If this machine does not have Azure's platform, the dependencies are for this machine."""
    return packaged(runtime_python, tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def deployed_app(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the contents of the zip. Tests must not change it."""
    folder = tmp_path_factory.mktemp("wwwroot")
    with zipfile.ZipFile(package.path) as archive:
        archive.extractall(folder)
    yield folder
    shutil.rmtree(folder)  # 40 MB, and pytest would keep those of the last three test runs


@dataclass
class Ado:
    """A served emulator, and the settings of an app that uses it."""

    emulator: Emulator
    served: Served

    def settings(self, journal: Path | str) -> dict[str, str]:
        """:param journal: an SQLite file, or a connection string."""
        connection = f"sqlite:{journal}" if isinstance(journal, Path) else journal
        return app_settings(self.served.organization_url, connection)


@pytest.fixture
def ado() -> Iterator[Ado]:
    emulator = Emulator(load_declaration(), pats={secret("pat")})
    with serve(emulator) as served:
        yield Ado(emulator, served)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that no program listens on, reserved for the duration of the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def settings(ado: Ado, tmp_path: Path) -> dict[str, str]:
    return ado.settings(tmp_path / "journal.sqlite3")


@pytest.fixture
def start_worker(runtime_python: Path, tmp_path: Path) -> Iterator[StartWorker]:
    """Start workers with exactly the given environment. At the end, stop them and search their output for secrets."""
    workers: list[Worker] = []
    with ExitStack() as stack:

        def start_one(environment: Mapping[str, str]) -> Worker:
            workers.append(stack.enter_context(start(runtime_python, environment, tmp_path)))
            return workers[-1]

        yield start_one
        for worker in workers:
            assert worker.close() == 0
    for worker in workers:
        assert leaks(worker.log.read_text(encoding="utf-8")) == []


@pytest.fixture
def worker(start_worker: StartWorker, deployed_app: Path, settings: dict[str, str]) -> Worker:
    """The deployed app, started with an empty journal."""
    worker = start_worker(settings)
    worker.start_app(deployed_app)
    return worker
