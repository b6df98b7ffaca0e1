"""Programs from npm: each one has a folder in the devstack, with a lock file and its own ``node_modules``."""

import shutil
from pathlib import Path
from typing import Final

_DEVSTACK: Final = Path(__file__).parent


def install_command(folder: str) -> str:
    """Return the command that installs a folder's packages, to be run in the project's folder."""
    return f"npm ci --prefix devstack/{folder}"


def installed(folder: str, file: str) -> Path:
    """Return the path of a file in an installed package, whether or not it exists."""
    return _DEVSTACK / folder / "node_modules" / file


def installation_problem(name: str, folder: str, program: Path) -> str | None:
    """Return what is missing and how to install it, or None if the program can be run."""
    command = install_command(folder)
    if shutil.which("node") is None:
        return f"{name} needs Node.js, but 'node' is not in PATH: install Node.js 20, then run '{command}'"
    if not program.exists():
        return f"{name} is not installed: run '{command}' in the project's folder"
    return None
