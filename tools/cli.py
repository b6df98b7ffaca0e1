"""The command-line program: runs a command, and turns every failure into one line and an exit code."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from shared.clock import Clock, utc_now
from shared.errors import NextstageError
from shared.version import VERSION
from tools.command_group import CommandGroup
from tools.console import Console
from tools.errors import INTERRUPTED, CommandFailed
from tools.help_pages import COMPLETION_VARIABLE, EXIT_CODES, PROGRAM
from tools.installation import Installation

APP_DIR: Final = Path(__file__).resolve().parents[1]

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, add_completion=False, epilog=EXIT_CODES)


def _show_version(context: typer.Context, wanted: bool) -> None:  # noqa: FBT001 - Typer passes the option's value
    if wanted:
        commit = _commit(context.obj.app_dir)
        Console().line(VERSION + (f" (commit {commit})" if commit else ""))
        raise typer.Exit


def _commit(app_dir: Path) -> str:
    """Return the checked-out commit, with ``-dirty`` after changes; an empty string if the app is not a clone."""
    if not (app_dir / ".git").exists():
        return ""
    command = ["git", "-C", str(app_dir), "describe", "--always", "--dirty", "--exclude=*"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603
    return ""


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
]
DeployedOption = Annotated[
    bool,
    typer.Option(
        "--deployed", help="Work on the app in Azure, with the values of azd's environment in place of local settings."
    ),
]


@app.callback(invoke_without_command=True)
def program(
    context: typer.Context,
    *,
    is_deployed: DeployedOption = False,
    version: VersionOption = False,  # noqa: ARG001 - see _show_version
) -> None:
    """The operator's commands of nextstage.

    `make setup` installs what they need into .venv. They read the same settings as the app: environment variables
    first, then local.settings.json next to function_app.py. To work on the journal and the queue of a deployed app, use
    `manage.py --deployed COMMAND`, and sign in with `az login`. That takes the values of azd's environment instead of
    local.settings.json. Without azd, also set JOURNAL_CONNECTION and RESUME_STORAGE__queueServiceUri.
    """
    if is_deployed:
        from tools.azure.deployment import deployed_app  # noqa: PLC0415 - rarely needed

        context.obj = deployed_app(context.obj)
    if context.invoked_subcommand is None:
        Console().text(context.get_help())


def main(
    arguments: Sequence[str] | None = None,
    app_dir: Path = APP_DIR,
    environ: Mapping[str, str] = os.environ,
    clock: Clock = utc_now,
) -> int:
    """Run one command and return its exit code.

    :param arguments: the command line's arguments; by default those of this process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if COMPLETION_VARIABLE in os.environ:
        from typer.completion import get_completion_inspect_parameters  # noqa: PLC0415 - slow, and rarely needed

        get_completion_inspect_parameters()  # registers the completion protocols of the shells
    try:
        with _warnings_on_stderr():
            code = typer.main.get_command(app).main(
                arguments,
                prog_name=PROGRAM,
                complete_var=COMPLETION_VARIABLE,
                standalone_mode=False,
                obj=Installation(app_dir, environ, clock),
            )
    except typer.TyperException as exc:
        # Typer passes on the message of the library that validates values.
        Console().error(f"{exc.format_message().replace('Value error, ', '').rstrip('.')}; see --help")
        return exc.exit_code
    except (CommandFailed, NextstageError) as exc:
        Console().error(str(exc))
        return exc.exit_code if isinstance(exc, CommandFailed) else 2
    if code == INTERRUPTED:
        if sys.stderr.isatty():
            Console().note("")  # the terminal shows ^C, or a question
        Console().error("interrupted; what was done is kept, so it is safe to run the command again")
    return code if isinstance(code, int) else 0


class _Warnings(logging.Handler):
    """Prints a warning as the commands print everything else: without characters that could control a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        Console().note(f"manage.py: {record.getMessage()}")


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Show only nextstage's own warnings, since a library's warning may quote a URL with a signature."""
    handler = _Warnings(logging.WARNING)
    ours, others = logging.getLogger("nextstage"), logging.NullHandler()
    ours.addHandler(handler)
    logging.getLogger().addHandler(others)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        logging.getLogger().removeHandler(others)
