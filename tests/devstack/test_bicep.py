"""``make bicep``: finds the compiler as azd does, and compares what it says with the checked-in files.

The compiler is a stand-in with the commands, the output and the files of Microsoft's.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack import bicep
from tests.infra import bicep as reader
from tests.support import ROOT

COMPILER = f"""#!{sys.executable} -IS
import json, os, pathlib, sys
command, *arguments = sys.argv[1:]
here = pathlib.Path.cwd()
with open(os.environ["CALLS"], "a") as calls:
    print(command, *arguments, file=calls)
if command in ("lint", "build"):
    assert (here / "bicepconfig.json").exists()
    for path in sorted(here.rglob("*.bicep")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            level, found, rest = line.partition("// says ")[2].partition(" ")
            if found:
                print(f"file://{{path}}({{number}},1) : {{level}} {{rest}} [https://aka.ms/x]", file=sys.stderr)
    if command == "build":
        print("a template : Warning in a string")
elif command == "format":
    for path in here.rglob("*.bicep"):
        path.write_text(path.read_text().replace("  =  ", " = "))
elif command == "snapshot":
    text = (here / arguments[0]).read_text()
    kinds = (here / "main.bicep").read_text().count("resource ")
    kinds += "param profile = 'private'" in text
    if "broken" in (here / "main.bicep").read_text():
        sys.exit("Template snapshotting could not be completed")
    diagnostics = ["one Warning X: short-circuited"] if "unknown name" in (here / "main.bicep").read_text() else []
    resources = [{{"type": "Microsoft.Storage/storageAccounts"}}] * kinds + [{{"type": "Microsoft.Web/sites"}}]
    (here / arguments[0].replace(".bicepparam", ".snapshot.json")).write_text(
        "\\ufeff" + json.dumps({{"predictedResources": resources, "diagnostics": diagnostics, "outputs": {{}}}}))
"""
PROFILES = ("dev", "private")
MAIN = "@allowed(['dev', 'private'])\nparam profile string = 'dev'\nparam a string = ''\nresource one 'x'\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one template and the lists of its profiles, and the stand-in compiler."""
    folder = tmp_path / "my project"
    (folder / "infra" / "modules").mkdir(parents=True)
    (folder / "infra" / "main.bicep").write_text(MAIN)
    (folder / "infra" / "modules" / "one.bicep").write_text("param b string = ''\n")
    (folder / "infra" / "bicepconfig.json").write_text("{}")
    (folder / "infra" / "snapshots").mkdir()
    for profile in PROFILES:
        accounts = 2 if profile == "private" else 1
        (folder / "infra" / "snapshots" / f"{profile}.txt").write_text(
            f"Microsoft.Storage/storageAccounts {accounts}\nMicrosoft.Web/sites 1\n"
        )
    monkeypatch.setenv("AZD_BICEP_TOOL_PATH", str(executable(tmp_path / "a compiler", COMPILER)))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*arguments: str) -> tuple[int, str]:
        code = bicep.main(arguments)
        return code, "".join(capfd.readouterr())

    return run


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


Check = Callable[..., tuple[int, str]]


def test_nothing_is_found(project: Path, tmp_path: Path, check: Check) -> None:
    code, output = check()
    assert (code, output.splitlines()[-1]) == (0, "no warnings, no errors, no differences")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[:3] == ["lint --pattern **/*.bicep", "build main.bicep --stdout", "format --pattern **/*.bicep"]
    where = "--mode overwrite --subscription-id 00000000-0000-0000-0000-000000000000 --location westeurope"
    assert calls[3:] == [f"snapshot {profile}.bicepparam {where}" for profile in PROFILES]
    assert not list(project.rglob("*.bicepparam")), "the compiler writes into a copy only"


@pytest.mark.parametrize("level", ["Warning", "Error"])
def test_a_finding_fails_and_is_shown_once(project: Path, check: Check, level: str) -> None:
    (project / "infra" / "modules" / "one.bicep").write_text(f"// says {level} BCP037: no such property\n")
    code, output = check()
    assert code == 1
    assert output.count(f"infra/modules/one.bicep(1,1) : {level} BCP037: no such property [https://aka.ms/x]\n") == 1
    assert output.count("BCP037") == 1


def test_an_information_is_shown_and_does_not_fail(project: Path, check: Check) -> None:
    (project / "infra" / "main.bicep").write_text(f"{MAIN}// says Info use-recent-api-versions: use a newer one\n")
    code, output = check()
    assert code == 0
    assert output.count("infra/main.bicep(5,1) : Info use-recent-api-versions: use a newer one") == 1


