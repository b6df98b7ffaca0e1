"""``python -m devstack.package``: builds what is deployed, with everything that the app needs.

It writes the same files twice: ``dist/nextstage-VERSION.zip``, which the pipelines, the Azure CLI and the tests use,
and the folder ``dist/app``, from which azd and Core Tools make a zip of their own.

The files are those of the project that ``.funcignore`` does not exclude, read like a .gitignore file. Their
dependencies are under ``.python_packages``, where Azure's worker looks first. Any pip on any system installs them, with
hashes, from ``requirements/azure-VERSION.txt``: wheels for Linux (x86-64). All Python files are compiled, if the app's
version of Python is on this machine. The build is reproducible: equal files result in an identical zip.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from pathspec import GitIgnoreSpec

from shared.version import VERSION

PROJECT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = PurePosixPath(".python_packages/lib/site-packages")
# These platforms mean glibc 2.17 and 2.28 or later. Azure's images for Python are Debian 12, which has glibc 2.36.
AZURE: Final = ("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64", "--implementation", "cp")

DEFAULT_VERSION: Final = "3.13"
"""The app's version of Python in Azure, unless NEXTSTAGE_PYTHON_VERSION is set: infra/main.parameters.json."""

DEPLOYED_TO: Final = "/home/site/wwwroot"
"""The app's folder in Azure, which tracebacks show."""

IGNORE_NOTHING: Final = "# This folder is deployed whole. Without this file, azd would leave out the bytecode.\n"
"""The ``.funcignore`` of the folder, which azd and Core Tools read and do not deploy.

Source: Azure/azure-dev, cli/azd/pkg/project/project_utils.go; Azure/azure-functions-core-tools, ZipHelper.cs.
"""

_IGNORE: Final = ".funcignore"
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can store
_SCRIPTS: Final = ("bin", "Scripts")  # the folders of scripts: on Windows, it is the second one
_FILE_MODE: Final = 0o100644 << 16
_UNIX: Final = 3
_VERSION_OF: Final = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"


class PackagingFailed(Exception):
    """The package cannot be built. The message states the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the package."""

    name: PurePosixPath
    source: Path

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.source.stat().st_size


@dataclass(frozen=True, slots=True)
class Package:
    """The package and its contents.

    :param path: the zip.
    :param folder: the folder with the same files, and a ``.funcignore``.
    :param bytecode: the number of compiled files, of the app and its dependencies.
    """

    path: Path
    folder: Path
    app: tuple[Entry, ...]
    dependencies: tuple[Entry, ...]
    bytecode: int


def build(
    python: Path | None,
    folder: Path,
    *,
    version: str = DEFAULT_VERSION,
    project: Path = PROJECT,
    pip: Path = Path(sys.executable),
    platform: Sequence[str] = AZURE,
    installed: Path | None = None,
) -> Package:
    """Build ``folder/nextstage-VERSION.zip`` and ``folder/app``.

    :param python: a Python of that version, which compiles the files. None: the package has no bytecode.
    :param version: the app's version of Python in Azure.
    :param pip: a Python with pip, of any version.
    :param platform: pip's options for the target platform. Empty means this machine and the version of ``pip``.
    :param installed: the folder that caches the installed dependencies. By default, it is in ``folder``.
    :raises PackagingFailed: pip cannot install the dependencies, a file cannot be compiled, or the project has no
        ``.funcignore`` or no fitting list of dependencies.
    """
    app = tuple(app_files(project))
    target = (*platform, "--python-version", version) if platform else ()
    packages = _install(pip, installed or folder / "python_packages", locked(project, version), target)
    dependencies = tuple(_dependencies(packages))
    path = folder / f"nextstage-{VERSION}.zip"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        content = Path(scratch, "app")
        for entry in [*app, *dependencies]:
            (content / entry.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.source, content / entry.name)
        bytecode = _compile(python, content) if python else 0
        _write(path, content)
        (content / _IGNORE).write_text(IGNORE_NOTHING, encoding="utf-8")
        shutil.rmtree(folder / "app", ignore_errors=True)
        content.rename(folder / "app")
    return Package(path, folder / "app", app, dependencies, bytecode)


