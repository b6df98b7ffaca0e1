"""Checks of the pipelines and templates that do not need Azure DevOps."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pipelines.pipeline_files import FILES, FOLDER, Pipeline, StrictLoader, nodes, texts
from tests.support import ROOT

PIPELINES = [Pipeline(file) for file in FILES]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")

each_pipeline = pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda each: str(each.file.relative_to(ROOT)))


def test_all_files_are_checked() -> None:
    assert {"pr-validation.yml", "train-self-hosted.yml", "train-event-driven.yml"} <= {file.name for file in FILES}
    assert {file.name for file in FILES if file.parent.name == "templates"} >= {
        "aml-job-wait.yml",
        "stage-parameters.yml",
    }
    assert {file.suffix for file in FOLDER.rglob("*") if file.is_file()} == {".sh", ".yml"}


def test_a_duplicate_key_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="duplicate keys: a"):
        yaml.load("x: {a: 1, b: 2, a: 3}", Loader=StrictLoader)  # noqa: S506 - a SafeLoader


@each_pipeline
class TestEveryFile:
    def test_declares_its_triggers(self, pipeline: Pipeline) -> None:
        is_template = pipeline.file.parent.name == "templates"
        assert ("trigger" in pipeline.document, "pr" in pipeline.document) == (not is_template, not is_template)

    def test_uses_existing_templates_with_declared_parameters(self, pipeline: Pipeline) -> None:
        for file, given in pipeline.calls:
            assert file.is_file(), f"{pipeline.file.name} uses {file}"
            declared = Pipeline(file).parameters
            assert set(given) <= set(declared), f"{file.name} does not declare {set(given) - set(declared)}"
            required = {name for name, each in declared.items() if "default" not in each}
            assert required <= set(given), f"{pipeline.file.name} does not pass {required - set(given)} to {file.name}"
            for name, value in given.items():
                if "values" in declared[name] and "${{" not in str(value):
                    assert value in declared[name]["values"]

    def test_uses_exactly_the_parameters_that_it_declares(self, pipeline: Pipeline) -> None:
        document = {key: value for key, value in pipeline.document.items() if key != "parameters"}
        keys = " ".join(str(key) for node in nodes(document) for key in node)
        used = set(re.findall(r"(?<![\w-])parameters\.(\w+)", " ".join(texts(document)) + keys))
        assert used == set(pipeline.parameters)

    def test_names_existing_files(self, pipeline: Pipeline) -> None:
        """Every path to a file, in any folder, in comments too."""
        found = re.findall(r"(?<![\w./<)-])(?:[\w.-]+/)+[\w-]+\.(?:json|md|py|sh|ya?ml)\b", pipeline.file.read_text())
        for name in found:
            places = (ROOT / name, FOLDER / name, pipeline.file.parent / name)
            assert any(place.is_file() for place in places), f"{pipeline.file.name} names {name}"
        for script in pipeline.script_files:
            assert script.stat().st_mode & 0o111, f"{script} is not executable"

    def test_inserts_no_values_into_scripts(self, pipeline: Pipeline) -> None:
        """Neither with ${{ }} nor with $(name): the shell would execute the value."""
        for script in pipeline.scripts:
            assert "${{" not in script
            assert not re.search(r"\$\([\w.]+\)", script)

    def test_passes_the_access_token_only_in_the_environment(self, pipeline: Pipeline) -> None:
        """Or to Azure ML, in the body of the request that registers its post-back."""
        for node in nodes(pipeline.document):
            for key, value in node.items():
                if isinstance(value, str) and "system.accesstoken" in value.lower() and node.get("method") != "PATCH":
                    assert (key, value) == ("AZURE_DEVOPS_EXT_PAT", "$(System.AccessToken)")

    def test_has_scripts_that_stop_at_the_first_error(self, pipeline: Pipeline) -> None:
        for script in pipeline.scripts:
            if "\n" in script.strip() and "exit 1" not in script.strip().splitlines()[-1]:
                assert script.startswith("set -euo pipefail\n")

    def test_has_scripts_without_shellcheck_findings(self, pipeline: Pipeline, tmp_path: Path) -> None:
        for number, script in enumerate(pipeline.scripts):
            file = tmp_path / f"{number}.sh"
            file.write_text(f"#!/usr/bin/env bash\n{script}\n")
            found = subprocess.run([SHELLCHECK, file], capture_output=True, text=True, check=False)
            assert (found.stdout, found.returncode) == ("", 0)


def test_every_script_documents_its_exit_codes_and_is_used() -> None:
    scripts = sorted((FOLDER / "scripts").glob("*.sh"))
    used = {script for pipeline in PIPELINES for script in pipeline.script_files}
    sourced = {script for script in scripts if not script.stat().st_mode & 0o111}
    assert {script.name for script in sourced} == {"aml_job.sh"}
    assert used == set(scripts) - sourced
    for script in used:
        text = script.read_text()
        assert text.startswith("#!/usr/bin/env bash\n")
        assert "\n# Exit codes:" in text
        assert "\nset -euo pipefail\n" in text


def test_extensions_of_the_azure_cli_are_pinned_and_kept_on_the_agent() -> None:
    files = [*FILES, *(FOLDER / "scripts").glob("*.sh")]
    adding = {file.name: file.read_text() for file in files if "extension add" in file.read_text()}
    assert set(adding) == {"aml_job.sh", "triage.yml"}
    for text in adding.values():
        assert re.search(r'extension add --name [\w-]+ --version "\$\w+" --yes', text)
        assert "export AZURE_EXTENSION_DIR=" in text


def test_every_job_has_a_limit_below_the_life_of_its_token() -> None:
    """The token of a job ends after a day or two, on self-hosted agents too: azure-pipelines-agent#5520."""
    for pipeline in PIPELINES:
        for node in nodes(pipeline.document):
            if "steps" in node and "job" in node and node.get("pool") != "server":
                assert 0 < node.get("timeoutInMinutes", 60) <= 24 * 60, pipeline.file.name