def test_a_file_that_is_not_formatted_is_shown_and_written(project: Path, check: Check) -> None:
    module = project / "infra" / "modules" / "one.bicep"
    module.write_text("param b string  =  ''\n")
    code, output = check()
    assert code == 1
    assert "--- infra/modules/one.bicep (now)\n+++ infra/modules/one.bicep (make bicep BICEP=--write)\n" in output
    assert "-param b string  =  ''\n+param b string = ''\n" in output
    assert check("--write")[0] == 0
    assert module.read_text() == "param b string = ''\n"
    assert check()[0] == 0


def test_resources_that_are_not_in_the_list_are_shown_and_written(project: Path, check: Check) -> None:
    (project / "infra" / "main.bicep").write_text(f"{MAIN}resource two 'x'\n")
    (project / "infra" / "snapshots" / "dev.txt").unlink()
    code, output = check()
    assert code == 1
    assert "-Microsoft.Storage/storageAccounts 2\n+Microsoft.Storage/storageAccounts 3\n" in output
    assert "+++ infra/snapshots/dev.txt (make bicep BICEP=--write)" in output
    assert check("--write")[0] == 0
    assert (project / "infra" / "snapshots" / "dev.txt").read_text().splitlines()[0].endswith(" 2")
    assert check()[0] == 0


def test_a_snapshot_that_fails_is_reported_and_its_list_stays(project: Path, check: Check) -> None:
    (project / "infra" / "main.bicep").write_text(f"{MAIN}// broken\n")
    code, output = check("--write")
    assert code == 1
    for profile in PROFILES:
        assert re.search(rf"'bicep snapshot {profile}.* failed with exit code 1: Template snapshotting could", output)
        assert (project / "infra" / "snapshots" / f"{profile}.txt").read_text()


def test_resources_that_only_a_deployment_knows_fail(project: Path, check: Check) -> None:
    (project / "infra" / "main.bicep").write_text(f"{MAIN}// unknown name\n")
    code, output = check()
    assert code == 1
    assert "the resources of the profile dev: one Warning X: short-circuited\n" in output


def test_the_environment_of_the_hooks_is_not_checked(project: Path, check: Check) -> None:
    package = project / "infra" / "hooks" / ".venv" / "package"
    package.mkdir(parents=True)
    (package / "one.bicep").write_text("// says Error BCP037: no such property\n")
    assert check()[0] == 0


class TestFindingTheCompiler:
    """In azd's order. Source: Azure/azure-dev, ``cli/azd/pkg/tools/bicep/bicep.go``."""

    def test_the_one_that_azd_is_told_to_use(self, tmp_path: Path) -> None:
        override = executable(tmp_path / "override", "")
        copy = executable(tmp_path / "azd" / "bin" / "bicep", "")
        on_path = executable(tmp_path / "bin" / "bicep", "")
        environment = {"AZD_CONFIG_DIR": str(tmp_path / "azd"), "PATH": str(on_path.parent)}
        assert bicep.find_compiler(environment | {"AZD_BICEP_TOOL_PATH": str(override)}) == str(override)
        assert bicep.find_compiler(environment) == str(copy)
        copy.unlink()
        assert bicep.find_compiler(environment) == str(on_path)

    def test_the_copy_in_the_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        copy = executable(tmp_path / ".azd" / "bin" / "bicep", "")
        assert bicep.find_compiler({"PATH": ""}) == str(copy)

    def test_there_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
        monkeypatch.delenv("AZD_BICEP_TOOL_PATH", raising=False)
        monkeypatch.setenv("AZD_CONFIG_DIR", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path))
        code, output = check()
        assert code == 1
        assert f"{tmp_path / 'bin' / 'bicep'} does not exist, and 'bicep' is not in PATH" in output
        assert "run 'azd provision --preview'" in output

    def test_the_one_that_azd_is_told_to_use_does_not_exist(self) -> None:
        with pytest.raises(bicep.CompilerMissing, match=r"AZD_BICEP_TOOL_PATH is '/none', but there is no such file"):
            bicep.find_compiler({"AZD_BICEP_TOOL_PATH": "/none", "PATH": ""})


def test_a_snapshot_has_a_value_for_each_parameter_without_a_default() -> None:
    params = reader.params("main.bicep")
    assert {name for name, default in params.items() if default is None} <= set(bicep.REQUIRED) <= set(params)


def test_each_profile_has_a_list() -> None:
    lists = {path.stem for path in (ROOT / "infra" / "snapshots").glob("*")}
    assert lists == set(bicep.profiles(reader.read("main.bicep")))


def test_the_rules_for_what_if_and_versions_are_on() -> None:
    text = (ROOT / "infra" / "bicepconfig.json").read_text()
    for rule, level in (("what-if-short-circuiting", "warning"), ("use-recent-api-versions", "info")):
        assert f'"{rule}": {{ "level": "{level}" }}' in text
