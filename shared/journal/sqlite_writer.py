"""Writes to one SQLite file for many threads: what is asked for while a commit is under way goes into the next one.

SQLite has one writer at a time, and each commit waits for the disk. A commit of its own for each write would let
threads wait for all commits before theirs, and whoever finds the file locked sleeps a while before it looks again. So
the first thread that wants to write commits, the others leave their writes and wait, and when it is done the first of
those commits all that has gathered. Each write is still one atomic step, and its caller hears of it once it is on disk.

No lock is held meanwhile: the one here guards the list.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

# What is wrong with one statement alone: SQLite, or the module before it, has undone it, and the transaction goes on.
_OF_ONE_WRITE: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ValueError,
    OverflowError,
)


class Writer:
    """Safe for many threads. Several processes may each have one for the same file: SQLite lets them in by turns."""

    def __init__(self, connection: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> None:
        """:param connection: lends a connection in autocommit mode."""
        self._connection = connection
        self._lock = threading.Lock()
        self._waiting: list[_Write] = []
        self._is_led = False

    def write(self, sql: str, parameters: tuple[Any, ...]) -> int:
        """Carry one statement out, durably, and return how many rows it has changed.

        :raises sqlite3.Error: it was not carried out.
        """
        mine = _Write(sql, parameters)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._is_led = not self._is_led, True
        if not mine.leads:
            self._wait(mine)
        if mine.leads:
            self._lead()
        return mine.result()

    def _wait(self, mine: "_Write") -> None:
        """Until the write is over, or its thread has the lead."""
        try:
            mine.turn.acquire()
        except BaseException:  # the main thread can be interrupted here; whoever waits behind it must not wait for ever
            with self._lock:
                if mine in self._waiting:
                    self._waiting.remove(mine)
            if mine.leads:
                self._hand_on()
            raise

    def _lead(self) -> None:
        """Commit what waits, one's own write among it, and hand the lead to whoever came meanwhile."""
        with self._lock:
            writes, self._waiting = self._waiting, []
        try:
            self._commit(writes)
        except sqlite3.Error as exc:
            _fail(writes, exc)
        except BaseException as exc:
            _fail(writes, sqlite3.OperationalError(f"the commit was interrupted by {type(exc).__name__}"))
            raise
        finally:
            self._hand_on()
            for write in writes:
                write.turn.release()

    def _hand_on(self) -> None:
        with self._lock:
            self._is_led = bool(self._waiting)
            if self._is_led:
                self._waiting[0].leads = True
                self._waiting[0].turn.release()

    def _commit(self, writes: list["_Write"]) -> None:
        with self._connection() as connection:
            if len(writes) == 1:
                writes[0].carry_out(connection)
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                for write in writes:
                    write.carry_out(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


class _Write:
    """One statement, and what has come of it."""

    def __init__(self, sql: str, parameters: tuple[Any, ...]) -> None:
        self._sql = sql
        self._parameters = parameters
        self._changed = 0
        self.error: Exception | None = None
        self.leads = False
        self.turn = threading.Lock()
        """Held until the write is over, or its thread has the lead."""
        self.turn.acquire()

    def carry_out(self, connection: sqlite3.Connection) -> None:
        try:
            self._changed = connection.execute(self._sql, self._parameters).rowcount
        except _OF_ONE_WRITE as exc:
            self.error = exc

    def result(self) -> int:
        if self.error is not None:
            raise self.error
        return self._changed


def _fail(writes: list[_Write], error: sqlite3.Error) -> None:
    """Nothing was committed. To each its own exception, since each is raised in another thread."""
    for write in writes:
        write.error = type(error)(*error.args)
