"""Files of events in either schema: one event, an array of events, or Event Grid's dead letters.

Event Grid writes a batch of undelivered events into one blob, in the form in which they were published. To each event
it adds the fields ``deadLetterReason`` and ``lastDeliveryOutcome``. In CloudEvents, these are in lower case.
Source: https://learn.microsoft.com/azure/event-grid/manage-event-delivery
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from tools.errors import CommandFailed, UnreadableFile
from tools.size_limit import read_bytes

STDIN: Final = "-"

_NAME_AN_EVENT: Final = "name a file with an event: a JSON object in one of Event Grid's two schemas"

Source = tuple[str, Callable[[], bytes]]
"""The name of a file, and a function that reads it and may raise UnreadableFile."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event from a file, perhaps one that Event Grid gave up.

    :param why: why Event Grid gave up; ``-`` if the event does not say.
    :param text: the event as JSON, with the fields that Event Grid has added.
    """

    file: str
    event_id: str
    why: str
    text: str


@dataclass(frozen=True, slots=True)
class Collected:
    """The events that were read.

    :param unreadable: one line for each file that could not be read.
    :param is_cut: whether the limit was reached, so that not all events are included.
    """

    letters: tuple[DeadLetter, ...]
    unreadable: tuple[str, ...]
    is_cut: bool = False


def collect(sources: Iterable[Source], limit: int) -> Collected:
    """Read the files in order until the limit is reached.

    :raises CommandFailed: no event was read, because of files that cannot be read.
    """
    letters: list[DeadLetter] = []
    unreadable: list[str] = []
    for name, read in sources:
        if len(letters) >= limit:
            return Collected(tuple(letters[:limit]), tuple(unreadable), is_cut=True)
        try:
            letters.extend(read_dead_letters(name, read()))
        except UnreadableFile as exc:
            unreadable.append(f"{name} {exc}")
    if unreadable and not letters:
        raise CommandFailed("\n".join([f"{unreadable[0]}; {_NAME_AN_EVENT}", *unreadable[1:]]))
    return Collected(tuple(letters[:limit]), tuple(unreadable), is_cut=len(letters) > limit)


def read_dead_letters(file: str, content: bytes) -> list[DeadLetter]:
    """Return the events in a file, which contains one event or an array of events.

    :raises UnreadableFile: the file contains neither.
    """
    try:
        document = json.loads(content.decode("utf-8-sig"))
        if isinstance(document, dict):
            document = [document]
        if isinstance(document, list):
            return [_letter(file, item) for item in document]
    except RecursionError as exc:  # also of what could be read, but not written
        raise UnreadableFile("is nested too deeply") from exc
    except ValueError as exc:  # UnicodeDecodeError is one too
        raise UnreadableFile(f"is not JSON ({exc})") from exc
    raise UnreadableFile("contains neither an event nor an array of events")


def read_events(paths: Iterable[str], stdin: BinaryIO) -> list[DeadLetter]:
    """Return all events of all files, in order.

    :param paths: the names of the files; ``-`` is standard input.
    :raises CommandFailed: a file cannot be read, is not JSON, or contains no event.
    """
    events: list[DeadLetter] = []
    for path in paths:
        name = "standard input" if path == STDIN else path
        try:
            found = read_dead_letters(name, stdin.read() if path == STDIN else _read(Path(path)))
        except UnreadableFile as exc:
            raise CommandFailed(f"{name} {exc}; {_NAME_AN_EVENT}") from exc
        if not found:
            raise CommandFailed(f"{name} contains an empty array; add an event")
        events += found
    return events


def local_files(path: Path) -> Iterator[Source]:
    """Yield one file, or every ``*.json`` in a folder and its subfolders, sorted by name.

    :raises CommandFailed: there is no such file or folder.
    """
    if path.is_file():
        yield str(path), partial(_read, path)
        return
    if not path.is_dir():
        # The path may be a URL without its scheme, but with a signature.
        shown = str(path).partition("?")[0]
        raise CommandFailed(f"there is no file or folder {shown}; for a blob container, use its https:// URL")
    for file in sorted(path.rglob("*.json")):
        yield str(file.relative_to(path)), partial(_read, file)


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as exc:
        raise UnreadableFile(f"cannot be read ({exc.strerror or type(exc).__name__})") from exc


def _letter(file: str, item: Any) -> DeadLetter:
    fields = {key.lower(): value for key, value in item.items()} if isinstance(item, dict) else {}
    reason, outcome = fields.get("deadletterreason"), fields.get("lastdeliveryoutcome")
    why = f"{reason or ''}" + (f" ({outcome})" if outcome else "")
    return DeadLetter(file, str(fields.get("id") or "-"), why.strip() or "-", json.dumps(item, ensure_ascii=False))
