"""The components, jobs and deployments as the Azure ML SDK loads them, and the trigger component as a job runs it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name

from devstack.ado import Emulator, load_declaration, serve
from tests.components.packages import closure
from tests.components.rendering import command_of
from tests.pipelines.pipeline_files import FOLDER, Pipeline
from tests.support import ROOT
from tests.support.canaries import secret
from tests.support.prerequisites import need

SDK = ROOT / ".venv-aml" / "bin" / "python"
TRIGGER = "components/trigger_pipeline/component.yml"
DIGITS = "components/digits/component.yml"
VARIABLES = Pipeline(FOLDER / "model-deployment.yml").variables
ENDPOINTS = (VARIABLES["trialEndpoint"], VARIABLES["productionEndpoint"])
TOO_LONG = "version-" + "1" * 25
# As in tests/pipelines/test_other_scripts.py, and two that the SDK refuses.
DEPLOYMENTS = ("version-7", "version-1-2e1", "version--41", "version-" + "1" * 24, "v1", TOO_LONG)
PLAYBOOK_INPUTS = (
    *("modelpath", "modelname", "kvname", "secretname", "org"),
    *("project", "branch", "apiversion", "pipelineid", "pipelineversion"),
)


@pytest.fixture(scope="module")
def sdk() -> dict[str, Any]:
    """The project's components and jobs, loaded with the SDK."""
    need(None if SDK.exists() else "the Azure ML SDK is not installed; run 'make aml'")
    program = [str(SDK), "tests/components/sdk_program.py", " ".join(ENDPOINTS), " ".join(DEPLOYMENTS)]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


class TestTheSdk:
    def test_takes_the_names_of_endpoints_and_deployments(self, sdk: Mapping[str, Any]) -> None:
        assert sdk["endpoints"] == dict.fromkeys(ENDPOINTS)
        refused = {name: error for name, error in sdk["deployments"].items() if error}
        assert {name: "at most 32 characters" in error for name, error in refused.items()} == {
            "v1": True,
            TOO_LONG: True,
        }

    def test_finds_nothing_wrong(self, sdk: Mapping[str, Any]) -> None:
        assert {
            file: each["errors"] for file, each in (sdk["components"] | sdk["jobs"]).items() if each["errors"]
        } == {}

    def test_finds_a_missing_input(self, sdk: Mapping[str, Any]) -> None:
        assert "pipelineid" in str(sdk["broken"])

    def test_sees_the_playbooks_inputs_and_optional_ones(self, sdk: Mapping[str, Any]) -> None:
        inputs = sdk["components"][TRIGGER]["inputs"]
        assert tuple(inputs)[:10] == PLAYBOOK_INPUTS
        assert inputs["modelpath"][0] == "mlflow_model"
        assert {name for name, (kind, _, _) in inputs.items() if kind == "integer"} == {"pipelineid", "pipelineversion"}
        for name in set(inputs) - set(PLAYBOOK_INPUTS):
            _, is_optional, default = inputs[name]
            assert is_optional or default is not None, f"{name} must be given, unlike for the playbook's component"

    def test_does_not_reuse_an_earlier_trigger(self, sdk: Mapping[str, Any]) -> None:
        assert sdk["components"][TRIGGER]["is_deterministic"] is False

    def test_uploads_only_the_component_and_the_client(self, sdk: Mapping[str, Any]) -> None:
        assert sdk["components"][TRIGGER]["code"] == str(ROOT)
        assert {name.rpartition("/")[0] for name in sdk["snapshot"]} == {
            "components",
            "components/trigger_pipeline",
            "shared",
            "shared/azure_devops",
            "shared/events",
            "shared/http",
            "shared/routing",
        }
        assert sum((ROOT / name).stat().st_size for name in sdk["snapshot"]) < 200_000

    def test_only_the_training_job_uses_the_experiment_train(self, sdk: Mapping[str, Any]) -> None:
        experiments = {file.rpartition("/")[2]: each["experiment"] for file, each in sdk["jobs"].items()}
        assert [file for file, experiment in experiments.items() if experiment == "train"] == ["train.yml"]


def test_the_environment_pins_the_needed_packages_to_the_versions_in_constraints_txt() -> None:
    environment = yaml.safe_load((ROOT / "components/trigger_pipeline/conda.yml").read_text())
    pins = dict(pin.split("==") for pin in environment["dependencies"][-1]["pip"])
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    )
    needed = closure("azure-identity", "azure-keyvault-secrets", "jmespath", "PyYAML", "requests")
    assert {canonicalize_name(name) for name in pins} == needed
    assert pins == {name: pinned[name] for name in pins}


def test_the_trigger_queues_one_pipeline_run(sdk: Mapping[str, Any], model: Path, tmp_path: Path) -> None:
    """The step has only the files that Azure ML would have."""
    steps = yaml.safe_load((ROOT / "components/jobs/train-and-trigger.yml").read_text())["jobs"]
    page, code = tmp_path / "runurl", tmp_path / "code"
    for name in sdk["snapshot"]:
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, code / name)
    with serve(Emulator(load_declaration(), pats={secret("pat")})) as served:
        given = steps["trigger"]["inputs"] | {"modelpath": model, "org": served.organization_url}
        command = command_of(TRIGGER, given | {"auth": "pat", "settle": "1s"}, {"runurl": page})
        for _ in range(2):  # Azure ML may run a step again
            triggered = subprocess.run(
                [str(shutil.which("bash")), "-c", command],
                cwd=code,
                env={
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "AZUREML_RUN_ID": "step",
                    "AZUREML_ROOT_RUN_ID": "job-1",
                    "AZURE_DEVOPS_EXT_PAT": secret("pat"),
                },
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (triggered.returncode, triggered.stderr) == (0, ""), triggered.stdout
            assert "canary" not in triggered.stdout
        [run] = served.emulator.books.runs
    assert run.pipeline_name == "model-evaluation"
    assert run.template_parameters == {"runId": "brave_fig_7k2m", "experimentName": "train-and-trigger"}
    assert page.read_text().endswith(f"buildId={run.id}\n")
