"""The deployed zip contains the app, its dependencies for Azure's Python, and nothing else."""

import re
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest
from packaging.utils import canonicalize_name

from devstack.package import AZURE, PACKAGES, Package, build
from shared.version import VERSION
from tests.runtime.conftest import INSTALLED, PLATFORM
from tests.support import ROOT

NEVER = {"tests", "devstack", "bench", "docs", "infra", "pipelines", "components", "local.settings.json", "Makefile"}


@pytest.fixture(scope="module")
def names(package: Package) -> list[str]:
    with zipfile.ZipFile(package.path) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def metadata(package: Package, file: str) -> dict[str, str]:
    """Return the content of one metadata file by distribution folder."""
    with zipfile.ZipFile(package.path) as archive:
        found = [name for name in archive.namelist() if name.endswith(f".dist-info/{file}")]
        return {name.split("/")[-2]: archive.read(name).decode() for name in found}


def pinned() -> dict[str, set[str]]:
    """Return the versions that the requirements pin, for any version of Python, by distribution."""
    pins: dict[str, set[str]] = {}
    for file in ("requirements.txt", "constraints.txt"):
        for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / file).read_text(), re.MULTILINE):
            pins.setdefault(canonicalize_name(name), set()).add(version)
    return pins


def test_the_zip_contains_the_app_but_no_development_files(names: list[str]) -> None:
    apps = [name for name in names if not name.startswith(f"{PACKAGES}/")]
    assert {name.split("/")[0] for name in apps} & NEVER == set()
    assert {"function_app.py", "host.json", "routes.yaml", "requirements.txt", "shared/relay.py"} <= set(apps)
    assert [name for name in apps if name.endswith((".md", ".sqlite3"))] == []


def test_all_python_files_are_compiled_for_azures_python(names: list[str]) -> None:
    """Azure mounts the package read-only. Without bytecode, each cold start would compile it."""
    sources = {PurePosixPath(name) for name in names if name.endswith(".py")}
    compiled = {PurePosixPath(name) for name in names if "__pycache__" in name}
    assert compiled == {source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc" for source in sources}


def test_the_name_of_the_zip_contains_the_version(package: Package) -> None:
    assert package.path.name == f"nextstage-{VERSION}.zip"


def test_every_dependency_has_the_version_that_was_tested(package: Package) -> None:
    pins = pinned()
    found: dict[str, str] = {}
    for text in metadata(package, "METADATA").values():
        message = Parser().parsestr(text, headersonly=True)
        found[canonicalize_name(message["Name"])] = message["Version"]
    assert {"azure-functions", "requests", "jmespath", "pyyaml", "azure-identity"} <= set(found)
    assert {name: version for name, version in found.items() if version not in pins.get(name, set())} == {}
    assert found["azure-functions"].startswith("2."), "Python 3.13 needs azure-functions 2"


@pytest.mark.skipif(PLATFORM != AZURE, reason="the package is built for this machine's platform, not for Azure's")
def test_every_dependency_is_built_for_azures_python_or_for_any(package: Package) -> None:
    fits = re.compile(r"(py3|py2\.py3)-none-any|cp3(\d+)-(cp313|abi3)-manylinux.*_x86_64")
    for distribution, text in metadata(package, "WHEEL").items():
        tags = re.findall(r"^Tag: (.*)$", text, re.MULTILINE)
        assert any(fits.fullmatch(tag) for tag in tags), f"{distribution}: {tags}"


def test_the_build_is_reproducible(package: Package, runtime_python: Path, tmp_path: Path) -> None:
    again = build(runtime_python, tmp_path, platform=PLATFORM, installed=INSTALLED)
    assert again.path.read_bytes() == package.path.read_bytes()
