"""Programs that run in a new process in the folder of a deployed app, timed until they print their line."""

import compileall
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

_ROOT: Final = Path(__file__).parent.parent
_PROGRAMS: Final = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Printed:
    """The words that a program printed, and the seconds from the start of its process until then."""

    words: tuple[str, ...]
    seconds: float


def deploy(folder: Path, *, with_bytecode: bool) -> Path:
    """Copy the files of the app that a package contains, and return the folder.

    :param with_bytecode: compile the sources, as ``make package`` does. Without bytecode, every start compiles them, as
        on a read-only mount.
    """
    folder.mkdir()
    for name in ("function_app.py", "routes.yaml"):
        shutil.copy(_ROOT / name, folder)
    for name in ("handlers", "shared"):
        shutil.copytree(_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if with_bytecode:
        compileall.compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return folder


def run(program: str, *arguments: str, app: Path, environment: Mapping[str, str]) -> Printed:
    """Run one of ``bench/programs`` in the folder of a deployed app.

    :raises RuntimeError: if the program fails or prints nothing.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own programs
        [sys.executable, str(_PROGRAMS / f"{program}.py"), *arguments],
        cwd=app,
        env={**inherited, **environment, "PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline() if process.stdout is not None else ""
        seconds = time.perf_counter() - started
        _, errors = process.communicate()
    if process.returncode or not line:
        raise RuntimeError(f"bench/programs/{program}.py failed ({process.returncode}): {errors[-2000:]}")
    return Printed(tuple(line.split()), seconds)
