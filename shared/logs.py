"""The app's loggers. They log the lines of the app's own threads later, on the thread of an invocation.

The Functions host drops a log record unless it comes from the thread or task of a running invocation. So a thread that
the app starts runs its work with ``Lines.keeping``. The invocation that waits for the work then logs the lines. If no
invocation waits, the next one that logs anything logs them first.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

MAX_KEPT: Final = 1000
"""How many lines are kept for the next invocation. If there are more, the oldest are dropped."""


class Lines:
    """Lines to be logged by an invocation. Thread-safe."""

    def __init__(self, next_invocation: "Lines | None" = None) -> None:
        """:param next_invocation: gets the lines that are kept after these were logged."""
        self._next_invocation = next_invocation
        self._lines: deque[_Line] = deque(maxlen=MAX_KEPT)
        self._lock = threading.Lock()
        self._is_logged = False

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep what the app logs on this thread."""
        _own_thread.lines = self
        try:
            yield
        finally:
            _own_thread.lines = None

    def keep(self, line: "_Line") -> None:
        """Keep a line until ``log``; a later one is for the next invocation."""
        with self._lock:
            if self._next_invocation is None or not self._is_logged:
                self._lines.append(line)
                return
        self._next_invocation.keep(line)

    def __bool__(self) -> bool:
        """Return whether there are lines to log."""
        return bool(self._lines)

    def log(self) -> None:
        """Log the lines that were kept. Call this on the thread of an invocation."""
        for line in self.drop():
            line.logger.log(line.level, line.message, *line.arguments)

    def drop(self) -> "Iterable[_Line]":
        """Forget the lines that were kept, and return them."""
        with self._lock:
            self._is_logged = True
            lines, self._lines = self._lines, deque(maxlen=MAX_KEPT)
        return lines


class Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger for code that may run on a thread of the app's own."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a line, or keep it if this thread is not that of an invocation."""
        lines: Lines | None = getattr(_own_thread, "lines", None)
        if lines is not None:
            lines.keep(_Line(self.logger, level, msg, args))
            return
        if NEXT_INVOCATION:
            NEXT_INVOCATION.log()
        super().log(level, msg, *args, **{"stacklevel": 2, **kwargs})


class _Line(NamedTuple):
    logger: logging.Logger
    level: int
    message: object
    arguments: tuple[object, ...]


_own_thread = threading.local()

NEXT_INVOCATION: Final = Lines()
"""Lines of threads that no invocation waits for."""


def logger(name: str) -> Logger:
    """Return the logger of this name."""
    return Logger(logging.getLogger(name), {})
