"""Reads the events that a command is given: one event, an array of them, or a dead-letter blob; a file or stdin."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from tools.errors import CommandFailed, UnreadableFile
from tools.events.dead_letters import DeadLetter, read_dead_letters

STDIN: Final = "-"


def read_events(paths: Sequence[str], stdin: BinaryIO) -> list[DeadLetter]:
    """All events of all files, in order.

    :param paths: files' names; ``-`` is the standard input.
    :raises CommandFailed: one cannot be read, is not JSON, or holds no event.
    """
    return [event for path in paths for event in _read(path, stdin)]


def _read(path: str, stdin: BinaryIO) -> list[DeadLetter]:
    name = "the standard input" if path == STDIN else path
    try:
        content = stdin.read() if path == STDIN else Path(path).read_bytes()
    except OSError as exc:
        raise CommandFailed(f"{name} cannot be read: {exc.strerror or type(exc).__name__}; name a file") from exc
    try:
        letters = read_dead_letters(name, content)
    except UnreadableFile as exc:
        raise CommandFailed(f"{name} {exc}; an event is one JSON object, in either of Event Grid's schemas") from exc
    if not letters:
        raise CommandFailed(f"{name} holds an empty array; put an event in it")
    return letters
