"""Writes to one SQLite file for many threads: writes that arrive during a commit share the next one.

A commit waits for the disk, and then for Python's interpreter lock. With a plain lock around one connection, each
thread would wait for all commits before its own. At 32 threads, that costs a third to a half of the throughput (bench
row 5). Therefore the first thread commits, while the others enqueue their writes and wait. Then the first of those
commits all writes in the queue. Each write is still atomic, and on disk before its call returns.
"""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

Statement = tuple[str, tuple[Any, ...]]
"""The text of a statement and its parameters."""

# Errors of a single statement. SQLite, or the sqlite3 module, has undone the statement, and the transaction goes on.
_STATEMENT_ERRORS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ValueError,
    OverflowError,
)


class Writer:
    """One connection that writes for many threads. Other processes have their own; SQLite gives each its turn."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """:param connect: opens a connection in autocommit mode, for any thread."""
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._in_use = threading.Lock()
        """Guards the connection."""
        self._lock = threading.Lock()
        """Guards ``_waiting`` and ``_is_led``. Never held during a commit."""
        self._waiting: list[_Write] = []
        self._is_led = False

    def write(self, sql: str, parameters: tuple[Any, ...]) -> int:
        """Carry out one statement and return how many rows it has changed.

        :raises sqlite3.Error: the statement was not carried out.
        """
        return self._write(_Write(sql, parameters))

    def write_all(self, statements: Sequence[Statement]) -> bool:
        """Carry out all statements if each changes a row, else none. Return whether they were carried out.

        :raises sqlite3.Error: none was carried out.
        """
        return self._write(_Writes(statements)) > 0

    def _write(self, mine: "_Write") -> int:
        interrupt = None
        with self._lock:
            self._waiting.append(mine)
            leads, self._is_led = not self._is_led, True
        while not (leads or mine.is_woken):
            try:
                mine.turn.acquire()
            except BaseException as exc:  # noqa: BLE001 - an interrupted main thread must still take its turn
                interrupt = exc
        if not mine.is_over:
            self._lead(mine)
        if interrupt is not None:
            raise interrupt
        return mine.result()

    def close(self) -> None:
        """Close the connection; the next write opens another one."""
        with self._in_use:
            self._drop()

    def _lead(self, mine: "_Write") -> None:
        """Commit all waiting writes, including this thread's own, then wake the other threads and the next leader."""
        with self._lock:
            writes, self._waiting = self._waiting, []
        try:
            with self._in_use:
                self._commit(writes)
        finally:
            with self._lock:
                self._is_led = bool(self._waiting)
                woken = writes + self._waiting[:1]
            for write in woken:
                if write is not mine:
                    write.wake()

    def _commit(self, writes: "list[_Write]") -> None:
        try:
            self._connection = self._connection or self._connect()
            with self._connection as connection:  # rolls back if an exception escapes
                connection.execute("BEGIN IMMEDIATE")
                for write in writes:
                    write.carry_out(connection)
        except BaseException as exc:
            self._drop()  # the connection may be the cause
            for write in writes:  # a separate exception for each, because each is raised in another thread
                kind = type(exc) if isinstance(exc, sqlite3.OperationalError) else sqlite3.OperationalError
                write.error = kind(str(exc) or type(exc).__name__)
            if not isinstance(exc, sqlite3.Error):
                raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Write:
    """One statement and its result."""

    def __init__(self, sql: str, parameters: tuple[Any, ...]) -> None:
        self._sql = sql
        self._parameters = parameters
        self._changed: int | None = None
        self.error: Exception | None = None
        self.is_woken = False
        """Whether the write is finished or its thread has to lead."""
        self.turn = threading.Lock()
        """Held until then. A ``threading.Event`` could replace both attributes, but is slower (bench row 5)."""
        self.turn.acquire()

    @property
    def is_over(self) -> bool:
        return self._changed is not None or self.error is not None

    def wake(self) -> None:
        self.is_woken = True
        self.turn.release()

    def carry_out(self, connection: sqlite3.Connection) -> None:
        try:
            self._changed = connection.execute(self._sql, self._parameters).rowcount
        except _STATEMENT_ERRORS as exc:
            self.error = exc

    def result(self) -> int:
        if self.error is not None:
            raise self.error
        if self._changed is None:
            raise sqlite3.OperationalError("the commit was interrupted before it began")
        return self._changed


class _Writes(_Write):
    """Several statements that are carried out together, or not at all."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        super().__init__("", ())
        self._statements = statements

    def carry_out(self, connection: sqlite3.Connection) -> None:
        connection.execute("SAVEPOINT together")
        try:
            are_done = all(connection.execute(sql, parameters).rowcount == 1 for sql, parameters in self._statements)
            self._changed = len(self._statements) if are_done else 0
        except _STATEMENT_ERRORS as exc:
            self.error = exc
        if not self._changed:
            connection.execute("ROLLBACK TO together")
        connection.execute("RELEASE together")