def test_ci_is_set_where_the_tests_run() -> None:
    """Azure Pipelines does not set it. Without it, tests whose prerequisites are missing are skipped."""
    testing = [pipeline for pipeline in PIPELINES if re.search(r"make (test|coverage)\b", pipeline.file.read_text())]
    assert {pipeline.file.name for pipeline in testing} == {"azure-dev.yml", "pr-validation.yml"}
    for pipeline in testing:
        variables = pipeline.document["variables"]
        assert (variables if isinstance(variables, dict) else pipeline.variables)["CI"] == "true"
        tasks = {node["task"] for node in nodes(pipeline.document) if "task" in node}
        assert {"UseNode@1", "UsePythonVersion@0"} <= tasks


def test_a_wait_ends_before_its_job_does() -> None:
    """Otherwise the agent would end the wait, and only the additional step would cancel the Azure ML job."""
    limit = Pipeline(FOLDER / "templates" / "aml-job-wait.yml").parameters["timeLimit"]["default"]
    for pipeline in PIPELINES:
        for node in nodes(pipeline.document):
            waits = [
                step for step in node.get("steps", []) if str(step.get("template", "")).endswith("aml-job-wait.yml")
            ]
            for step in waits:
                given = step["parameters"].get("timeLimit", limit)
                if given == "${{ parameters.timeLimit }}":
                    given = pipeline.parameters["timeLimit"]["default"]
                minutes = int(given[:-1]) * {"m": 1, "h": 60}[given[-1]]
                assert minutes < node.get("timeoutInMinutes", 60), pipeline.file.name
                # The Azure CLI's tokens are valid for about an hour, and a sign-in with a federated identity for less.
                assert minutes < 60 or step["parameters"].get("keepAzSessionActive") is True, pipeline.file.name
