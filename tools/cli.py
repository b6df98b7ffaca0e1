"""The program: puts the commands together, and makes of whatever goes wrong one line and an exit code."""

import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import typer

from shared.errors import NextstageError
from tools.commands import (
    check as check_commands,
)
from tools.commands import (
    completion as completion_commands,
)
from tools.commands import (
    doctor as doctor_commands,
)
from tools.commands import (
    explain as explain_commands,
)
from tools.commands import (
    graph as graph_commands,
)
from tools.commands import (
    preview as preview_commands,
)
from tools.commands import (
    redrive as redrive_commands,
)
from tools.commands import (
    send as send_commands,
)
from tools.commands import (
    waits as wait_commands,
)
from tools.commands.journal import EPILOG as JOURNAL_EPILOG
from tools.commands.journal import journal_app
from tools.console import Console
from tools.errors import CommandFailed
from tools.help_pages import EXIT_CODES
from tools.installation import Installation

APP_DIR: Final = Path(__file__).resolve().parents[1]
PROGRAM: Final = "manage.py"
INTERRUPTED: Final = 130

app = typer.Typer(rich_markup_mode=None, add_completion=False, epilog=EXIT_CODES)
app.add_typer(journal_app, name="journal", epilog=JOURNAL_EPILOG)
app.command("waits", epilog=wait_commands.EPILOG)(wait_commands.list_waits)
app.command("check", epilog=check_commands.EPILOG)(check_commands.check_routes)
app.command("schema", epilog=check_commands.SCHEMA_EPILOG)(check_commands.write_schema)
app.command("explain", epilog=explain_commands.EPILOG)(explain_commands.explain_events)
app.command("graph", epilog=graph_commands.EPILOG)(graph_commands.graph)
app.command("redrive", epilog=redrive_commands.EPILOG)(redrive_commands.redrive)
app.command("send", epilog=send_commands.EPILOG)(send_commands.send)
app.command("doctor", epilog=doctor_commands.EPILOG)(doctor_commands.doctor)
app.command("completion", epilog=completion_commands.EPILOG)(completion_commands.completion)
app.command("preview", epilog=preview_commands.EPILOG)(preview_commands.preview)


@app.callback(invoke_without_command=True)
def program(context: typer.Context) -> None:
    """The operator's commands of nextstage.

    They read the settings that the app reads: the environment, and below it local.settings.json beside
    function_app.py. To work on a deployed app's journal, set JOURNAL_CONNECTION to its table endpoint and sign in
    with 'az login'.
    """
    if context.invoked_subcommand is None:
        Console().text(context.get_help())


def main(
    arguments: Sequence[str] | None = None, app_dir: Path = APP_DIR, environ: Mapping[str, str] = os.environ
) -> int:
    """Run one command; returns the exit code.

    :param arguments: of the command line; by default the process's own.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        completion_commands.prepare()
        with _warnings_on_stderr():
            code = typer.main.get_command(app).main(
                arguments,
                prog_name=PROGRAM,
                complete_var=completion_commands.VARIABLE,
                standalone_mode=False,
                obj=Installation(app_dir, environ),
            )
    except (CommandFailed, NextstageError, typer.TyperException) as exc:
        Console().error(_text(exc))
        return exc.exit_code if isinstance(exc, CommandFailed | typer.TyperException) else 2
    if code == INTERRUPTED:
        Console().error("interrupted; what was sent is in the journal, so the command can simply be repeated")
    return code if isinstance(code, int) else 0


def _text(exc: Exception) -> str:
    if not isinstance(exc, typer.TyperException):
        return str(exc)
    # Typer hands on the words of the library that it checks values with.
    return f"{exc.format_message().replace('Value error, ', '').rstrip('.')}; see --help"


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Show our own warnings, and nobody else's: a library's may quote a URL with a signature in it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("manage.py: %(message)s"))
    handler.setLevel(logging.WARNING)
    ours, others = logging.getLogger("nextstage"), logging.NullHandler()
    ours.addHandler(handler)
    logging.getLogger().addHandler(others)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        logging.getLogger().removeHandler(others)
