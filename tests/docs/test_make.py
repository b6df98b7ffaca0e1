"""The Makefile's choices: Core Tools or the stand-in, and which Pythons there are."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT

# Programs in place of others: each notes how it was called, and from which environment.
RECORDER = """#!/bin/sh
echo "{name} $* | $(pwd) | $VIRTUAL_ENV" >> "{calls}"
"""
# What a Python answers to a look at its version, in place of a real one.
PYTHON = """#!/bin/sh
case "$2" in *'!= "{version}"'*) exit 0;; *) exit 1;; esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder whose `.venv` is up to date, with recorders in place of Python."""
    folder = tmp_path / "project"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "local.settings.sample.json", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    shutil.copy(ROOT / "requirements.txt", folder)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    program(folder / ".venv" / "bin" / "python", RECORDER.format(name="python", calls=tmp_path / "calls"))
    (folder / ".venv" / "bin" / "activate").write_text(f"VIRTUAL_ENV={folder}/.venv\nexport VIRTUAL_ENV\n")
    (folder / ".venv" / ".ready").touch()
    (folder / ".venv-aml").mkdir()
    (folder / ".venv-aml" / ".ready").touch()
    return folder


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make(project: Path, *targets: str, **environment: str) -> str:
    """Runs make with nothing on the PATH but what its recipes call, and what a test has put into ``bin``."""
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
    def test_core_tools_where_they_are_installed(self, project: Path, tmp_path: Path) -> None:
        program(tmp_path / "bin" / "func", RECORDER.format(name="func", calls=tmp_path / "calls"))
        make(project, "start")
        assert (tmp_path / "calls").read_text() == f"func start --port 7071 | {project} | {project}/.venv\n"

    def test_the_stand_in_where_they_are_not(self, project: Path, tmp_path: Path) -> None:
        make(project, "start")
        assert (tmp_path / "calls").read_text() == f"python -m devstack.host --port 7071 | {project} | \n"

    def test_the_settings_are_copied_the_first_time(self, project: Path) -> None:
        make(project, "start")
        settings = project / "local.settings.json"
        assert settings.read_text() == (ROOT / "local.settings.sample.json").read_text()
        settings.write_text("{}")
        make(project, "start")
        assert settings.read_text() == "{}"


class TestPythons:
    @pytest.mark.parametrize(
        ("target", "end"),
        [("runtime", "the tests on Microsoft's Functions runtime do not run"), ("package", "Error 1")],
    )
    def test_where_there_is_no_python_3_13_that_is_said(self, project: Path, target: str, end: str) -> None:
        said = make(project, target)
        assert "there is no Python 3.13 on the PATH or under ~/.pyenv/versions" in said
        assert end in said

    def test_pyenvs_is_found_behind_a_shim_that_only_says_it_is_not_there(self, project: Path, tmp_path: Path) -> None:
        program(
            tmp_path / "bin" / "python3.13", "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n"
        )
        found = program(tmp_path / "pyenv" / "versions" / "3.13.7" / "bin" / "python", PYTHON.format(version="3.13"))
        (project / ".venv-runtime").mkdir()
        (project / ".venv-runtime" / ".ready").touch()
        said = make(project, "--dry-run", "runtime", PYENV_ROOT=str(tmp_path / "pyenv"))
        assert f'[ -n "{found}" ]' in said

    def test_each_version_that_is_there_runs_the_tests(self, project: Path, tmp_path: Path) -> None:
        for version in ("3.11", "3.12"):
            program(tmp_path / "bin" / f"python{version}", PYTHON.format(version=version))
            recorder = RECORDER.format(name=version, calls=tmp_path / "calls")
            program(project / f".venv-{version}" / "bin" / "python", recorder)
            (project / f".venv-{version}" / ".ready").touch()
        said = make(project, "test-all")
        assert (tmp_path / "calls").read_text().splitlines() == [
            f"{version} -m pytest -n 3 --dist worksteal | {project} | " for version in ("3.11", "3.12")
        ]
        assert "== no Python 3.13 is there" in said

    def test_a_version_that_fails_fails_all_and_is_named(self, project: Path, tmp_path: Path) -> None:
        program(tmp_path / "bin" / "python3.12", PYTHON.format(version="3.12"))
        program(project / ".venv-3.12" / "bin" / "python", "#!/bin/sh\nexit 1\n")
        (project / ".venv-3.12" / ".ready").touch()
        said = make(project, "test-all")
        assert "test-all: failed on Python 3.12\n" in said
        assert "Error 1" in said
