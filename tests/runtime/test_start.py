"""Microsoft's runtime starts the app: it loads it, tells the host its functions, and says what is wrong with it."""

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
    def test_the_host_is_told_who_answers_and_what_it_can_do(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str]
    ) -> None:
        answer = start_worker(settings).init(deployed_app)
        assert answer["result"] == {"status": "Success"}
        assert answer["worker_metadata"]["runtime_version"] == "3.13"
        # What functions_host.http_input relies on.
        assert answer["capabilities"].items() >= {"RawHttpBodyBytes": "true", "RpcHttpBodyOnly": "true"}.items()
        assert "HttpUri" not in answer["capabilities"], "HTTP requests come as messages, not over a socket"

    def test_the_functions_and_their_bindings(self, worker: Worker) -> None:
        assert bindings(worker, "aml_event") == [{"direction": "IN", "type": "eventGridTrigger", "name": "event"}]
        (timer,) = bindings(worker, "purge_journal")
        assert (timer["type"], timer["schedule"], timer["runOnStartup"]) == ("timerTrigger", "0 30 3 * * *", False)

    def test_every_functions_metadata_is_what_a_function_json_may_say(self, worker: Worker) -> None:
        assert len(worker.functions) >= 2
        for name, metadata in worker.functions.items():
            assert metadata["properties"] == {"worker_indexed": "True"}
            assert (metadata["script_file"], metadata["language"]) == ("function_app.py", "python")
            for binding in bindings(worker, name):
                validate("functions_binding", binding)


class TestWrongConfiguration:
    def test_every_problem_reaches_the_host_and_no_secret(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str]
    ) -> None:
        broken = settings | {"AZURE_DEVOPS_AUTH": "password", "JOURNAL_LEASE_SECONDS": "soon"}
        result = start_worker(broken).start_app(deployed_app)["result"]
        assert result.get("status") != "Success"
        message = result["exception"]["message"]
        assert message.startswith("InvalidSettings: the application settings are wrong; nothing was started:\n")
        assert "AZURE_DEVOPS_AUTH is 'password'; it must be 'identity' or 'pat'" in message
        assert "JOURNAL_LEASE_SECONDS is 'soon'; it must be a number of seconds above zero" in message
        assert leaks(message + result["exception"]["stack_trace"]) == []

    def test_what_the_app_needs_comes_from_its_own_packages(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "bare").mkdir()
        for name in ("function_app.py", "handlers", "shared", "routes.yaml"):
            (tmp_path / "bare" / name).symlink_to(deployed_app / name)
        answer = start_worker(settings).start_app(tmp_path / "bare")
        assert "No module named 'requests'" in answer["result"]["exception"]["message"]


class TestSpecialization:
    """A worker that Azure has started in advance, and then tells which app it is for."""

    def test_the_app_is_loaded_with_the_environment_that_comes_with_it(
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

    def test_a_wrong_environment_is_told(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "placeholder").mkdir()
        worker = start_worker({"WEBSITE_PLACEHOLDER_MODE": "1"})
        worker.start_app(tmp_path / "placeholder")
        answer = worker.reload(deployed_app, settings | {"DELIVERY_BUDGET_SECONDS": "-1"})
        assert answer["result"]["exception"]["message"].startswith("InvalidSettings: ")
        assert leaks(json.dumps(answer)) == []


@pytest.mark.parametrize("environment", [{}, {"CI": "1"}])
def test_what_is_missing_skips_on_a_laptop_and_fails_in_ci(environment: dict[str, str]) -> None:
    need(None, environment)
    with pytest.raises(pytest.fail.Exception if environment else pytest.skip.Exception, match="no Python"):
        need("no Python 3.13", environment)
