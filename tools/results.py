"""Hands a text that a command made to whoever wants it: standard output, or a file."""

from pathlib import Path

from tools.console import Console
from tools.errors import CommandFailed


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
