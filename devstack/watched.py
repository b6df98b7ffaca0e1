"""A value that is read from files, and read again when one of them has changed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable
    from pathlib import Path

T = TypeVar("T")
FileState = tuple[int, int, int]
"""Time, size and inode: at least one of them changes when a file is written."""


def state_of(path: Path) -> FileState | None:
    """Return the state of a file; None if there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Watched(Generic[T]):
    """Calling it returns the current value. While the files are invalid, it is the last one that was valid.

    :param load: reads the value, given the last valid one, and raises ValueError if the files are invalid.
    :param files: returns the files on which the value depends.
    :param logger: gets a line when the value was read again, or why it could not be read.
    """

    def __init__(
        self, load: Callable[[T | None], T], files: Callable[[], Iterable[Path]], logger: logging.Logger
    ) -> None:
        self._load = load
        self._files = files
        self._logger = logger
        self._lock = threading.Lock()
        self._seen = self._state()
        self._value = load(None)

    def __call__(self) -> T:
        with self._lock:
            state = self._state()
            if state != self._seen:
                self._seen = state
                try:
                    self._value = self._load(self._value)
                except ValueError as exc:
                    self._logger.warning("%s: a file has changed, but it is invalid: %s", self._logger.name, exc)
                else:
                    self._logger.warning("%s: a file has changed, and was read again", self._logger.name)
            return self._value

    def _state(self) -> dict[Path, FileState]:
        return {path: state for path in self._files() if (state := state_of(path)) is not None}
