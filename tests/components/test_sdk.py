"""The components and jobs as the Azure ML SDK loads them, and the steps of a job as Azure ML runs them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devstack.ado import Emulator, load_declaration, serve
from tests.support import ROOT
from tests.support.canaries import secret
from tests.support.prerequisites import need

SDK = ROOT / ".venv-aml" / "bin" / "python"
TRIGGER = "components/trigger_pipeline/component.yml"
DIGITS = "components/digits/component.yml"
PLAYBOOK_INPUTS = (
    *("modelpath", "modelname", "kvname", "secretname", "org"),
    *("project", "branch", "apiversion", "pipelineid", "pipelineversion"),
)


@pytest.fixture(scope="module")
def sdk() -> dict[str, Any]:
    """The project's components and jobs, loaded with the SDK."""
    need(None if SDK.exists() else "the Azure ML SDK is not installed; run 'make aml'")
    program = [str(SDK), "tests/components/sdk_program.py"]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


class TestTheSdk:
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
    needed = _closure("azure-identity", "azure-keyvault-secrets", "jmespath", "PyYAML", "requests")
    assert {canonicalize_name(name) for name in pins} == needed
    assert pins == {name: pinned[name] for name in pins}


def _closure(*names: str) -> set[str]:
    """Return the packages and all their dependencies on this platform."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name in found:
            continue
        found.add(name)
        wanted = [Requirement(text) for text in requires(name) or []]
        left += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


class TestTheJobsSteps:
    """The steps of the sample pipeline job, one after the other, each with only the files that Azure ML would have.

    scikit-learn and MLflow are stand-ins. On Azure ML, they are part of the training's environment.
    """

    def run(
        self, file: str, code: Path, inputs: Mapping[str, object], outputs: Mapping[str, Path], **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        component = yaml.safe_load((ROOT / file).read_text())
        declared = component["inputs"].items()  # a job gives values, a component declarations
        defaults = {name: each["default"] for name, each in declared if isinstance(each, dict) and "default" in each}
        command = rendered(component["command"], {**defaults, **inputs}, outputs)
        bash = shutil.which("bash")
        assert bash is not None
        python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            [bash, "-c", command],
            cwd=code,
            env={"PATH": python, "AZUREML_RUN_ID": "step", "AZUREML_ROOT_RUN_ID": "job-1", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def train(self, tmp_path: Path, **inputs: object) -> "subprocess.CompletedProcess[str]":
        return self.run(
            DIGITS, ROOT / "components" / "digits", inputs, {"model": tmp_path / "model"}, **self.standins(tmp_path)
        )

    @staticmethod
    def standins(tmp_path: Path) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT / "tests" / "components" / "standins"),
            "STANDIN_RUN_ID": "brave_fig",
            "STANDIN_STORE": str(tmp_path / "store"),
        }

    def test_from_the_data_to_one_pipeline_run(self, sdk: Mapping[str, Any], tmp_path: Path) -> None:
        steps = yaml.safe_load((ROOT / "components/jobs/train-and-trigger.yml").read_text())["jobs"]
        model, page, code = tmp_path / "model", tmp_path / "runurl", tmp_path / "code"
        trained = self.train(tmp_path, epochs=1, share=0.1)
        assert (trained.returncode, trained.stderr) == (0, "")
        for name in sdk["snapshot"]:
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, code / name)
        with serve(Emulator(load_declaration(), pats={secret("pat")})) as served:
            given = steps["trigger"]["inputs"] | {"modelpath": model, "org": served.organization_url}
            for _ in range(2):  # Azure ML may run a step again
                triggered = self.run(
                    TRIGGER,
                    code,
                    given | {"auth": "pat", "settle": "1s"},
                    {"runurl": page},
                    AZURE_DEVOPS_EXT_PAT=secret("pat"),
                )
                assert (triggered.returncode, triggered.stderr) == (0, ""), triggered.stdout
                assert "canary" not in triggered.stdout
            [run] = served.emulator.books.runs
        assert run.pipeline_name == "model-evaluation"
        assert run.template_parameters == {"runId": "brave_fig", "experimentName": "train-and-trigger"}
        assert page.read_text().endswith(f"buildId={run.id}\n")

    @pytest.mark.parametrize(("epochs", "share", "images", "good_enough"), [(50, 1.0, 80, True), (1, 0.05, 4, False)])
    def test_a_toy_training_is_small_and_fails_the_evaluation(
        self, tmp_path: Path, epochs: int, share: float, images: int, good_enough: bool
    ) -> None:
        trained = self.train(tmp_path, epochs=epochs, share=share)
        assert trained.stdout == f"trained on {images} images in {epochs} epochs, run brave_fig\n"
        evaluated = self.run(
            "components/jobs/evaluate.yml",
            ROOT / "components" / "digits",
            {"run_id": "brave_fig", "least_accuracy": 0.9},
            {},
            **self.standins(tmp_path),
        )
        assert evaluated.stdout.startswith("the model of run brave_fig classifies ")
        assert (evaluated.returncode, evaluated.stderr) == (0 if good_enough else 1, "")

    @pytest.mark.parametrize(
        "inputs", [{"epochs": 0, "share": 1}, {"epochs": 1, "share": 0}, {"epochs": 1, "share": 1.5}]
    )
    def test_a_training_without_epochs_or_images_is_refused(self, tmp_path: Path, inputs: dict[str, object]) -> None:
        assert self.train(tmp_path, **inputs).returncode == 2


def rendered(command: str, inputs: Mapping[str, object], outputs: Mapping[str, Path]) -> str:
    """Render a component's command as Azure ML does. A part in ``$[[ ]]`` is omitted if its input is not given.

    Source: Azure docs, machine-learning/how-to-manage-inputs-outputs-pipeline, optional inputs.
    """

    def optional(found: re.Match[str]) -> str:
        names = re.findall(r"\$\{\{inputs\.(\w+)\}\}", found[1])
        return found[1] if all(name in inputs for name in names) else ""

    command = re.sub(r"\$\[\[(.*?)\]\]", optional, command, flags=re.DOTALL)
    command = re.sub(r"\$\{\{inputs\.(\w+)\}\}", lambda found: str(inputs[found[1]]), command)
    return re.sub(r"\$\{\{outputs\.(\w+)\}\}", lambda found: str(outputs[found[1]]), command)
