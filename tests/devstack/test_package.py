"""Building the deployed zip, with a stand-in for pip. tests/runtime checks the real zip."""

import importlib.util
import sys
import zipfile
from pathlib import Path

import pytest

from devstack.package import AZURE, PackagingFailed, app_files, build, main

# A stand-in for a Python executable. It compiles with the real Python. As pip, it installs one module, a script and a
# cache into the folder of --target, and records the call.
PIP = """#!/bin/sh
[ "$2" = compileall ] && exec {python} "$@"
echo "$@" >> "{calls}"
while [ "$1" != "--target" ]; do shift; done
mkdir -p "$2/needed/__pycache__" "$2/bin"
echo 'x = 1' > "$2/needed/__init__.py"
mkdir -p "$2/needed-1.dist-info"
printf 'needed/__init__.py,sha256=x,6\\n../../bin/needed,sha256=%s,9\\n' "$0" > "$2/needed-1.dist-info/RECORD"
touch "$2/needed/__pycache__/x.pyc" "$2/bin/needed"
"""
FAILING_PIP = "#!/bin/sh\necho 'ERROR: No matching distribution found for needed' >&2\nexit 1\n"


TAG = sys.implementation.cache_tag
_UNCHECKED_HASH = b"\x01\0\0\0"  # PEP 552


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@pytest.fixture
def python(tmp_path: Path, calls: Path) -> Path:
    return program(tmp_path / "python", PIP.format(calls=calls, python=sys.executable))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, text in {
        ".funcignore": "# a comment\ntests\n*.md\n/only-here\n",
        "function_app.py": "app = 1",
        "requirements.txt": "needed==1",
        "constraints.txt": "",
        "README.md": "",
        "tests/test_it.py": "",
        "shared/tests/deep.py": "",
        "shared/only-here/kept.py": "",
        "only-here/gone.py": "",
        ".python_packages/lib/site-packages/stale.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_zip_contains_dependencies_but_no_ignored_files(python: Path, project: Path, tmp_path: Path) -> None:
    built = build(python, tmp_path / "dist", project=project)
    with zipfile.ZipFile(built.path) as archive:
        assert archive.namelist() == [
            ".funcignore",
            ".python_packages/lib/site-packages/needed/__init__.py",
            f".python_packages/lib/site-packages/needed/__pycache__/__init__.{TAG}.pyc",
            ".python_packages/lib/site-packages/needed-1.dist-info/RECORD",
            f"__pycache__/function_app.{TAG}.pyc",
            "constraints.txt",
            "function_app.py",
            "requirements.txt",
            f"shared/only-here/__pycache__/kept.{TAG}.pyc",
            "shared/only-here/kept.py",
        ]
        assert archive.read("function_app.py") == b"app = 1"
        assert {(info.date_time, info.external_attr >> 16) for info in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 0o100644)
        }


def test_the_zip_does_not_depend_on_the_python_that_builds_it_and_its_bytecode_is_unchecked(
    project: Path, tmp_path: Path, calls: Path
) -> None:
    zips = []
    for name in ("one", "two"):
        python = program(tmp_path / name / "python", PIP.format(calls=calls, python=sys.executable))
        zips.append(build(python, tmp_path / name / "dist", project=project).path)
    assert zips[0].read_bytes() == zips[1].read_bytes()
    with zipfile.ZipFile(zips[0]) as archive:
        compiled = archive.read(f"__pycache__/function_app.{TAG}.pyc")
    assert compiled[:8] == importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH
    assert b"/home/site/wwwroot/function_app.py" in compiled
    assert str(tmp_path).encode() not in compiled


def test_a_file_that_cannot_be_compiled_is_named(python: Path, project: Path, tmp_path: Path) -> None:
    (project / "shared" / "broken.py").write_text("def :")
    with pytest.raises(PackagingFailed, match=r"fix them or exclude them in \.funcignore: (?s:.*)shared/broken\.py"):
        build(python, tmp_path / "dist", project=project)
    assert list((tmp_path / "dist").glob("*.zip")) == []


def test_pip_installs_wheels_for_azure_only_if_something_has_changed(
    python: Path, project: Path, tmp_path: Path, calls: Path
) -> None:
    def built() -> list[str]:
        build(python, tmp_path / "dist", project=project)
        return calls.read_text().splitlines()

    (call,) = built()
    assert f"--requirement {project / 'requirements.txt'} {' '.join(AZURE)} " in call
    assert "--python-version 3.13" in call
    assert "--only-binary=:all:" in call
    assert built() == [call]
    (project / "constraints.txt").write_text("other==2")
    assert (len(built()), len(built())) == (2, 2)


def test_two_builds_at_once_share_the_installed_dependencies(project: Path, tmp_path: Path, calls: Path) -> None:
    """The build that finishes second uses what the first one has installed."""
    installed = tmp_path / "dist" / "python_packages"
    first = program(tmp_path / "first", PIP.format(calls=calls, python=sys.executable))
    second = program(
        tmp_path / "second",
        PIP.format(calls=calls, python=sys.executable) + f'cp -r "$2" "{installed}/$(cat {tmp_path / "name"})"\n',
    )
    build(first, tmp_path / "dist", project=project)
    (name,) = installed.iterdir()
    (tmp_path / "name").write_text(name.name)
    name.rename(tmp_path / "gone")
    built = build(second, tmp_path / "dist", project=project)
    assert {entry.source.parents[1] for entry in built.dependencies} == {name}
    assert list(installed.iterdir()) == [name]


def test_without_a_funcignore_nothing_is_packaged(project: Path) -> None:
    (project / ".funcignore").unlink()
    with pytest.raises(PackagingFailed, match=r"has no \.funcignore; without it, every file"):
        list(app_files(project))


def test_the_command_prints_every_file_and_the_size(
    python: Path, project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--python", str(python), "--folder", str(tmp_path / "dist"), "--project", str(project)]) == 0
    *files, total = capfd.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in files] == [
        ["34", ".funcignore"],
        ["0", "constraints.txt"],
        ["7", "function_app.py"],
        ["9", "requirements.txt"],
        ["0", "shared/only-here/kept.py"],
        ["6", ".python_packages/lib/site-packages/needed (1 files)"],
        ["30", ".python_packages/lib/site-packages/needed-1.dist-info (1 files)"],
    ]
    (zip_file,) = (tmp_path / "dist").glob("*.zip")
    assert total == f"{zip_file}: {zip_file.stat().st_size:,} bytes, 7 files (5 of the app), 3 compiled files"


def test_a_failure_of_pip_is_reported_with_exit_code_1(
    project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failing = program(tmp_path / "python", FAILING_PIP)
    assert main(["--python", str(failing), "--folder", str(tmp_path / "dist"), "--project", str(project)]) == 1
    assert capfd.readouterr().err == (
        "devstack.package: pip cannot install the dependencies:\nERROR: No matching distribution found for needed\n"
    )
    assert [path.name for path in (tmp_path / "dist").rglob("*")] == ["python_packages"]
