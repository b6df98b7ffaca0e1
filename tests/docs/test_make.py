"""The Makefile: the choice between Core Tools and the stand-in host, and the search for Python."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT

# A stand-in for a program: it records its arguments, its folder and its virtual environment.
RECORDER = """#!/bin/sh
echo "{name} $* | $(pwd) | $VIRTUAL_ENV" >> "{calls}"
"""
# A stand-in for Python: it answers the check of its version.
PYTHON = """#!/bin/sh
case "$2" in *'!= "{version}"'*) exit 0;; *) exit 1;; esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder whose `.venv` is up to date, with a recorder instead of Python."""
    folder = tmp_path / "project"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "local.settings.sample.json", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    shutil.copy(ROOT / "requirements.txt", folder)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    program(folder / ".venv" / "bin" / "python", RECORDER.format(name="python", calls=tmp_path / "calls"))
    (folder / ".venv" / "bin" / "activate").write_text(f"VIRTUAL_ENV={folder}/.venv\nexport VIRTUAL_ENV\n")
    (folder / ".venv" / ".ready").touch()
    (folder / "components" / "digits").mkdir(parents=True)
    shutil.copy(ROOT / "components" / "digits" / "conda.yml", folder / "components" / "digits")
    packager = RECORDER.format(name="package", calls=tmp_path / "calls")
    program(folder / ".venv-package" / "bin" / "python", packager)
    for name in (".venv-aml", ".venv-mlflow", ".venv-package"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / ".ready").touch()
    return folder


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make(project: Path, *targets: str, **environment: str) -> str:
    """Run make. The PATH has only the programs that the recipes call and those that the test has put into ``bin``."""
    folder = project.parent / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("cp", "touch", "make"):
        if not (folder / name).exists():
            (folder / name).symlink_to(str(shutil.which(name)))
    result = subprocess.run(
        [str(folder / "make"), "--no-print-directory", *targets],
        cwd=project,
        env={"PATH": str(folder), "HOME": str(project), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


class TestStart:
    def test_core_tools_are_used_if_they_are_installed(self, project: Path, tmp_path: Path) -> None:
        program(tmp_path / "bin" / "func", RECORDER.format(name="func", calls=tmp_path / "calls"))
        make(project, "start")
        assert (tmp_path / "calls").read_text() == f"func start --port 7071 | {project} | {project}/.venv\n"

    def test_the_stand_in_host_is_used_otherwise(self, project: Path, tmp_path: Path) -> None:
        make(project, "start")
        assert (tmp_path / "calls").read_text() == f"python -m devstack.host --port 7071 | {project} | \n"

    @pytest.mark.parametrize("target", ["start", "setup"])
    def test_the_settings_are_copied_the_first_time(self, project: Path, target: str) -> None:
        make(project, target)
        settings = project / "local.settings.json"
        assert settings.read_text() == (ROOT / "local.settings.sample.json").read_text()
        settings.write_text("{}")
        make(project, "start")
        assert settings.read_text() == "{}"

    def test_the_emulator_gets_the_pipelines_of_another_file(self, project: Path, tmp_path: Path) -> None:
        make(project, "ado")
        make(project, "ado", "PIPELINES=my pipelines.yaml")
        assert (tmp_path / "calls").read_text() == (
            f"python -m devstack.ado --port 7080 | {project} | \n"
            f"python -m devstack.ado --port 7080 --pipelines my pipelines.yaml | {project} | \n"
        )


class TestPythons:
    @pytest.mark.parametrize(
        ("target", "end"),
        [("runtime", "the tests on Microsoft's Functions runtime are skipped"), ("package", "Error 1")],
    )
    def test_a_missing_python_3_13_is_reported(self, project: Path, target: str, end: str) -> None:
        output = make(project, target)
        assert "Python 3.13 was not found on the PATH or in ~/.pyenv/versions" in output
        assert end in output

    def test_python_is_found_in_pyenv_even_if_its_shim_fails(self, project: Path, tmp_path: Path) -> None:
        program(
            tmp_path / "bin" / "python3.13", "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n"
        )
        found = program(tmp_path / "pyenv" / "versions" / "3.13.7" / "bin" / "python", PYTHON.format(version="3.13"))
        (project / ".venv-runtime").mkdir()
        (project / ".venv-runtime" / ".ready").touch()
        output = make(project, "--dry-run", "runtime", PYENV_ROOT=str(tmp_path / "pyenv"))
        assert f'[ -n "{found}" ]' in output

    def test_the_package_is_compiled_by_the_python_of_the_app(self, project: Path, tmp_path: Path) -> None:
        program(tmp_path / "bin" / "python3.12", PYTHON.format(version="3.12"))
        output = make(project, "package", NEXTSTAGE_PYTHON_VERSION="3.12")
        assert output == ""
        assert (tmp_path / "calls").read_text() == (
            f"package -m devstack.package --python-version 3.12 --python python3.12 | {project} | \n"
        )

    def test_each_installed_version_runs_the_tests(self, project: Path, tmp_path: Path) -> None:
        for version in ("3.11", "3.12"):
            program(tmp_path / "bin" / f"python{version}", PYTHON.format(version=version))
            recorder = RECORDER.format(name=version, calls=tmp_path / "calls")
            program(project / f".venv-{version}" / "bin" / "python", recorder)
            (project / f".venv-{version}" / ".ready").touch()
        output = make(project, "test-all")
        assert (tmp_path / "calls").read_text().splitlines() == [
            f"{version} -m pytest -n 4 --dist worksteal | {project} | " for version in ("3.11", "3.12")
        ]
        assert "== Python 3.13 was not found" in output

    def test_a_version_that_fails_is_named_and_fails_the_target(self, project: Path, tmp_path: Path) -> None:
        program(tmp_path / "bin" / "python3.12", PYTHON.format(version="3.12"))
        program(project / ".venv-3.12" / "bin" / "python", "#!/bin/sh\nexit 1\n")
        (project / ".venv-3.12" / ".ready").touch()
        output = make(project, "test-all")
        assert "test-all: failed on Python 3.12\n" in output
        assert "Error 1" in output


def test_help_lists_the_targets(project: Path) -> None:
    """All except those that other targets use."""
    (project.parent / "bin").mkdir()
    (project.parent / "bin" / "sed").symlink_to(str(shutil.which("sed")))
    listed = {line.split()[1] for line in make(project).splitlines() if line.startswith("make ")}
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed == {*phony.split()} - {"help", "azurite", "kusto", "axe", "runtime", "aml", "mlflow"}
