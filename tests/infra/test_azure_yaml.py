"""azure.yaml: which azd is needed, what it deploys, and which values reach the pipelines."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from packaging.utils import canonicalize_name

from devstack.package import DEFAULT_VERSION
from tests.infra import bicep
from tests.infra.bicep import INFRA
from tests.support import ROOT
from tools.azure.plan import RUN_STATUSES
from tools.azure.sources import SOURCES

AZURE_YAML = yaml.safe_load((ROOT / "azure.yaml").read_text())
HOOK = ROOT / "infra" / "hooks" / "prepackage.py"

BY_AZD = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_TYPE"}


def test_azd_must_know_hooks_in_python_and_prebuilt_packages() -> None:
    """They came with 1.24.0, as far as hooks have a config, and 1.23.5.

    Source: Azure/azure-dev, cli/azd/CHANGELOG.md, #7451, #7690 and #6748.
    """
    assert AZURE_YAML["requiredVersions"] == {"azd": ">= 1.24.0"}
    assert (AZURE_YAML["name"], AZURE_YAML["metadata"]) == ("nextstage", {"template": "nextstage"})


def test_azd_deploys_the_folder_of_the_package_as_it_is() -> None:
    assert AZURE_YAML["services"] == {
        "app": {
            "project": ".",
            "language": "python",
            "host": "function",
            "dist": "dist/app",
            "remoteBuild": False,
            "hooks": {
                "prepackage": {
                    "run": "infra/hooks/prepackage.py",
                    "kind": "python",
                    "interactive": True,
                    "config": {"virtualEnvName": ".venv"},
                }
            },
        }
    }
    assert "'azd-service-name': 'app'" in bicep.read("main.bicep")


def test_the_default_version_of_python_is_that_of_the_deployment() -> None:
    parameters = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert parameters["pythonVersion"]["value"] == f"${{NEXTSTAGE_PYTHON_VERSION={DEFAULT_VERSION}}}"
    assert f"$(or $(NEXTSTAGE_PYTHON_VERSION),{DEFAULT_VERSION})" in (ROOT / "Makefile").read_text()


def test_every_value_that_a_person_sets_reaches_the_pipelines() -> None:
    variables = AZURE_YAML["pipeline"]["variables"]
    assert variables == sorted(set(variables), key=lambda name: name.replace("_", ""))
    read = set(re.findall(r"\$\{(\w+)", (INFRA / "main.parameters.json").read_text()))
    assert read - BY_AZD - bicep.outputs("main.bicep") <= set(variables)
    assert {"AML_WORKSPACE_ID", "AML_WORKSPACE_IDS", SOURCES, RUN_STATUSES} <= set(variables)


class TestPrepackage:
    """azd runs the hook in its folder, with the values of the environment as environment variables."""

    @staticmethod
    def run(version: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(HOOK)],
            cwd=folder,
            env={**os.environ, "NEXTSTAGE_PYTHON_VERSION": version},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_it_builds_for_the_python_of_the_environment(self, tmp_path: Path) -> None:
        done = self.run("2.7", tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "devstack.package: there is no requirements/azure-2.7.txt, so the app cannot be packaged for Python 2.7; "
            "set NEXTSTAGE_PYTHON_VERSION to a version that has such a file\n"
        )

    def test_an_environment_without_packages(self, tmp_path: Path) -> None:
        """As azd leaves it if the network fails while it installs them."""
        command = [sys.executable, "-I", "-S", str(HOOK)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("prepackage: pathspec is not installed; delete infra/hooks/.venv, and run azd")

    def test_it_needs_only_what_azd_installs(self, tmp_path: Path) -> None:
        """With the packages of ``make package``, which are among those of the hooks."""
        code = "import sys; sys.path.insert(0, sys.argv[1]); import devstack.package; print(*sys.modules)"
        command = [sys.executable, "-I", "-c", code, str(ROOT)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        ours = {"devstack", "shared", "pathspec", "re2", "typing_extensions"}  # pathspec uses re2 if it is there
        imported = {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names
        assert {name for name in imported if not name.startswith("_")} - ours == set()


class TestPackagesOfTheHooks:
    """azd installs infra/hooks/requirements.txt. pip checks hashes if a file has some."""

    @staticmethod
    def pins(path: Path) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, version in re.findall(r"(?m)^([\w.-]+)==([\w.]+)", path.read_text()):
            found.setdefault(canonicalize_name(name), set()).add(version)
        return found

    def test_each_has_the_version_that_is_tested_and_hashes(self) -> None:
        text = (HOOK.parent / "requirements.txt").read_text()
        listed = self.pins(HOOK.parent / "requirements.txt")
        assert len(re.findall(r"(?m)^\w.* \\\n    --hash=sha256:", text)) == sum(len(each) for each in listed.values())
        tested = {**self.pins(ROOT / "constraints.txt"), **self.pins(ROOT / "requirements.txt")}
        only_on_windows = {"colorama"}
        assert {name for name in listed if listed[name] != tested.get(name)} == only_on_windows

    def test_all_that_the_commands_and_the_packaging_need_is_listed(self) -> None:
        listed = self.pins(HOOK.parent / "requirements.txt")
        for name in ("requirements.txt", "requirements/tools.txt", "requirements/package.txt"):
            needed = re.findall(r"(?m)^(\w[\w.-]*)", (ROOT / name).read_text())
            assert {canonicalize_name(package) for package in needed} <= set(listed), name
