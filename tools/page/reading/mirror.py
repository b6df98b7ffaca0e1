"""Copies a journal that is not a file into a temporary one, so that each page is a few queries on this machine.

A thread reads the whole journal once, and from then on the records that were written since the last time. Such a look
costs the service a scan, so it happens every ten seconds at most, and takes at most a tenth of the time. Every hour,
the whole journal is read again, because only that shows which records others have removed.
"""

import sqlite3
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from shared.errors import NextstageError, UnreadableRecord
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Record, Selection
from shared.journal.sqlite import SqliteStore, row_of
from tools.console import masked

PAUSE_SECONDS: Final = 10.0
READ_ALL_AFTER_SECONDS: Final = 3600.0

_SHARE: Final = 10
_EVERY_RECORD: Final = 2**31
_BATCH_RECORDS: Final = 200
_JOIN_SECONDS: Final = 2.0
# A write may get its time before it can be read, and clocks are known to within a second or two.
_OVERLAP: Final = timedelta(seconds=30)
# A record keeps its rowid, by which a page reads it after it has selected it.
_WRITE: Final = (
    "INSERT INTO records (version, state, run_id, claimed_at, event, document, shares_run, route, key)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (route, key) DO UPDATE SET version = excluded.version,"
    " state = excluded.state, run_id = excluded.run_id, claimed_at = excluded.claimed_at, event = excluded.event,"
    " document = excluded.document, shares_run = excluded.shares_run"
)
_REMOVE: Final = "DELETE FROM records WHERE route = ? AND key = ?"


class Progress(NamedTuple):
    """How far the copy is.

    :param records: how many records it has.
    :param as_of: when the last complete look began, by the store's clock; None while the copy is filled.
    :param problem: why the journal could not be read the last time; empty if it could.
    :param unreadable: the records that cannot be read.
    """

    records: int = 0
    as_of: datetime | None = None
    problem: str = ""
    unreadable: tuple[UnreadableRecord, ...] = ()


class Mirror:
    """A copy of a journal in a file that only its owner can read. ``close`` removes it.

    The version of a record in the copy is the number of the look at the whole journal that has found it last.
    """

    def __init__(self, journal: Journal, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Create the empty copy. ``start`` fills it."""
        self._journal = journal
        self._monotonic = monotonic
        self._folder = tempfile.TemporaryDirectory(prefix="nextstage-page-", ignore_cleanup_errors=True)
        path = Path(self._folder.name) / "journal.sqlite3"
        self.store: Final = SqliteStore(path)
        """The copy, to be read."""
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # A copy need not survive. And while it is read, two of its records may seem to have the same run.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("DROP INDEX one_record_per_run")
        self._looks = 0
        self._read_all_again_at = 0.0
        self.pause_seconds = PAUSE_SECONDS
        """How long to wait before the next look."""
        self._removed: deque[JournalKey] = deque()
        self._unreadable: dict[JournalKey, UnreadableRecord] = {}
        self._progress = Progress()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    @property
    def progress(self) -> Progress:
        """How far the copy is."""
        return self._progress

    def start(self) -> None:
        """Fill the copy, and keep it up to date, on a thread of its own."""
        self._thread.start()

    def forget(self, key: JournalKey) -> None:
        """Remove a record with the next look, because the journal no longer has it."""
        self._removed.append(key)

    def close(self) -> None:
        """End the thread, and remove the copy. A request that is on its way is not awaited for long."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)
        if not self._thread.is_alive():
            self._connection.close()
        self.store.close()
        self._folder.cleanup()

    def refresh(self) -> None:
        """Copy what was written since the last look; now and then, everything. What fails is tried again later."""
        before = self._progress
        try:
            begun_at, read_at = self._journal.now(), self._monotonic()
            while self._removed:
                self._connection.execute(_REMOVE, self._removed.popleft())
            if before.as_of is None or read_at >= self._read_all_again_at:
                self._looks += 1
                self._unreadable.clear()
                self._copy(Selection())
                self._remove_others()
                now = self._monotonic()
                self._read_all_again_at = now + pause_after(now - read_at, READ_ALL_AFTER_SECONDS)
                self.pause_seconds = PAUSE_SECONDS
            else:
                self._copy(Selection(written_since=before.as_of - _OVERLAP))
                self.pause_seconds = pause_after(self._monotonic() - read_at, PAUSE_SECONDS)
        except (NextstageError, sqlite3.Error, OSError) as exc:
            self._progress = self._progress._replace(problem=masked(str(exc)))
            return
        (records,) = self._connection.execute("SELECT count(*) FROM records").fetchone()
        self._progress = Progress(records, begun_at, "", tuple(self._unreadable.values()))

    def _copy(self, selection: Selection) -> None:
        """Copy the records of a selection.

        :raises JournalUnavailable: the journal does not answer.
        """
        batch: list[Record] = []
        for record in self._journal.select(selection, _EVERY_RECORD, self._skip):
            batch.append(record)
            if len(batch) == _BATCH_RECORDS:
                self._write(batch)
                batch = []
        self._write(batch)

    def _write(self, records: Sequence[Record]) -> None:
        if self._ended.is_set():
            raise _Ended("the page has ended")
        rows = [(self._looks, *map(_storable, row_of(record))) for record in records]
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(_WRITE, rows)
        for record in records:
            self._unreadable.pop(record.key, None)
        if self._progress.as_of is None:
            self._progress = self._progress._replace(records=self._progress.records + len(rows), problem="")

    def _skip(self, unreadable: UnreadableRecord) -> None:
        self._unreadable[JournalKey(unreadable.route, unreadable.key)] = unreadable
        self._connection.execute(_REMOVE, (unreadable.route, unreadable.key))

    def _remove_others(self) -> None:
        """Remove the records that the look at the whole journal has not found."""
        self._connection.execute("DELETE FROM records WHERE version < ?", (self._looks,))

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.refresh()
            except Exception as exc:  # noqa: BLE001 - the page says so, and the next look may work
                self._progress = self._progress._replace(problem=masked(f"{type(exc).__name__}: {exc}"))
            self._ended.wait(self.pause_seconds)


def pause_after(seconds: float, least: float) -> float:
    """Return how long to wait, in seconds, so that a look which took so long takes at most a tenth of the time."""
    return max(least, seconds * (_SHARE - 1))


class _Ended(NextstageError):
    """The copy is no longer needed."""


def _storable(value: object) -> object:
    """Return a value that SQLite can store: a table can have half a surrogate pair, which is not Unicode."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
