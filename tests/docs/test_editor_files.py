"""The dev container and the files of Visual Studio Code: they can be read, and what they name exists."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.azurite import INSTALL_COMMAND
from devstack.host.__main__ import DEFAULT_PORT
from tests.infra import bicep
from tests.support import ROOT

FILES = [
    ".devcontainer/devcontainer.json",
    *(f".vscode/{name}.json" for name in ("extensions", "launch", "settings", "tasks")),
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LOCAL = (ROOT / "docs" / "local.md").read_text(encoding="utf-8")


def read(name: str) -> Any:
    """Return a file of JSON with comments, each on lines of its own."""
    return json.loads(re.sub(r"(?m)^\s*//.*$", "", (ROOT / name).read_text(encoding="utf-8")))


CONTAINER = read(FILES[0])
TASKS = {task["label"]: task for task in read(".vscode/tasks.json")["tasks"]}
CONFIGURATIONS = {entry["name"]: entry for entry in read(".vscode/launch.json")["configurations"]}


def strings(document: Any) -> list[str]:
    match document:
        case dict():
            return [text for value in document.values() for text in strings(value)]
        case list():
            return [text for value in document for text in strings(value)]
        case str():
            return [document]
        case _:
            return []


def test_every_make_target_exists() -> None:
    known = set(re.findall(r"^([a-z.-]+):", MAKEFILE, re.MULTILINE))
    named = [
        target
        for name in FILES
        for text in strings(read(name))
        for targets in re.findall(r"^make ([a-z. -]+)", text)
        for target in targets.split()
    ]
    assert {"setup", "azurite", "start", "ado", "test", "lint"} <= set(named) <= known


def test_every_module_and_program_exists() -> None:
    modules = [entry["module"] for entry in CONFIGURATIONS.values() if "module" in entry]
    assert all(importlib.util.find_spec(module) for module in modules), modules
    programs = [entry["program"] for entry in CONFIGURATIONS.values() if "program" in entry]
    files = [program.replace("${workspaceFolder}", str(ROOT)) for program in programs]
    commands = [word for task in TASKS.values() for word in task.get("command", "").split() if word.endswith(".py")]
    assert [path for path in [*files, *(str(ROOT / word) for word in commands)] if not Path(path).is_file()] == []
    assert len(files) == len(commands) == 1


def test_every_task_that_is_named_exists() -> None:
    named = {
        *(entry["preLaunchTask"] for entry in CONFIGURATIONS.values() if "preLaunchTask" in entry),
        *(name for task in TASKS.values() for name in task.get("dependsOn", ())),
    }
    assert named <= set(TASKS)
    assert {"start", "ado", "azurite", "test", "lint", "check"} <= set(TASKS)


def test_versions_agree_with_the_rest_of_the_project() -> None:
    (image,) = re.findall(r"^mcr\.microsoft\.com/devcontainers/python:1-(\d+\.\d+)-bookworm$", CONTAINER["image"])
    assert bicep.params("main.bicep")["pythonVersion"] == f"'{image}'"
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    (node,) = {step["with"]["node-version"] for step in steps if "node-version" in step.get("with", {})}
    features = CONTAINER["features"]
    assert features["ghcr.io/devcontainers/features/node:1"] == {"version": node}
    assert all(re.search(r":\d+$", feature) for feature in features), "each feature has a version"
    core_tools = CONTAINER["postCreateCommand"]["core-tools"]
    assert re.fullmatch(r"npm install --global azure-functions-core-tools@4\.\d+\.\d+", core_tools)
    # Azurite is the one of package-lock.json: `npm ci` and `npx --prefix` use no other.
    assert INSTALL_COMMAND.partition(" --prefix ")[2] == "devstack/azurite"
    assert "npx --prefix devstack/azurite azurite " in TASKS["azurite"]["command"]
    assert TASKS["azurite"]["command"].partition(" && ")[2] in LOCAL


def test_ports_agree_with_the_rest_of_the_project() -> None:
    (emulator,) = re.findall(r"^ADO_PORT \?= (\d+)$", MAKEFILE, re.MULTILINE)
    assert CONTAINER["forwardPorts"] == [DEFAULT_PORT, int(emulator), 10002]
    assert set(CONTAINER["portsAttributes"]) == {str(port) for port in CONTAINER["forwardPorts"]}
    assert CONFIGURATIONS["App in the stand-in host"]["args"] == ["--port", str(DEFAULT_PORT)]
    assert TASKS["func"]["command"] == f"host start --port {DEFAULT_PORT}"
    assert f"PORT     ?= {DEFAULT_PORT}\n" in MAKEFILE


def test_the_container_has_the_recommended_extensions() -> None:
    recommended = set(read(".vscode/extensions.json")["recommendations"])
    installed = set(CONTAINER["customizations"]["vscode"]["extensions"])
    assert recommended - installed == {"ms-vscode-remote.remote-containers"}
    assert installed <= recommended


def test_the_debugger_starts_when_the_emulator_is_ready() -> None:
    background = TASKS["ado"]["problemMatcher"]["background"]
    ready = "devstack.ado: http://127.0.0.1:7080/contoso (project mlops)"
    assert re.search(background["endsPattern"], ready)
    program = (ROOT / "devstack" / "ado" / "__main__.py").read_text(encoding="utf-8")
    assert 'print(f"devstack.ado: {' in program


@pytest.mark.parametrize("severity", ["error", "warning"])
def test_findings_of_check_are_recognized(severity: str) -> None:
    pattern = TASKS["check"]["problemMatcher"]["pattern"]
    found = re.match(pattern["regexp"], f"routes.yaml:4:12: {severity}: 'Nope': is not an event type")
    assert found is not None
    groups = [found[pattern[name]] for name in ("file", "line", "column", "severity", "message")]
    assert groups == ["routes.yaml", "4", "12", severity, "'Nope': is not an event type"]


class TestWindows:
    """What would break a clone on Windows, or one on Windows that is mounted into a container."""

    @pytest.fixture
    def entries(self) -> list[list[str]]:
        """Mode, end of lines in the repository, attributes and path of each file."""
        if shutil.which("git") is None or not (ROOT / ".git").exists():
            pytest.skip("this is not a clone")
        form = "%(objectmode)%x09%(eolinfo:index)%x09%(eolattr)%x09%(path)"
        command = ["git", "ls-files", "-z", f"--format={form}"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        return [line.split("\t") for line in listed.split("\0") if line]

    def test_names(self, entries: list[list[str]]) -> None:
        names = [path for *_, path in entries]
        reserved = r'[<>:"\\|?*]|[. ](/|$)|(?i:(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.|/|$))'
        assert [name for name in names if re.search(reserved, name) or len(name) > 150] == []
        assert len({name.casefold() for name in names}) == len(names)

    def test_there_are_no_links(self, entries: list[list[str]]) -> None:
        assert {mode for mode, *_ in entries} == {"100644", "100755"}

    def test_text_has_no_carriage_returns(self, entries: list[list[str]]) -> None:
        texts = [entry for entry in entries if not entry[-1].endswith(".png")]
        assert [path for _, end, _, path in texts if end not in {"lf", "none"}] == []
        assert {attribute for _, _, attribute, _ in entries} == {"text=auto eol=lf"}
