"""The threads of the app that take up what is due in the SQLite queue. One machine has no queue trigger."""

import threading
from collections.abc import Callable
from typing import Final

from shared.errors import NextstageError
from shared.logs import NEXT_INVOCATION, logger
from shared.resume.resume import Resume
from shared.resume.sqlite_queue import SqliteQueue, Taken

LOOK_EVERY_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 60.0
"""The longest pause after errors."""
MAX_IN_WORK: Final = 16
"""How many messages are in work at once, as in a batch of the queue trigger; see host.json."""

_log = logger("nextstage.resume")


class ResumeThread:
    """Looks for what is due. Each message gets a thread of its own, which ends with it: while idle, there is one."""

    def __init__(
        self,
        start: Callable[[], tuple[Resume, SqliteQueue]],
        look_every_seconds: float = LOOK_EVERY_SECONDS,
        max_in_work: int = MAX_IN_WORK,
    ) -> None:
        """
        :param start: makes the collaborators, on the thread.
        :param max_in_work: how many messages are in work at once.
        """
        self._start = start
        self._look_every_seconds = look_every_seconds
        self._max_in_work = max_in_work
        self._free = threading.BoundedSemaphore(max_in_work)
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resume", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Take up nothing more. Does not wait for the messages in work."""
        self._is_stopped.set()

    def stop(self) -> None:
        """Stop after the messages in work."""
        self.end()
        self._thread.join()
        for _ in range(self._max_in_work):
            self._free.acquire()

    def _run(self) -> None:
        pause = self._look_every_seconds
        while not self._is_stopped.wait(pause):
            with NEXT_INVOCATION.keeping():
                try:
                    while not self._is_stopped.is_set() and self._take_up_one():
                        pass
                    pause = self._look_every_seconds
                except Exception as exc:  # noqa: BLE001 - the thread must live on
                    _log.error("what is due cannot be taken up: %s", _shown(exc))
                    pause = min(pause * 2, MAX_PAUSE_SECONDS)

    def _take_up_one(self) -> bool:
        """Take a message when there is room for it. Return False if nothing is due or the thread ends."""
        self._free.acquire()
        worker: threading.Thread | None = None
        try:
            if self._is_stopped.is_set():
                return False
            resume, queue = self._start()
            if (taken := queue.take()) is not None:
                worker = threading.Thread(target=self._work, args=(resume, taken), name="resume one", daemon=True)
                worker.start()
        finally:
            if worker is None:
                self._free.release()
        return worker is not None

    def _work(self, resume: Resume, taken: Taken) -> None:
        with NEXT_INVOCATION.keeping():
            try:
                resume.go_on(taken.key, taken.ticket)
            except Exception as exc:  # noqa: BLE001 - nobody else would say so; the message comes again
                _log.error("a record could not be resumed: %s", _shown(exc))
            finally:
                self._free.release()


def _shown(error: Exception) -> str:
    """Return the message of our own error. Another one is a fault, and its kind is needed to find it."""
    return str(error) if isinstance(error, NextstageError) else f"{type(error).__name__}: {error}"
