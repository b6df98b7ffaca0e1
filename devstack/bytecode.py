"""Compiles Python files as a deployed package needs them: beside their sources, and never to be checked against them.

An instance reads the package from a folder that it may not write, so without bytecode every cold start compiles what it
imports. ``unchecked-hash``: the times of files mean nothing in a zip, and nobody edits one there.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

DEPLOYED_TO: Final = "/home/site/wwwroot"
"""Where Azure's worker finds the app; what tracebacks name."""


class CompilationFailed(Exception):
    """A file is no Python; the text says which."""


def compile_sources(python: Path, sources: Mapping[PurePosixPath, Path], scratch: Path) -> Iterator[PurePosixPath]:
    """Compile the ``.py`` among the files, and return the names of what has come of it, which is below ``scratch``.

    :param python: bytecode is of its version.
    :param sources: from a file's name in the package to where it is.
    :param scratch: an empty folder.
    :raises CompilationFailed: at least one cannot be compiled.
    """
    for name, source in sources.items():
        if name.suffix == ".py":
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, scratch / name)
    command = [str(python), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "-s", str(scratch), "-p", DEPLOYED_TO, str(scratch)],
        env={**os.environ, "PYTHONHASHSEED": "0"},  # a set in the code has one order then, and the file one content
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CompilationFailed(f"{done.stdout}{done.stderr}".strip())
    return (PurePosixPath(path.relative_to(scratch).as_posix()) for path in sorted(scratch.rglob("*.pyc")))
