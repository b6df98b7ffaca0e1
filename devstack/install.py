"""``python -m devstack.install VENV ARGUMENTS``: runs pip in a virtual environment and shows the progress in one line.

It creates the environment if there is none, and needs nothing but Python. Exit codes: 0 installed, 1 not installed.
After an interruption, it can be run again.
"""

import io
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from devstack.processes import end_interrupted, spawned

_PIP = ("-u", "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off")
_NO_VENV = "could not create a virtual environment; on Debian and Ubuntu, run apt-get install python3-venv"
_PACKAGE = re.compile(r"Collecting ([\w.-]*\w)|Processing \S*?([^/-]+)-\S*\.whl")
_SHOWN_LINES = 20


class NotInstalled(Exception):
    """A program has failed. The message is the end of its output."""


def main(arguments: Sequence[str]) -> int:
    """Install what pip's arguments name, and return the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    venv = Path(arguments[0])
    progress = Progress()
    try:
        python = venv / "bin" / "python"
        if not (venv / "bin" / "pip").exists():  # the last file of a new environment
            progress.show(f"creating {venv} …")
            _run([sys.executable, "-m", "venv", venv], lambda _line: None, _NO_VENV)
        pip = Pip(venv, progress)
        _run([python, *_PIP, *arguments[1:]], pip.read)
    except NotInstalled as exc:
        progress.end("not installed:")
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.end("interrupted; to continue, run the same command again")
        end_interrupted()
    megabytes = sum(path.lstat().st_blocks for path in venv.rglob("*")) * 512 / 1_000_000
    progress.end(f"installed; {venv} takes {megabytes:.0f} MB")
    return 0


class Progress:
    """One line on a terminal that shows the last step. Elsewhere, a line for the first step and for the end."""

    def __init__(self) -> None:
        """Write to the current standard output."""
        self._width = shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else 0
        self._shown = False

    def show(self, text: str) -> None:
        """Show a step."""
        if self._width:
            print(f"\r{text[: self._width]:<{self._width}}", end="", flush=True)
        elif not self._shown:
            print(text, flush=True)
        self._shown = True

    def end(self, text: str) -> None:
        """Show the end, in place of the last step."""
        if self._width:
            print(f"\r{'':<{self._width}}\r", end="")
        print(text, flush=True)


class Pip:
    """Shows a step for each package that pip mentions."""

    def __init__(self, venv: Path, progress: Progress) -> None:
        """Show the first step."""
        self._what = f"installing pinned packages into {venv}"
        self._progress = progress
        self._count = 0
        progress.show(f"{self._what} …")

    def read(self, line: str) -> None:
        """Read a line of pip's output."""
        if found := _PACKAGE.match(line):
            self._count += 1
            self._progress.show(f"{self._what}: {self._count}, {found[1] or found[2]} …")
        elif line.startswith("Installing "):
            self._progress.show(f"{self._what}: writing {self._count} packages to disk …")


def _run(command: Sequence[str | Path], read: Callable[[str], None], advice: str = "") -> None:
    """Run a program, and pass on each line of its output.

    :raises NotInstalled: the program failed.
    """
    output = []
    with spawned(command) as program:
        for line in io.TextIOWrapper(program.stdout or io.BytesIO(), errors="replace"):
            output.append(line)
            read(line)
        if program.wait():
            raise NotInstalled("".join([*output[-_SHOWN_LINES:], advice]).rstrip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
