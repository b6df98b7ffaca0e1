"""Microsoft's runtime loads the app, lists its functions, and reports what is wrong with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from devstack.events import sample_text
from tests.contracts import validate
from tests.runtime.conftest import Ado, StartWorker
from tests.runtime.functions_host import Worker, event_grid_input
from tests.support.canaries import leaks
from tests.support.prerequisites import need


def bindings(worker: Worker, function: str) -> list[dict[str, Any]]:
    return [json.loads(binding) for binding in worker.functions[function]["raw_bindings"]]


class TestFunctions:
    def test_the_worker_reports_its_runtime_and_capabilities(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str]
    ) -> None:
        answer = start_worker(settings).init(deployed_app)
        assert answer["result"] == {"status": "Success"}
        assert answer["worker_metadata"]["runtime_version"] == "3.13"
        # functions_host.http_input relies on these capabilities.
        assert answer["capabilities"].items() >= {"RawHttpBodyBytes": "true", "RpcHttpBodyOnly": "true"}.items()
        assert "HttpUri" not in answer["capabilities"], "HTTP requests must arrive as messages, not over a socket"

    def test_the_functions_and_their_bindings(self, worker: Worker) -> None:
        assert bindings(worker, "aml_event") == [{"direction": "IN", "type": "eventGridTrigger", "name": "event"}]
        (timer,) = bindings(worker, "purge_journal")
        assert (timer["type"], timer["schedule"], timer["runOnStartup"]) == ("timerTrigger", "0 30 3 * * *", False)

    def test_the_metadata_of_every_function_is_valid_for_function_json(self, worker: Worker) -> None:
        assert len(worker.functions) >= 2
        for name, metadata in worker.functions.items():
            assert metadata["properties"] == {"worker_indexed": "True"}
            assert (metadata["script_file"], metadata["language"]) == ("function_app.py", "python")
            for binding in bindings(worker, name):
                validate("functions_binding", binding)


class TestWrongConfiguration:
    def test_every_problem_is_reported_to_the_host_without_secrets(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str]
    ) -> None:
        broken = settings | {"AZURE_DEVOPS_AUTH": "password", "JOURNAL_LEASE_SECONDS": "soon"}
        result = start_worker(broken).start_app(deployed_app)["result"]
        assert result.get("status") != "Success"
        message = result["exception"]["message"]
        assert message.startswith("InvalidSettings: the application settings are wrong, so the app does not start:\n")
        assert "AZURE_DEVOPS_AUTH is 'password'; it must be 'identity' or 'pat'" in message
        assert "JOURNAL_LEASE_SECONDS is 'soon'; it must be a number of seconds above zero" in message
        assert leaks(message + result["exception"]["stack_trace"]) == []

    def test_the_app_cannot_start_without_its_own_packages(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "bare").mkdir()
        for name in ("function_app.py", "handlers", "shared", "routes.yaml"):
            (tmp_path / "bare" / name).symlink_to(deployed_app / name)
        answer = start_worker(settings).start_app(tmp_path / "bare")
        assert "No module named 'jmespath'" in answer["result"]["exception"]["message"]


class TestSpecialization:
    """A worker that Azure has started in advance, and that then gets its app."""

    def test_the_app_is_loaded_with_the_new_environment(
        self, start_worker: StartWorker, deployed_app: Path, ado: Ado, settings: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "placeholder").mkdir()
        worker = start_worker({"WEBSITE_PLACEHOLDER_MODE": "1", "AZURE_DEVOPS_AUTH": "of another app"})
        assert worker.start_app(tmp_path / "placeholder")["result"]["status"] == "Success"
        assert worker.functions == {}

        assert worker.reload(deployed_app, settings)["result"]["status"] == "Success"
        worker.load_functions(deployed_app)

        assert worker.invoke("aml_event", event_grid_input("event", sample_text("run-completed"))).succeeded
        assert len(ado.emulator.books.runs) == 1

    def test_invalid_settings_are_reported(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "placeholder").mkdir()
        worker = start_worker({"WEBSITE_PLACEHOLDER_MODE": "1"})
        worker.start_app(tmp_path / "placeholder")
        answer = worker.reload(deployed_app, settings | {"DELIVERY_BUDGET_SECONDS": "-1"})
        assert answer["result"]["exception"]["message"].startswith("InvalidSettings: ")
        assert leaks(json.dumps(answer)) == []


@pytest.mark.parametrize("environment", [{}, {"CI": "1"}])
def test_a_missing_prerequisite_skips_locally_and_fails_in_ci(environment: dict[str, str]) -> None:
    need(None, environment)
    with pytest.raises(pytest.fail.Exception if environment else pytest.skip.Exception, match="no Python"):
        need("no Python 3.13", environment)