def find_python(version: str, *candidates: Sequence[str]) -> Path | None:
    """Return the first Python of a version.

    :param candidates: commands to try. By default, this Python, one on the PATH, and the launcher of Windows.
    """
    for command in candidates or ((sys.executable,), (f"python{version}",), ("py", f"-{version}")):
        try:
            asked = subprocess.run(  # noqa: S603 - names of Python
                [*command, "-c", _VERSION_OF], capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        if asked.returncode == 0 and asked.stdout.splitlines()[0] == version:
            return Path(asked.stdout.splitlines()[1])
    return None


def locked(project: Path, version: str) -> Path:
    """Return the project's list of dependencies with hashes for a version of Python.

    :raises PackagingFailed: there is none, or it does not have what requirements.txt requires.
    """
    path = project / "requirements" / f"azure-{version}.txt"
    name = path.relative_to(project).as_posix()
    if not path.is_file():
        raise PackagingFailed(
            f"there is no {name}, so the app cannot be packaged for Python {version}; "
            f"set NEXTSTAGE_PYTHON_VERSION to a version that has such a file"
        )
    has, wants = _pins(path), _pins(project / "requirements.txt")
    missing = [each for each, versions in wants.items() if each not in has or not versions & {*has[each], ""}]
    if missing:
        raise PackagingFailed(f"{name} does not fit requirements.txt: {', '.join(missing)}; run 'make lock'")
    return path


def _pins(requirements: Path) -> Mapping[str, set[str]]:
    """Return the pinned versions by distribution, empty if any is meant. There can be several, under conditions."""
    pins: dict[str, set[str]] = {}
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([A-Za-z0-9][\w.-]*)(?:\[.*?\])?\s*(?:==\s*([^\s;]+))?", line):
            pins.setdefault(re.sub(r"[-_.]+", "-", found[1]).lower(), set()).add(found[2] or "")
    return pins


def app_files(project: Path) -> Iterator[Entry]:
    """Yield the files of the project that are deployed, sorted by name.

    :raises PackagingFailed: the project has no ``.funcignore``. Without it, everything would be deployed, including
        secrets.
    """
    rules = project / _IGNORE
    if not rules.is_file():
        raise PackagingFailed(
            f"{project} has no .funcignore; without it, every file in that folder would be deployed, including secrets"
        )
    ignored = GitIgnoreSpec.from_lines(rules.read_text(encoding="utf-8").splitlines())
    for name in sorted(_walk(project, ignored)):
        if str(name) != _IGNORE:
            yield Entry(name, project / name)


def _walk(project: Path, ignored: GitIgnoreSpec) -> Iterator[PurePosixPath]:
    for current, folders, files in os.walk(project):
        here = PurePosixPath(Path(current).relative_to(project).as_posix())
        folders[:] = [
            folder
            for folder in folders
            if not ignored.match_file(f"{here / folder}/") and here / folder != PurePosixPath(".python_packages")
        ]
        yield from (here / file for file in files if not ignored.match_file(here / file))


def _dependencies(installed: Path) -> Iterator[Entry]:
    for path in sorted(installed.rglob("*")):
        name = PurePosixPath(path.relative_to(installed).as_posix())
        if path.is_file() and "__pycache__" not in name.parts:
            yield Entry(PACKAGES / name, path)


def _compile(python: Path, content: Path) -> int:
    """Compile the Python files of a folder. Return how many there are.

    An instance in Azure mounts the package read-only. Without bytecode, it would compile the code at each cold start.
    ``unchecked-hash`` skips the comparison with the source: file times in a zip mean nothing, and the sources do not
    change there.
    """
    command = [str(python), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "-s", str(content), "-p", DEPLOYED_TO, str(content)],
        env={**os.environ, "PYTHONHASHSEED": "0"},  # fixes the order of sets, which makes the bytecode reproducible
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        problem = f"{done.stdout}{done.stderr}".strip()
        raise PackagingFailed(
            f"{python} cannot compile these files; fix them or exclude them in .funcignore: {problem}"
        )
    return sum(1 for _ in content.rglob("*.pyc"))


def _install(pip: Path, folder: Path, requirements: Path, target: Sequence[str]) -> Path:
    """Return the folder of the installed dependencies. Install them again only if they or the target have changed."""
    content = (requirements.read_bytes(), repr(tuple(target)).encode())
    installed = folder / hashlib.sha256(b"\0".join(content)).hexdigest()[:16]
    if installed.is_dir():
        return installed
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pip_install(pip, Path(scratch, "site-packages"), requirements, target)
        _drop_scripts(Path(scratch, "site-packages"))
        try:
            Path(scratch, "site-packages").rename(installed)
        except OSError:
            if not installed.is_dir():  # if it exists, another build has just installed the same dependencies
                raise
    return installed


def _pip_install(python: Path, folder: Path, requirements: Path, target: Sequence[str]) -> None:
    """Install exactly the listed packages. pip compares each with its hash.

    It would refuse packages that require a newer Python than the one that runs it, although they are for another one.
    """
    command = [python, "-m", "pip", "install", "--target", folder, "--requirement", requirements, *target]
    exactly = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    options = [*exactly, "--no-compile", "--quiet", "--disable-pip-version-check"]
    pip = subprocess.run(  # noqa: S603 - our own command
        [*map(str, command), *options], capture_output=True, text=True, check=False
    )
    if pip.returncode != 0:
        raise PackagingFailed(f"pip cannot install the dependencies:\n{pip.stderr.strip()}")


def _drop_scripts(site_packages: Path) -> None:
    """Remove the scripts of the dependencies, which the app does not use.

    Each script contains the path of the Python that installed it, so the zip would not be reproducible.
    """
    for name in _SCRIPTS:
        shutil.rmtree(site_packages / name, ignore_errors=True)
    prefixes = tuple(f"../../{name}/" for name in _SCRIPTS)
    for record in site_packages.glob("*.dist-info/RECORD"):
        lines = record.read_text(encoding="utf-8").splitlines()
        kept = "".join(f"{line}\n" for line in lines if not line.startswith(prefixes))
        record.write_text(kept, encoding="utf-8", newline="\n")


def _write(path: Path, content: Path) -> None:
    """Write the zip. All files are sorted and have the same time and permissions, which makes it reproducible."""
    unfinished = path.with_suffix(f".{os.getpid()}")
    files = {PurePosixPath(file.relative_to(content).as_posix()): file for file in content.rglob("*") if file.is_file()}
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(str(name), _EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = _UNIX
            info.external_attr = _FILE_MODE
            archive.writestr(info, files[name].read_bytes())
    unfinished.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code: 0 if the package was built, else 1."""
    parser = argparse.ArgumentParser(prog="python -m devstack.package", description="Build what is deployed.")
    version_help = "the app's version of Python in Azure (default: %(default)s)"
    parser.add_argument("--python-version", default=DEFAULT_VERSION, metavar="X.Y", help=version_help)
    parser.add_argument("--python", help="a Python of that version, which compiles the files (default: look for one)")
    pip_help = "a Python with pip, of any version (default: the one that runs this)"
    parser.add_argument("--pip", type=Path, default=Path(sys.executable), help=pip_help)
    folder_help = "the output folder (default: %(default)s)"
    parser.add_argument("--folder", type=Path, default=PROJECT / "dist", help=folder_help)
    parser.add_argument("--project", type=Path, default=PROJECT, help="the project to package (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="print only a summary, not every file")
    options = parser.parse_args(arguments)
    version = options.python_version
    python = find_python(version, *([(options.python,)] if options.python else []))
    if options.python and not python:
        print(f"devstack.package: {options.python} is not Python {version}", file=sys.stderr)
        return 1
    try:
        package = build(python, options.folder, version=version, project=options.project, pip=options.pip)
    except PackagingFailed as exc:
        print(f"devstack.package: {exc}", file=sys.stderr)
        return 1
    _show(package, quiet=options.quiet)
    if not python:
        print(
            f"devstack.package: Python {version} was not found, so the package has no bytecode, and the app starts "
            f"more slowly; install Python {version}, or deploy from a pipeline"
        )
    return 0


def _show(package: Package, *, quiet: bool) -> None:
    if not quiet:
        for entry in package.app:
            print(f"{entry.size:>12,}  {entry.name}")
        for name, entries in _by_distribution(package.dependencies).items():
            print(f"{sum(entry.size for entry in entries):>12,}  {PACKAGES}/{name} ({len(entries)} files)")
    files = len(package.app) + len(package.dependencies)
    print(
        f"{package.path}: {package.path.stat().st_size:,} bytes, {files} files ({len(package.app)} of the app), "
        f"{package.bytecode} compiled files"
    )


def _by_distribution(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Group the dependencies by the first part of their names below site-packages."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.name.relative_to(PACKAGES).parts[0], []).append(entry)
    return groups


if __name__ == "__main__":
    sys.exit(main())
