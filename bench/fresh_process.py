"""Runs a program in a fresh process, beside the app as it is deployed, and times it until it prints its line."""

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
class Said:
    """The words that a program printed, and how many seconds after the start of its process."""

    words: tuple[str, ...]
    seconds: float


def deploy(folder: Path, *, with_bytecode: bool) -> Path:
    """Copy the app as a package carries it.

    :param with_bytecode: compiled, as Python leaves it after a first start in a folder that it may write; else the
        sources alone, as on a read-only mount.
    """
    folder.mkdir()
    for name in ("function_app.py", "routes.yaml"):
        shutil.copy(_ROOT / name, folder)
    for name in ("handlers", "shared"):
        shutil.copytree(_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if with_bytecode:
        compileall.compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return folder


def run(program: str, *arguments: str, app: Path, environment: Mapping[str, str]) -> Said:
    """Run one of ``bench/programs``, in the folder of a deployed app.

    :raises RuntimeError: it failed.
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
    return Said(tuple(line.split()), seconds)
