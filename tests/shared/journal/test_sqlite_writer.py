"""Writes that several threads make at once are committed together, and each is still atomic."""

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.journal.sqlite_writer import Writer
from tests.support.polling import wait_until

INSERT = "INSERT INTO numbers VALUES (?)"
INTERRUPT = -1


class _Connection(sqlite3.Connection):
    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if INTERRUPT in parameters:
            raise KeyboardInterrupt
        return super().execute(sql, parameters)


class Database:
    """A file whose first commit lasts until ``gate`` is set, while other writes wait in the queue."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = Writer(self.connect)
        self.statements: list[str] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE numbers (number INTEGER UNIQUE)")
        connection.close()

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, factory=_Connection)
        connection.set_trace_callback(self.statements.append)
        self.begun.set()
        assert self.gate.wait(30)
        return connection

    def write_behind_another(self, *writes: Callable[[], int]) -> list[Future[int]]:
        """Write 0 in one thread. During its commit, start the other writes, in this order."""
        with ThreadPoolExecutor(len(writes) + 1) as pool:
            first = pool.submit(self.write, 0)
            assert self.begun.wait(30)
            futures = []
            for write in writes:
                futures.append(pool.submit(write))
                wait_until(lambda: self.gathered == len(futures))
            self.gate.set()
        assert first.result() == 1
        return futures

    @property
    def gathered(self) -> int:
        return len(self.writer._waiting)

    def write(self, number: int | str, sql: str = INSERT) -> int:
        return self.writer.write(sql, (number,))

    def numbers(self) -> list[int]:
        self.writer.close()
        connection = sqlite3.connect(self.path)
        rows = connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()
        connection.close()
        return [row[0] for row in rows]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "numbers.sqlite3")
    yield made
    made.writer.close()


def test_writes_during_a_commit_share_the_next_one(database: Database) -> None:
    futures = database.write_behind_another(*[lambda number=number: database.write(number) for number in range(1, 9)])
    assert [future.result() for future in futures] == [1] * 8
    kinds = [statement.split()[0] for statement in database.statements]
    assert kinds == ["BEGIN", "INSERT", "COMMIT", "BEGIN", *["INSERT"] * 8, "COMMIT"]
    assert database.numbers() == list(range(9))


def test_an_error_of_one_write_does_not_affect_others(database: Database) -> None:
    writes: list[int | str] = [1, 2**70, "\ud800", 0, 2]
    futures = database.write_behind_another(*[lambda number=number: database.write(number) for number in writes])
    errors = [type(future.exception()) for future in futures]
    assert errors == [type(None), OverflowError, UnicodeEncodeError, sqlite3.IntegrityError, type(None)]
    assert database.numbers() == [0, 1, 2]


def test_a_failed_commit_fails_for_all_its_writes_and_leaves_nothing(database: Database) -> None:
    futures = database.write_behind_another(
        lambda: database.write(1), lambda: database.write(2, "INSERT INTO nowhere VALUES (?)")
    )
    errors = [future.exception() for future in futures]
    assert [str(error) for error in errors] == ["no such table: nowhere"] * 2
    assert errors[0] is not errors[1], "each is raised in another thread"
    assert database.write(3) == 1
    assert database.numbers() == [0, 3]


def test_statements_are_carried_out_together_or_not_at_all(database: Database) -> None:
    """A part that changes nothing or fails undoes the other part, and no other write of the commit."""

    def together(*numbers: int) -> Callable[[], int]:
        return lambda: database.writer.write_all([(INSERT, (number,)) for number in numbers])

    futures = database.write_behind_another(
        lambda: database.write(1),
        together(2, 3),
        together(4, 0),
        lambda: database.writer.write_all([(INSERT, (5,)), ("UPDATE numbers SET number = ? WHERE number = 99", (6,))]),
        together(7, 8),
    )
    errors = [type(future.exception()) for future in futures]
    assert errors == [type(None), type(None), sqlite3.IntegrityError, type(None), type(None)]
    assert [future.result() for future in futures if future.exception() is None] == [1, True, False, True]
    assert database.numbers() == [0, 1, 2, 3, 7, 8]


class _Alarm(Exception):
    pass


def test_an_interrupted_thread_does_not_block_others(database: Database) -> None:
    """The main thread is interrupted while it waits, and still commits the writes behind it."""
    main = threading.get_ident()

    def interrupt() -> None:
        wait_until(lambda: database.gathered == 2)
        signal.pthread_kill(main, signal.SIGUSR1)
        database.gate.set()

    def write_behind_main() -> int:
        wait_until(lambda: database.gathered == 1)
        return database.write(2)

    def ring(number: int, frame: object) -> None:
        raise _Alarm

    previous = signal.signal(signal.SIGUSR1, ring)
    try:
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(database.write, 0)
            assert database.begun.wait(30)
            behind = pool.submit(write_behind_main)
            pool.submit(interrupt)
            with pytest.raises(_Alarm):
                database.write(1)
            assert (first.result(30), behind.result(30)) == (1, 1)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert database.numbers() == [0, 1, 2]


def test_an_interrupted_commit_fails_for_all_its_writes(database: Database) -> None:
    futures = database.write_behind_another(lambda: database.write(1), lambda: database.write(INTERRUPT))
    assert isinstance(futures[0].exception(), KeyboardInterrupt)
    with pytest.raises(sqlite3.OperationalError, match="KeyboardInterrupt"):
        futures[1].result()
    assert database.write(3) == 1
    assert database.numbers() == [0, 3]
