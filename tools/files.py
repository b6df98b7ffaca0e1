"""The files that commands read and write: a dispatch table, a result, and events that could not be read."""

from pathlib import Path

from tools.console import Console
from tools.errors import CommandFailed
from tools.events.dead_letters import Collected


def read_text(file: Path) -> str:
    """Return a dispatch table's text.

    :raises CommandFailed: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
        raise CommandFailed(f"{file} cannot be read ({reason}); name another file, or set ROUTES_FILE") from exc


def shown_path(file: Path) -> str:
    """Return a path as it is typed: relative to the working directory if it is below it."""
    absolute = file.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else file)


def emit(console: Console, text: str, output: Path | None) -> None:
    """Print a text, or write it to a file.

    :raises CommandFailed: the file cannot be written.
    """
    if output is None:
        console.text(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise CommandFailed(f"{output} cannot be written ({exc.strerror}); name another file") from exc
    console.note(f"{output} is written")


def show_unread(collected: Collected, limit: int, console: Console) -> bool:
    """Say which files could not be read, and that there are more events; return whether every file could be read."""
    for line in collected.unreadable:
        console.error(line)
    if collected.is_cut:
        console.note(f"only the first {limit} events are read; --limit reads more")
    return not collected.unreadable
