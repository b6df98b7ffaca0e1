"""The deployed zip contains the app, its dependencies for Azure's Python, and nothing else."""

import re
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pathspec import GitIgnoreSpec

from devstack.package import AZURE, DEFAULT_VERSION, PACKAGES, Package, locked
from shared.version import VERSION
from tests.runtime.conftest import PLATFORM, packaged
from tests.support import ROOT
from tests.support.effort import only_long

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


def distributions(package: Package) -> dict[str, Message]:
    """Return the metadata of the packaged distributions by name."""
    found = [Parser().parsestr(text, headersonly=True) for text in metadata(package, "METADATA").values()]
    return {canonicalize_name(message["Name"]): message for message in found}


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


def test_the_zip_contains_exactly_the_listed_packages(package: Package) -> None:
    listed = re.findall(r"(?m)^([\w.-]+)==([\w.]+)", locked(ROOT, DEFAULT_VERSION).read_text())
    found = {name: message["Version"] for name, message in distributions(package).items()}
    assert found == {canonicalize_name(name): version for name, version in listed}
    assert {"azure-functions", "requests", "jmespath", "pyyaml", "azure-identity"} <= set(found)
    assert found["azure-functions"].startswith("2."), "Python 3.13 needs azure-functions 2"


def test_everything_that_a_package_requires_is_in_the_zip(package: Package) -> None:
    """pip installs the list without dependencies, so the list must be complete."""
    found = distributions(package)
    azure = {"python_version": DEFAULT_VERSION, "python_full_version": f"{DEFAULT_VERSION}.0", "extra": ""}
    azure |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"}
    for name, message in found.items():
        for requirement in map(Requirement, message.get_all("Requires-Dist", [])):
            if requirement.marker is None or requirement.marker.evaluate(azure):
                needed = canonicalize_name(requirement.name)
                assert needed in found, f"{name} requires {requirement}"
                assert requirement.specifier.contains(found[needed]["Version"]), f"{name} requires {requirement}"


@pytest.mark.skipif(PLATFORM != AZURE, reason="the package is built for this machine's platform, not for Azure's")
def test_every_dependency_is_built_for_azures_python_or_for_any(package: Package) -> None:
    fits = re.compile(r"(py3|py2\.py3)-none-any|cp3(\d+)-(cp313|abi3)-manylinux.*_x86_64")
    for distribution, text in metadata(package, "WHEEL").items():
        tags = re.findall(r"^Tag: (.*)$", text, re.MULTILINE)
        assert any(fits.fullmatch(tag) for tag in tags), f"{distribution}: {tags}"


def test_azd_sends_the_files_of_the_zip(package: Package, names: list[str]) -> None:
    """azd makes a zip of the folder. It leaves out its ignore file, local.settings.json, .azure and what is ignored.

    Source: Azure/azure-dev, cli/azd/pkg/project/project_utils.go.
    """
    ignored = GitIgnoreSpec.from_lines((package.folder / ".funcignore").read_text().splitlines())
    never = {".funcignore", "local.settings.json", ".azure"}
    files = [path.relative_to(package.folder) for path in package.folder.rglob("*") if path.is_file()]
    sent = {name.as_posix() for name in files if not never & set(name.parts) and not ignored.match_file(name)}
    assert sent == set(names)


@only_long
def test_the_build_is_reproducible(package: Package, runtime_python: Path, tmp_path: Path) -> None:
    again = packaged(runtime_python, tmp_path)
    assert again.path.read_bytes() == package.path.read_bytes()
