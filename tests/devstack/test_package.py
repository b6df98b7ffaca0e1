"""Building the deployed zip, with a stand-in for pip. tests/runtime checks the real zip."""

import importlib.util
import re
import sys
import zipfile
from pathlib import Path

import pytest

from devstack.package import AZURE, Package, PackagingFailed, app_files, build, find_python, locked, main
from tests.infra import bicep
from tests.support import ROOT

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
VERSION = "{}.{}".format(*sys.version_info)
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
        ".funcignore": "# a comment\ntests\n*.md\n/only-here\nrequirements\n",
        "function_app.py": "app = 1",
        "requirements.txt": "needed==1",
        f"requirements/azure-{VERSION}.txt": "needed==1 --hash=sha256:1\n",
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


def packaged(python: Path, folder: Path, project: Path) -> Package:
    return build(python, folder, version=VERSION, project=project, pip=python)


def test_the_zip_contains_dependencies_but_no_ignored_files(python: Path, project: Path, tmp_path: Path) -> None:
    built = packaged(python, tmp_path / "dist", project)
    with zipfile.ZipFile(built.path) as archive:
        assert archive.namelist() == [
            ".python_packages/lib/site-packages/needed/__init__.py",
            f".python_packages/lib/site-packages/needed/__pycache__/__init__.{TAG}.pyc",
            ".python_packages/lib/site-packages/needed-1.dist-info/RECORD",
            f"__pycache__/function_app.{TAG}.pyc",
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
        zips.append(packaged(python, tmp_path / name / "dist", project).path)
    assert zips[0].read_bytes() == zips[1].read_bytes()
    with zipfile.ZipFile(zips[0]) as archive:
        compiled = archive.read(f"__pycache__/function_app.{TAG}.pyc")
    assert compiled[:8] == importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH
    assert b"/home/site/wwwroot/function_app.py" in compiled
    assert str(tmp_path).encode() not in compiled


def test_a_file_that_cannot_be_compiled_is_named(python: Path, project: Path, tmp_path: Path) -> None:
    (project / "shared" / "broken.py").write_text("def :")
    with pytest.raises(PackagingFailed, match=r"fix them or exclude them in \.funcignore: (?s:.*)shared/broken\.py"):
        packaged(python, tmp_path / "dist", project)
    assert list((tmp_path / "dist").glob("*.zip")) == []


def test_pip_installs_wheels_for_azure_only_if_something_has_changed(
    python: Path, project: Path, tmp_path: Path, calls: Path
) -> None:
    def built() -> list[str]:
        packaged(python, tmp_path / "dist", project)
        return calls.read_text().splitlines()

    (call,) = built()
    assert (
        f"--requirement {project}/requirements/azure-{VERSION}.txt {' '.join(AZURE)} --python-version {VERSION} "
        in call
    )
    assert "--require-hashes --no-deps --only-binary=:all: --ignore-requires-python" in call
    assert built() == [call]
    (project / "requirements" / f"azure-{VERSION}.txt").write_text("needed==1 --hash=sha256:2\n")
    assert (len(built()), len(built())) == (2, 2)


def test_the_folder_for_azd_has_the_files_of_the_zip_and_ignores_none(
    python: Path, project: Path, tmp_path: Path
) -> None:
    """azd applies the folder's .funcignore, and leaves out __pycache__ if there is none."""
    (tmp_path / "dist" / "app").mkdir(parents=True)
    (tmp_path / "dist" / "app" / "left-over.py").touch()
    built = packaged(python, tmp_path / "dist", project)
    assert built.folder == tmp_path / "dist" / "app"
    files = {path.relative_to(built.folder).as_posix() for path in built.folder.rglob("*") if path.is_file()}
    with zipfile.ZipFile(built.path) as archive:
        assert files == {*archive.namelist(), ".funcignore"}
    assert all(line.startswith("#") for line in (built.folder / ".funcignore").read_text().splitlines())
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == ["app", built.path.name, "python_packages"]


def test_without_a_python_of_the_app_there_is_no_bytecode(python: Path, project: Path, tmp_path: Path) -> None:
    built = build(None, tmp_path / "dist", version=VERSION, project=project, pip=python)
    with zipfile.ZipFile(built.path) as archive:
        assert [name for name in archive.namelist() if name.endswith(".pyc")] == []
        assert "function_app.py" in archive.namelist()
    assert built.bytecode == 0


class TestFindPython:
    def test_the_first_with_the_version(self, tmp_path: Path) -> None:
        other = program(tmp_path / "other", "#!/bin/sh\necho 2.7; echo /usr/bin/python\n")
        broken = program(tmp_path / "broken", "#!/bin/sh\nexit 127\n")
        candidates = [("/no/such/python",), (str(broken),), (str(other),), (sys.executable,)]
        assert find_python(VERSION, *candidates) == Path(sys.executable)
        assert find_python("2.7", *candidates) == Path("/usr/bin/python")
        assert find_python("3.99", *candidates) is None

    def test_by_default_this_one(self) -> None:
        assert find_python(VERSION) == Path(sys.executable)


class TestLocked:
    @pytest.mark.parametrize(
        ("required", "listed"),
        [
            ("needed==1", "needed==1 \\\n    --hash=sha256:1"),
            ("# a comment\n-c constraints.txt\nNeeded_One==1", "needed-one==1"),
            ("needed==1; python_version < '3'\nneeded==2; python_version >= '3'", "other==3\nneeded==2"),
            ("needed[extra]>=1\nother", "other==3\nneeded==2"),
        ],
    )
    def test_it_fits(self, project: Path, required: str, listed: str) -> None:
        (project / "requirements.txt").write_text(required)
        (project / "requirements" / f"azure-{VERSION}.txt").write_text(listed)
        assert locked(project, VERSION).name == f"azure-{VERSION}.txt"

    @pytest.mark.parametrize(
        ("required", "listed"), [("needed==1", ""), ("needed==1", "needed==2"), ("needed", "other==1")]
    )
    def test_a_package_that_is_missing_or_differs_is_named(self, project: Path, required: str, listed: str) -> None:
        (project / "requirements.txt").write_text(required)
        (project / "requirements" / f"azure-{VERSION}.txt").write_text(listed)
        expected = f"requirements/azure-{VERSION}.txt does not fit requirements.txt: needed; run 'make lock'"
        with pytest.raises(PackagingFailed, match=re.escape(expected)):
            locked(project, VERSION)

    def test_an_unknown_version_of_python(self, project: Path) -> None:
        with pytest.raises(PackagingFailed, match=r"there is no requirements/azure-3\.99\.txt, so the app cannot be"):
            locked(project, "3.99")

    def test_there_is_a_list_for_each_version_that_the_deployment_allows(self) -> None:
        (allowed,) = re.findall(r"@allowed\(\[([^\]]*)\]\)\s*param pythonVersion", bicep.read("main.bicep"))
        versions = re.findall(r"'([\d.]+)'", allowed)
        lists = [path.name for path in sorted((ROOT / "requirements").glob("azure-*.txt"))]
        assert lists == [f"azure-{version}.txt" for version in sorted(versions)]
        for version in versions:
            text = locked(ROOT, version).read_text()
            pins = [line for line in text.splitlines() if re.match(r"\w", line)]
            assert len(pins) > 20
            assert all(re.fullmatch(r"[\w.-]+==[\w.]+ \\", line) for line in pins), "each has hashes"
            constraints = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
            unconstrained = [line for line in pins if line.removesuffix(" \\") not in constraints]
            assert [line.partition("==")[0] for line in unconstrained] == ["azure-functions"]


def test_two_builds_at_once_share_the_installed_dependencies(project: Path, tmp_path: Path, calls: Path) -> None:
    """The build that finishes second uses what the first one has installed."""
    installed = tmp_path / "dist" / "python_packages"
    first = program(tmp_path / "first", PIP.format(calls=calls, python=sys.executable))
    second = program(
        tmp_path / "second",
        PIP.format(calls=calls, python=sys.executable) + f'cp -r "$2" "{installed}/$(cat {tmp_path / "name"})"\n',
    )
    packaged(first, tmp_path / "dist", project)
    (name,) = installed.iterdir()
    (tmp_path / "name").write_text(name.name)
    name.rename(tmp_path / "gone")
    built = packaged(second, tmp_path / "dist", project)
    assert {entry.source.parents[1] for entry in built.dependencies} == {name}
    assert list(installed.iterdir()) == [name]


def test_without_a_funcignore_nothing_is_packaged(project: Path) -> None:
    (project / ".funcignore").unlink()
    with pytest.raises(PackagingFailed, match=r"has no \.funcignore; without it, every file"):
        list(app_files(project))


@pytest.fixture
def arguments(python: Path, project: Path, tmp_path: Path) -> list[str]:
    options = {"python": sys.executable, "python-version": VERSION, "pip": python, "project": project}
    return [f"--{name}={value}" for name, value in {**options, "folder": tmp_path / "dist"}.items()]


def test_the_command_prints_every_file_and_the_size(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    *files, total = capfd.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in files] == [
        ["7", "function_app.py"],
        ["9", "requirements.txt"],
        ["0", "shared/only-here/kept.py"],
        ["6", ".python_packages/lib/site-packages/needed (1 files)"],
        ["30", ".python_packages/lib/site-packages/needed-1.dist-info (1 files)"],
    ]
    (zip_file,) = (tmp_path / "dist").glob("*.zip")
    assert total == f"{zip_file}: {zip_file.stat().st_size:,} bytes, 5 files (3 of the app), 3 compiled files"
    assert main([*arguments, "--quiet"]) == 0
    assert capfd.readouterr().out == f"{total}\n"


def test_the_command_says_if_there_is_no_bytecode(
    arguments: list[str], project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "requirements" / "azure-3.99.txt").write_text("needed==1")
    given = [argument for argument in arguments if not argument.startswith("--python=")]
    assert main([*given, "--python-version=3.99", "--quiet"]) == 0
    assert capfd.readouterr().out.splitlines()[1] == (
        "devstack.package: Python 3.99 was not found, so the package has no bytecode, and the app starts more slowly; "
        "install Python 3.99, or deploy from a pipeline"
    )


def test_the_command_refuses_a_python_of_another_version(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--python-version=3.99"]) == 1
    assert capfd.readouterr().err == f"devstack.package: {sys.executable} is not Python 3.99\n"


def test_a_failure_of_pip_is_reported_with_exit_code_1(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failing = program(tmp_path / "failing" / "python", FAILING_PIP)
    assert main([*arguments, f"--pip={failing}"]) == 1
    assert capfd.readouterr().err == (
        "devstack.package: pip cannot install the dependencies:\nERROR: No matching distribution found for needed\n"
    )
    assert [path.name for path in (tmp_path / "dist").rglob("*")] == ["python_packages"]
