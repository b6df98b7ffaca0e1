"""Files of events: one event, an array of them, or Event Grid's dead letters; in either schema.

Event Grid writes a batch of undelivered events into one blob, as they were published, and adds to each why it gave up
(``deadLetterReason``, ``lastDeliveryOutcome``; all in lower case in CloudEvents).
Source: https://learn.microsoft.com/azure/event-grid/manage-event-delivery
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from tools.errors import CommandFailed, UnreadableFile

STDIN: Final = "-"

Source = tuple[str, Callable[[], bytes]]
"""A file's name, and what reads it; that raises UnreadableFile."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that Event Grid gave up.

    :param text: the event as JSON, with what Event Grid has added to it.
    :param why: why Event Grid gave up; empty where it does not say.
    """

    file: str
    event_id: str
    why: str
    text: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What was found.

    :param unreadable: for each file that could not be read, one line that names it.
    :param is_cut: whether files were left unread because there are enough events.
    """

    letters: tuple[DeadLetter, ...]
    unreadable: tuple[str, ...]
    is_cut: bool = False


def collect(sources: Iterable[Source], limit: int) -> Collected:
    """Read file after file until there are enough events."""
    letters: list[DeadLetter] = []
    unreadable: list[str] = []
    for name, read in sources:
        if len(letters) >= limit:
            return Collected(tuple(letters[:limit]), tuple(unreadable), is_cut=True)
        try:
            letters.extend(read_dead_letters(name, read()))
        except UnreadableFile as exc:
            unreadable.append(f"{name} {exc}; the others are not held up by it")
    return Collected(tuple(letters[:limit]), tuple(unreadable), is_cut=len(letters) > limit)


def read_dead_letters(file: str, content: bytes) -> list[DeadLetter]:
    """The events in a file: an array of them, or a single one.

    :raises UnreadableFile: it holds neither.
    """
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except RecursionError as exc:
        raise UnreadableFile("is nested too deeply") from exc
    except ValueError as exc:  # UnicodeDecodeError is one too
        raise UnreadableFile(f"is not JSON ({exc})") from exc
    if isinstance(document, dict):
        document = [document]
    if not isinstance(document, list):
        raise UnreadableFile("holds neither an event nor an array of events")
    return [_letter(file, item) for item in document]


def read_events(paths: Iterable[str], stdin: BinaryIO) -> list[DeadLetter]:
    """All events of all files, in order.

    :param paths: files' names; ``-`` is the standard input.
    :raises CommandFailed: one cannot be read, is not JSON, or holds no event.
    """
    events: list[DeadLetter] = []
    for path in paths:
        name = "standard input" if path == STDIN else path
        try:
            found = read_dead_letters(name, stdin.read() if path == STDIN else _read(Path(path)))
        except UnreadableFile as exc:
            advice = "name a file with an event: one JSON object, in either of Event Grid's schemas"
            raise CommandFailed(f"{name} {exc}; {advice}") from exc
        if not found:
            raise CommandFailed(f"{name} holds an empty array; put an event in it")
        events += found
    return events


def local_files(path: Path) -> Iterator[Source]:
    """One file, or every ``*.json`` below a folder, sorted by name.

    :raises CommandFailed: there is no such file or folder.
    """
    if path.is_file():
        yield str(path), partial(_read, path)
        return
    if not path.is_dir():
        # A URL that was typed without its scheme may hold a signature.
        shown = str(path).partition("?")[0]
        raise CommandFailed(f"there is no file or folder {shown}; a blob container is named by its https:// URL")
    for file in sorted(path.rglob("*.json")):
        yield str(file.relative_to(path)), partial(_read, file)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UnreadableFile(f"cannot be read ({exc.strerror or type(exc).__name__})") from exc


def _letter(file: str, item: Any) -> DeadLetter:
    fields = {key.lower(): value for key, value in item.items()} if isinstance(item, dict) else {}
    reason, outcome = fields.get("deadletterreason"), fields.get("lastdeliveryoutcome")
    why = f"{reason or ''}" + (f" ({outcome})" if outcome else "")
    return DeadLetter(file, str(fields.get("id") or "-"), why.strip() or "-", json.dumps(item, ensure_ascii=False))
