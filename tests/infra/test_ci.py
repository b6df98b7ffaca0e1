"""CI and deployment on GitHub and in Azure Pipelines: the same commands, minimal permissions and no secret."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.pipeline_files import nodes
from tests.support import ROOT
from tests.support.canaries import secret

WORKFLOWS = ROOT / ".github" / "workflows"
SIGN_IN = ROOT / ".github" / "scripts" / "azd_sign_in.py"
# The paths where `azd pipeline config` looks. Source: Azure/azure-dev, cli/azd/pkg/pipeline/pipeline.go and pkg/azdo.
GITHUB = WORKFLOWS / "azure-dev.yml"
AZURE = ROOT / ".azdo" / "pipelines" / "azure-dev.yml"

READ = {"contents": "read"}
SIGN_IN_AND_READ = {"contents": "read", "id-token": "write"}


def workflow(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())
    return found


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = workflow(name)["jobs"]
    return found


def stages(document: Any) -> dict[str, Any]:
    """Return the stages by name, also those that template expressions insert."""
    return {node["stage"].partition("_${{")[0]: node for node in nodes(document) if "stage" in node}


PIPELINE = stages(yaml.safe_load(AZURE.read_text()))


def scripts(document: Any) -> str:
    """Return all scripts of a part of a workflow or pipeline."""
    keys = ("run", "script", "bash", "inlineScript")
    return "\n".join(str(node[key]) for node in nodes(document) for key in keys if isinstance(node.get(key), str))


def azd_commands(document: Any) -> list[str]:
    """Return the commands of azd that change something, without what names the package."""
    found = re.findall(r"\bazd ((?:provision|deploy)\b.*? --no-prompt)", scripts(document))
    return [re.sub(r"(--from-package) \S+", r"\1", command) for command in found]


def program(folder: Path, name: str, script: str) -> None:
    """Put a stand-in for a program on the PATH of :func:`bash`."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def bash(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script of a step, as GitHub and Azure Pipelines do."""
    return subprocess.run(
        [str(shutil.which("bash")), "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


class TestBoth:
    def test_run_the_same_make_targets(self) -> None:
        targets = [re.findall(r"make [\w-]+", scripts(part)) for part in (workflow("ci"), PIPELINE["build"])]
        assert targets == [["make routes", "make lint", "make bicep", "make coverage", "make package"]] * 2
        # The checks install packages without hashes, so the package is built elsewhere.
        assert list(jobs("ci")) == [each["job"] for each in PIPELINE["build"]["jobs"]] == ["check", "package"]
        for package in (jobs("ci")["package"], PIPELINE["build"]["jobs"][1]):
            assert re.findall(r"make .*", scripts(package)) == ["make package"]

    def test_show_what_would_change_and_then_deploy_the_package_of_the_build(self) -> None:
        preview, deploy = (
            ["provision --preview --no-prompt"],
            ["provision --no-prompt", "deploy app --from-package --no-prompt"],
        )
        assert [azd_commands(part) for part in jobs("deploy").values()] == [preview, deploy]
        assert [azd_commands(part) for part in PIPELINE.values()] == [[], preview, deploy]
        assert list(jobs("deploy")) == ["what-if", "deploy"]
        assert list(PIPELINE) == ["build", "what_if", "deploy"]

    def test_deploy_only_main(self) -> None:
        assert "github.ref == 'refs/heads/main'" in jobs("azure-dev")["deploy"]["if"]
        for name in ("what_if", "deploy"):
            assert PIPELINE[name]["condition"] == (
                "and(succeeded(), eq(variables['Build.SourceBranch'], 'refs/heads/main'))"
            )

    def test_use_one_version_of_azd_that_is_new_enough(self) -> None:
        versions = {
            workflow("deploy")["env"]["AZD_VERSION"],
            yaml.safe_load(AZURE.read_text())["variables"]["azdVersion"],
        }
        (version,) = versions
        needed = yaml.safe_load((ROOT / "azure.yaml").read_text())["requiredVersions"]["azd"].removeprefix(">= ")
        assert [*map(int, version.split("."))] >= [*map(int, needed.split("."))]

    def test_name_no_secret(self) -> None:
        for file in (*WORKFLOWS.glob("*.yml"), AZURE, SIGN_IN):
            found = re.search(
                r"(?i)secrets\.|secrets:|password|\bpat\b|connectionstring|client-secret", file.read_text()
            )
            assert not found, file.name


class TestGitHub:
    def test_actions_are_pinned_to_a_commit_with_their_version_in_a_comment(self) -> None:
        used = [each for file in WORKFLOWS.glob("*.yml") for each in re.findall(r"uses: ([^.].*)", file.read_text())]
        assert used
        for action in used:
            assert re.fullmatch(r"(actions|Azure)/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
        assert len({action.split("@")[0] for action in used}) == len(set(used)), "each action has only one version"

    def test_each_job_has_only_the_permissions_that_it_needs(self) -> None:
        expected = {
            "azure-dev": {"build": READ, "deploy": {**SIGN_IN_AND_READ, "actions": "read"}},
            "ci": {"check": READ, "package": READ},
            "deploy": {"what-if": SIGN_IN_AND_READ, "deploy": {**SIGN_IN_AND_READ, "actions": "read"}},
            "release": {"release": {"contents": "write"}},
        }
        assert {file.stem for file in WORKFLOWS.glob("*.yml")} == set(expected)
        for name, permissions in expected.items():
            assert workflow(name)["permissions"] == {}
            assert {job: each["permissions"] for job, each in jobs(name).items()} == permissions
            steps = [step for job in jobs(name).values() for step in job.get("steps", [])]
            checkouts = [step["with"] for step in steps if "checkout" in step.get("uses", "")]
            assert checkouts == [{"persist-credentials": False}] * len(checkouts)

    def test_only_a_release_may_write_and_only_for_a_tag(self) -> None:
        assert workflow("release")[True] == {"push": {"tags": ["v*"]}}  # YAML reads "on" as true

    def test_a_pull_request_gets_no_token_for_azure(self) -> None:
        assert workflow("ci")[True] == {"pull_request": None, "workflow_call": None}
        assert set(workflow("azure-dev")[True]) == {"push", "workflow_dispatch"}
        assert set(workflow("deploy")[True]) == {"workflow_call"}

    def test_environments_are_deployed_one_after_the_other(self) -> None:
        strategy = jobs("azure-dev")["deploy"]["strategy"]
        assert strategy == {
            "max-parallel": 1,
            "matrix": {"environment": "${{ fromJSON(vars.NEXTSTAGE_ENVIRONMENTS || '[\"\"]') }}"},
        }
        deploy = jobs("deploy")["deploy"]
        assert deploy["concurrency"] == {"group": "deploy-${{ inputs.environment }}", "cancel-in-progress": False}
        assert deploy["environment"] == "${{ inputs.environment }}"
        assert deploy["needs"] == "what-if"

    def test_to_roll_back_only_the_app_is_deployed(self) -> None:
        assert jobs("azure-dev")["build"]["if"] == jobs("deploy")["what-if"]["if"] == "${{ !inputs.package }}"
        (provision,) = (step for step in jobs("deploy")["deploy"]["steps"] if step.get("name") == "Provision")
        assert provision["if"] == "${{ !inputs.package }}"


class TestPackageOnGitHub:
    """The step that gets the package, with a stand-in for gh that knows one run and records its calls."""

    @pytest.mark.parametrize(
        ("package", "run", "call"),
        [
            ("", "", "run download 77 --name nextstage --dir package"),
            ("v0.2.0", "", "release download v0.2.0 --pattern nextstage-*.zip --dir package"),
            ("55", "push on main", "run download 55 --name nextstage --dir package"),
            ("55", "workflow_dispatch on main", "run download 55 --name nextstage --dir package"),
            ("55", "pull_request on main", ""),
            ("55", "workflow_dispatch on a-branch", ""),
        ],
    )
    def test_it_comes_from_this_run_a_release_or_main(self, tmp_path: Path, package: str, run: str, call: str) -> None:
        (step,) = (step for step in jobs("deploy")["deploy"]["steps"] if step.get("name") == "Get the package")
        view = f'[ "$2" = view ] && echo "{run}" && exit 0'
        program(tmp_path, "gh", f'echo "$*" >> calls; {view}; mkdir package && printf zip > package/nextstage-1.zip')
        environment = {"PACKAGE": package, "GITHUB_RUN_ID": "77", "GITHUB_STEP_SUMMARY": "summary"}
        done = bash(step["run"], tmp_path, environment)
        calls = (tmp_path / "calls").read_text().splitlines()
        if call:
            assert (done.returncode, calls[-1]) == (0, call)
            digest = hashlib.sha256(b"zip").hexdigest()
            assert (tmp_path / "summary").read_text() == done.stdout == f"{digest}  package/nextstage-1.zip\n"
        else:
            assert (done.returncode, len(calls)) == (1, 1)
            expected = f"the run 55 is of a {run}; only a package that was built on main can be deployed"
            assert done.stdout == f"::error::{expected}\n"


class TestAzurePipelines:
    def test_to_roll_back_only_the_app_is_deployed(self) -> None:
        text = AZURE.read_text()
        assert text.count("${{ if eq(parameters.package, 'none') }}:") == 3  # build, what-if, this run's package
        assert '[ "$PACKAGE" = none ]; then azd provision' in scripts(PIPELINE["deploy"])

    @pytest.mark.parametrize("branch", ["refs/heads/main", "refs/pull/7/merge"])
    def test_only_a_package_of_main_can_be_deployed_again(self, tmp_path: Path, branch: str) -> None:
        """The token is in none of the arguments, which every process of the agent can read."""
        (look,) = (node for node in nodes(PIPELINE["deploy"]) if "sourceBranch" in str(node.get("bash")))
        answer = json.dumps({"sourceBranch": branch})
        program(tmp_path, "curl", f"echo \"$*\" > calls; cat > header; echo '{answer}'")
        program(tmp_path, "python", f'exec "{sys.executable}" "$@"')
        environment = {
            "PACKAGE": "55",
            "AZURE_DEVOPS_EXT_PAT": secret("token"),
            "SYSTEM_COLLECTIONURI": "https://dev.azure.com/o/",
            "SYSTEM_TEAMPROJECTID": "p",
        }
        done = bash(look["bash"], tmp_path, environment)
        url = "https://dev.azure.com/o/p/_apis/build/builds/55?api-version=7.1"
        assert (tmp_path / "calls").read_text() == f"-fsS -H @- {url}\n"
        assert (tmp_path / "header").read_text() == f"Authorization: Bearer {secret('token')}"
        expected = f"the run 55 is of {branch}; only a package that was built on main can be deployed"
        assert (done.returncode, done.stdout) == (
            (0, "") if branch == "refs/heads/main" else (1, f"##vso[task.logissue type=error]{expected}\n")
        )

    def test_approvals_and_locks_of_the_environment_apply(self) -> None:
        (job,) = PIPELINE["deploy"]["jobs"]
        assert job["environment"] == "${{ target.name }}"
        assert PIPELINE["deploy"]["lockBehavior"] == "sequential"

    def test_the_service_connection_is_that_of_azd(self) -> None:
        """Source: Azure/azure-dev, cli/azd/pkg/azdo/azdo.go."""
        (environments,) = (each for each in yaml.safe_load(AZURE.read_text())["parameters"] if each["type"] == "object")
        assert environments["default"] == [
            {"name": "nextstage", "serviceConnection": "azconnection", "variableGroup": "", "pool": ""}
        ]


VARIABLES = {
    "AZURE_CLIENT_ID": "client",
    "AZURE_TENANT_ID": "tenant",
    "AZURE_SUBSCRIPTION_ID": "subscription",
    "AZURE_ENV_NAME": "prod",
    "AZURE_LOCATION": "westeurope",
    "AML_WORKSPACE_ID": "/subscriptions/x\nPATH=/evil",
    "NEXTSTAGE_WAITS": "true",
    "OTHER": "unused",
}


class TestSignIn:
    """The script of the workflow, with a stand-in for azd that records its calls."""

    @pytest.fixture(autouse=True)
    def azd(self, tmp_path: Path) -> None:
        calls = 'echo "$NEXTSTAGE_WAITS $*" >> calls; [ "$1" = "$(cat failing 2>/dev/null)" ] && exit 7; exit 0'
        program(tmp_path, "azd", calls)

    def run(self, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        environment = {"VARIABLES": json.dumps(variables), "GITHUB_ENV": "github_env"}
        return bash(f'"{sys.executable}" "{SIGN_IN}"', folder, environment)

    def test_azd_signs_in_without_a_secret_and_gets_the_values(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, VARIABLES)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (tmp_path / "calls").read_text().splitlines() == [
            "true auth login --client-id client --tenant-id tenant --federated-credential-provider github",
            "true env refresh --environment prod --no-prompt",
        ]

    def test_later_steps_get_the_values_of_nextstage_and_azd_each_on_one_line(self, tmp_path: Path) -> None:
        self.run(tmp_path, VARIABLES)
        lines = (tmp_path / "github_env").read_text().splitlines()
        assert {line.partition("=")[0] for line in lines} == set(VARIABLES) - {"OTHER"}
        assert "AML_WORKSPACE_ID=/subscriptions/x PATH=/evil" in lines

    def test_a_variable_that_is_missing_or_empty_is_named(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, {**VARIABLES, "AZURE_LOCATION": "", "AZURE_CLIENT_ID": " "})
        assert done.returncode == 1
        assert done.stdout == (
            "::error::not set: AZURE_CLIENT_ID, AZURE_LOCATION; run 'azd pipeline config', or set them in the GitHub "
            "environment\n"
        )
        assert not (tmp_path / "calls").exists()

    def test_a_refused_sign_in_ends_the_job(self, tmp_path: Path) -> None:
        (tmp_path / "failing").write_text("auth")
        assert self.run(tmp_path, VARIABLES).returncode == 7

    def test_a_first_deployment_has_no_outputs(self, tmp_path: Path) -> None:
        (tmp_path / "failing").write_text("env")
        done = self.run(tmp_path, VARIABLES)
        assert (done.returncode, done.stdout) == (0, "::notice::prod has not been deployed yet\n")
