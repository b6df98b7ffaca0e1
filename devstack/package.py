"""``python -m devstack.package``: builds the zip that is deployed, with everything that the app needs.

The zip contains the project's files that ``.funcignore`` does not exclude, read like a .gitignore file, as azd does.
Their dependencies are under ``.python_packages``, where Azure's worker looks first, for Python 3.13 on Linux (x86-64).
All Python files are compiled. The build is reproducible: equal files result in an identical zip.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from pathspec import GitIgnoreSpec

from shared.version import VERSION

PROJECT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = PurePosixPath(".python_packages/lib/site-packages")
# These platforms mean glibc 2.17 and 2.28 or later. Azure's image for Python 3.13 is Debian 12, which has glibc 2.36.
AZURE: Final = (
    *("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64"),
    *("--python-version", "3.13"),
)

DEPLOYED_TO: Final = "/home/site/wwwroot"
"""The app's folder in Azure, which tracebacks show."""

_REQUIREMENTS: Final = ("requirements.txt", "constraints.txt")
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can store
_SCRIPTS: Final = "../../bin/"  # the prefix of scripts in RECORD files
_FILE_MODE: Final = 0o100644 << 16
_UNIX: Final = 3


class PackagingFailed(Exception):
    """The zip cannot be built. The message states the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the zip."""

    name: PurePosixPath
    source: Path

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.source.stat().st_size


@dataclass(frozen=True, slots=True)
class Package:
    """The zip and its contents.

    :param bytecode: the number of compiled files, of the app and its dependencies.
    """

    path: Path
    app: tuple[Entry, ...]
    dependencies: tuple[Entry, ...]
    bytecode: int


def build(
    python: Path,
    folder: Path,
    *,
    project: Path = PROJECT,
    platform: Sequence[str] = AZURE,
    installed: Path | None = None,
) -> Package:
    """Build ``folder/nextstage-VERSION.zip``.

    :param python: a Python 3.13 with pip. The version matters, because pip evaluates the conditions in requirements for
        the Python that runs it.
    :param platform: pip's options for the target platform. Empty means this machine.
    :param installed: the folder that caches the installed dependencies. By default, it is in ``folder``.
    :raises PackagingFailed: pip cannot install the dependencies, a file cannot be compiled, or the project has no
        ``.funcignore``.
    """
    app = tuple(app_files(project))
    dependencies = tuple(_dependencies(_install(python, installed or folder / "python_packages", project, platform)))
    path = folder / f"nextstage-{VERSION}.zip"
    with tempfile.TemporaryDirectory() as scratch:
        bytecode = _bytecode(python, [*app, *dependencies], Path(scratch))
        _write(path, [*app, *dependencies, *bytecode])
    return Package(path, app, dependencies, len(bytecode))


def app_files(project: Path) -> Iterator[Entry]:
    """Yield the files of the project that are deployed, sorted by name.

    :raises PackagingFailed: the project has no ``.funcignore``. Without it, everything would be deployed, including
        secrets.
    """
    rules = project / ".funcignore"
    if not rules.is_file():
        raise PackagingFailed(
            f"{project} has no .funcignore; without it, every file in that folder would be deployed, including secrets"
        )
    ignored = GitIgnoreSpec.from_lines(rules.read_text(encoding="utf-8").splitlines())
    for name in sorted(_walk(project, ignored)):
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


def _bytecode(python: Path, entries: Iterable[Entry], scratch: Path) -> list[Entry]:
    """Copy the Python files into an empty folder and compile them there.

    An instance in Azure mounts the package read-only. Without bytecode, it would compile the code at each cold start.
    ``unchecked-hash`` skips the comparison with the source: file times in a zip mean nothing, and the sources do not
    change there.
    """
    for entry in entries:
        if entry.name.suffix == ".py":
            (scratch / entry.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.source, scratch / entry.name)
    command = [str(python), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "-s", str(scratch), "-p", DEPLOYED_TO, str(scratch)],
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
    return [Entry(PurePosixPath(path.relative_to(scratch).as_posix()), path) for path in sorted(scratch.rglob("*.pyc"))]


def _install(python: Path, folder: Path, project: Path, platform: Sequence[str]) -> Path:
    """Return the folder of the installed dependencies. Install them again only if they or the platform have changed."""
    content = [*((project / name).read_bytes() for name in _REQUIREMENTS), repr(tuple(platform)).encode()]
    target = folder / hashlib.sha256(b"\0".join(content)).hexdigest()[:16]
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pip_install(python, Path(scratch, "site-packages"), project / _REQUIREMENTS[0], platform)
        _drop_scripts(Path(scratch, "site-packages"))
        try:
            Path(scratch, "site-packages").rename(target)
        except OSError:
            if not target.is_dir():  # if it exists, another build has just installed the same dependencies
                raise
    return target


def _pip_install(python: Path, target: Path, requirements: Path, platform: Sequence[str]) -> None:
    command = [python, "-m", "pip", "install", "--target", target, "--requirement", requirements, *platform]
    options = ["--only-binary=:all:", "--no-compile", "--quiet", "--disable-pip-version-check"]
    pip = subprocess.run(  # noqa: S603 - our own command
        [*map(str, command), *options], capture_output=True, text=True, check=False
    )
    if pip.returncode != 0:
        raise PackagingFailed(f"pip cannot install the dependencies:\n{pip.stderr.strip()}")


def _drop_scripts(site_packages: Path) -> None:
    """Remove the scripts of the dependencies, which the app does not use.

    Each script contains the path of the Python that installed it, so the zip would not be reproducible.
    """
    shutil.rmtree(site_packages / "bin", ignore_errors=True)
    for record in site_packages.glob("*.dist-info/RECORD"):
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not line.startswith(_SCRIPTS)), encoding="utf-8")


def _write(path: Path, entries: Iterable[Entry]) -> None:
    """Write the zip. All entries are sorted and have the same time and permissions, which makes it reproducible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in sorted(entries, key=lambda entry: entry.name):
            info = zipfile.ZipInfo(str(entry.name), _EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = _UNIX
            info.external_attr = _FILE_MODE
            archive.writestr(info, entry.source.read_bytes())
    unfinished.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code: 0 if the zip was built, else 1."""
    parser = argparse.ArgumentParser(prog="python -m devstack.package", description="Build the zip that is deployed.")
    parser.add_argument("--python", type=Path, required=True, help="a Python 3.13 with pip")
    parser.add_argument(
        "--folder", type=Path, default=PROJECT / "dist", help="the output folder (default: %(default)s)"
    )
    parser.add_argument("--project", type=Path, default=PROJECT, help="the project to package (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        package = build(options.python, options.folder, project=options.project)
    except PackagingFailed as exc:
        print(f"devstack.package: {exc}", file=sys.stderr)
        return 1
    _show(package)
    return 0


def _show(package: Package) -> None:
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
