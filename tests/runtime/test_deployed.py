"""The deployed zip on Microsoft's runtime, in an environment without anything else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.azurite import Azurite, installation_problem
from devstack.events import sample_text
from devstack.package import PACKAGES
from tests.runtime.conftest import Ado, StartWorker
from tests.runtime.functions_host import event_grid_input, timer_input
from tests.support import ROOT
from tests.support.canaries import leaks
from tests.support.prerequisites import need


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Azurite]:
    """A separate storage for each test, because a journal contains run IDs of one Azure DevOps organization."""
    need(installation_problem())
    with Azurite(tmp_path / "azurite", in_memory=True) as started:
        yield started


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_an_event_queues_one_run_and_duplicates_queue_none(
    start_worker: StartWorker, deployed_app: Path, ado: Ado, storage: Azurite
) -> None:
    """The journal is in Azurite. The last duplicate is delivered to a new process."""
    files = files_of(deployed_app)
    text = sample_text("run-completed")

    first = start_worker(ado.settings(storage.connection_string))
    assert first.start_app(deployed_app)["result"] == {"status": "Success"}
    queued = first.invoke("aml_event", event_grid_input("event", text))
    duplicate = first.invoke("aml_event", event_grid_input("event", text))
    purged = first.invoke("purge_journal", timer_input("timer"))
    assert first.close() == 0

    second = start_worker(ado.settings(storage.connection_string))
    second.start_app(deployed_app)
    elsewhere = second.invoke("aml_event", event_grid_input("event", text))

    outcomes = [
        [
            json.loads(log["message"])["outcome"]
            for log in worker.logs_of(invocation)
            if log["category"] == "nextstage.decision"
        ]
        for worker, invocation in ((first, queued), (first, duplicate), (second, elsewhere))
    ]
    assert outcomes == [["queued"], ["duplicate"], ["duplicate"]]
    assert all(invocation.succeeded for invocation in (queued, duplicate, purged, elsewhere))
    (run,) = ado.emulator.books.runs
    assert (run.pipeline_name, run.template_parameters["runId"]) == (
        "model-evaluation",
        json.loads(text)["data"]["runId"],
    )
    assert files_of(deployed_app) == files, "the app wrote into its own folder, which Azure may mount read-only"
    assert leaks(first.log.read_text(encoding="utf-8") + second.log.read_text(encoding="utf-8")) == []


LOADED = re.compile(r"(?:code object from|matches|loaded from) '?(/[^'\n]+)")
WORKER_MODULES = {"azure_functions_runtime", "google", "grpc", "grpc_tools", "typing_extensions.py"}
APP_MODULES = {("azure", "functions"), ("azure", "data"), ("requests", "__init__.py"), ("typing_extensions.py",)}


def test_what_the_app_imports_comes_from_the_zip(
    start_worker: StartWorker, deployed_app: Path, runtime_python: Path, ado: Ado, storage: Azurite
) -> None:
    verbose = {"PYTHONVERBOSE": "1"}  # Python logs the path of each imported module
    worker = start_worker(ado.settings(storage.connection_string) | verbose)
    worker.start_app(deployed_app)
    assert worker.invoke("aml_event", event_grid_input("event", sample_text("run-completed"))).succeeded
    worker.close()
    loaded = {Path(path) for path in LOADED.findall(worker.log.read_text(encoding="utf-8"))}

    packages = deployed_app / PACKAGES
    from_zip = {path.relative_to(packages).parts[:2] for path in loaded if path.is_relative_to(packages)}
    assert from_zip >= APP_MODULES
    environment = runtime_python.parents[1]
    site_packages = environment / "lib" / "python3.13" / "site-packages"
    from_worker = {path.relative_to(site_packages).parts[0] for path in loaded if path.is_relative_to(site_packages)}
    assert {name for name in from_worker if not name.startswith("_")} == WORKER_MODULES
    assert not [path for path in loaded if path.is_relative_to(ROOT) and not path.is_relative_to(environment)]
