"""The files that commands read and write, and the report of event files that could not be read."""

from io import BytesIO, TextIOWrapper
from pathlib import Path

from tools.console import Console
from tools.errors import CommandFailed
from tools.events.dead_letters import Collected
from tools.size_limit import read_bytes


def read_text(file: Path) -> str:
    """Return the text of a dispatch table or its cases, with plain line breaks.

    :raises CommandFailed: the file cannot be read.
    """
    try:
        return TextIOWrapper(BytesIO(read_bytes(file)), encoding="utf-8").read()
    except UnicodeDecodeError as exc:
        raise CommandFailed(f"{file} is not UTF-8; save it as UTF-8, or name another file") from exc
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise CommandFailed(f"{file} cannot be read ({reason}); name another file, or set ROUTES_FILE") from exc


def shown_path(file: Path) -> str:
    """Return a path as an operator would type it: relative if it is inside the working directory."""
    absolute = file.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else file)


def emit(console: Console, text: str, output: Path | None) -> None:
    """Print the text, or write it to a file.

    :raises CommandFailed: the file cannot be written.
    """
    if output is None:
        console.code(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise CommandFailed(f"{output} cannot be written ({exc.strerror}); name another file") from exc
    console.note(f"wrote {output}")


def show_unread(collected: Collected, limit: int, console: Console) -> bool:
    """Report the files that could not be read and whether the limit was reached; return True if all could be read."""
    for line in collected.unreadable:
        console.error(f"{line}; the other files are processed")
    if collected.is_cut:
        console.note(f"only the first {limit} events were read; use --limit to read more")
    return not collected.unreadable
