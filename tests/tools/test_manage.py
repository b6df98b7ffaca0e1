"""``manage.py`` on a new machine: it finds the environment .venv, or says how to make it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.version import VERSION
from tests.support import ROOT

# Without -S, this Python would be the one of an activated environment.
BARE = (sys.executable, "-S", "-E")
OTHER_VERSION = "import runpy, sys; sys.version_info = (3, {}); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
NEEDS = "manage.py: nextstage needs Python 3.11, 3.12 or 3.13, and this is 3."


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the program, without an environment."""
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copy(ROOT / "manage.py", folder)
    for package in ("handlers", "shared", "tools"):
        (folder / package).symlink_to(ROOT / package)
    return folder


def add_venv(clone: Path, script: str = f'exec "{sys.executable}" "$@"') -> None:
    """Create an environment whose Python is a shell script."""
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)


def run(clone: Path, *command: str) -> tuple[int, str, str]:
    """Run ``manage.py --version`` from another folder; return its exit code, the version, and its error message."""
    arguments = [*command, str(clone / "manage.py"), "--version"]
    result = subprocess.run(arguments, cwd=clone.parent, capture_output=True, text=True, check=False, timeout=60)
    return result.returncode, result.stdout.strip().partition(" ")[0], result.stderr


def old_or_new(minor: int, *python: str) -> tuple[str, ...]:
    """Return a command that runs a script as another version of Python would."""
    return *python, "-c", OTHER_VERSION.format(minor)


@pytest.mark.parametrize("python", [BARE, old_or_new(9, *BARE), old_or_new(14, sys.executable)])
def test_it_finds_the_environment(clone: Path, python: tuple[str, ...]) -> None:
    add_venv(clone)
    assert run(clone, *python) == (0, VERSION, "")


def test_another_activated_environment_is_used_if_it_has_the_packages(clone: Path) -> None:
    add_venv(clone, "exit 9")
    assert run(clone, sys.executable) == (0, VERSION, "")
    assert run(clone, *BARE)[0] == 9


def test_without_the_packages(clone: Path) -> None:
    assert run(clone, *BARE) == (2, "", "manage.py: typer is not installed; run: make setup\n")
    add_venv(clone, f'exec "{sys.executable}" -S "$@"')
    (clone / ".venv" / "bin" / "python").unlink()
    (clone / ".venv" / "bin" / "python").symlink_to("/nowhere")
    broken = "manage.py: typer is not installed; run: rm -rf .venv && make setup\n"
    assert run(clone, *BARE) == (2, "", broken), "the Python of .venv was removed"
    (clone / ".venv" / "bin" / "python").unlink()
    (clone / ".venv" / ".ready").touch()
    assert run(clone, *BARE) == (2, "", broken), "make would do nothing"


def test_a_missing_module_of_the_program_is_not_a_missing_package(clone: Path) -> None:
    (clone / "tools").unlink()
    code, _, error = run(clone, sys.executable)
    assert (code, "No module named 'tools'" in error, "make setup" in error) == (1, True, False)


@pytest.mark.parametrize("minor", [9, 14])
def test_a_wrong_version(clone: Path, minor: int) -> None:
    assert run(clone, *old_or_new(minor, *BARE)) == (2, "", f"{NEEDS}{minor}; run: make setup\n")
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    wrong = old_or_new(minor, str(python), "-S", "-E")
    assert run(clone, *wrong) == (2, "", f"{NEEDS}{minor}; run: rm -rf .venv && make setup\n")


def test_a_clone_can_execute_it() -> None:
    assert os.access(ROOT / "manage.py", os.X_OK)
