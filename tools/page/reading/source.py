"""Opens what the pages read: the journal's file, or a copy of a journal that is not a file."""

import threading

from shared.journal.records import JournalKey
from shared.journal.sqlite import SqliteStore
from tools.installation import Installation
from tools.page.reading.mirror import Mirror, Progress
from tools.page.reading.reader import Reader


class Source:
    """What the pages read. Nothing is opened before it is needed. Safe for many threads."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._mirror: Mirror | None = None

    def reader(self) -> Reader:
        """Return the reader.

        :raises JournalUnavailable: the journal cannot be opened.
        :raises CommandFailed: the journal does not exist.
        """
        with self._lock:
            if self._reader is None:
                journal, store = self._installation.journal, self._installation.store
                if not isinstance(store, SqliteStore):
                    self._mirror = Mirror(journal)
                    self._mirror.start()
                    store = self._mirror.store
                self._reader = Reader(store)
            return self._reader

    @property
    def is_open(self) -> bool:
        """Whether the journal has been opened, so that a missing file means that it was deleted."""
        return self._reader is not None

    @property
    def progress(self) -> Progress | None:
        """How far the copy is; None if the pages read the journal itself."""
        return None if self._mirror is None else self._mirror.progress

    def forget(self, key: JournalKey) -> None:
        """Remove a record from the copy, if there is one, because the journal no longer has it."""
        if (mirror := self._mirror) is not None:
            mirror.forget(key)

    def close(self) -> None:
        """Remove the copy, if there is one."""
        with self._lock:
            if self._mirror is not None:
                self._mirror.close()
            self._reader = self._mirror = None
