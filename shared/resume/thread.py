"""The thread of the app that takes up what is due in the SQLite queue. One machine has no queue trigger."""

import threading
from collections.abc import Callable
from typing import Final

from shared.errors import NextstageError
from shared.logs import NEXT_INVOCATION, logger
from shared.resume.resume import Resume
from shared.resume.sqlite_queue import SqliteQueue

LOOK_EVERY_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 60.0
"""The longest pause after errors."""

_log = logger("nextstage.resume")


class ResumeThread:
    """Takes one message after the other."""

    def __init__(
        self, start: Callable[[], tuple[Resume, SqliteQueue]], look_every_seconds: float = LOOK_EVERY_SECONDS
    ) -> None:
        """:param start: makes the collaborators, on the thread."""
        self._start = start
        self._look_every_seconds = look_every_seconds
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resume", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the message in work."""
        self._is_stopped.set()
        self._thread.join()

    def _run(self) -> None:
        pause = self._look_every_seconds
        while not self._is_stopped.wait(pause):
            with NEXT_INVOCATION.keeping():
                try:
                    while not self._is_stopped.is_set() and self._take_up_one():
                        pass
                    pause = self._look_every_seconds
                except Exception as exc:  # noqa: BLE001 - the thread must live on; the message comes again
                    _log.error("a record could not be resumed: %s", _shown(exc))
                    pause = min(pause * 2, MAX_PAUSE_SECONDS)

    def _take_up_one(self) -> bool:
        resume, queue = self._start()
        if (taken := queue.take()) is None:
            return False
        resume.go_on(taken.key, taken.ticket)
        return True


def _shown(error: Exception) -> str:
    """Return the message of our own error. Another one is a fault, and its kind is needed to find it."""
    return str(error) if isinstance(error, NextstageError) else f"{type(error).__name__}: {error}"
