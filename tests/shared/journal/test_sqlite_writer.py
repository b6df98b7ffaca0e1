"""Writes that several threads ask for at once are committed together, and each is still one step of its own."""

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.journal.sqlite_writer import Writer, _Write

INSERT = "INSERT INTO numbers VALUES (?)"


def until(is_so: Callable[[], bool]) -> None:
    """Wait for other threads."""
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


class Database:
    """One connection, and a first commit that lasts until all who are to wait for it do so."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("CREATE TABLE numbers (number INTEGER UNIQUE)")
        self.writer = Writer(self.lend)
        self.transactions: list[str] = []
        self.expected = 0
        self.errors: list[BaseException] = []
        self.gate = threading.Event()
        self.gate.set()
        self.lent = 0

    @contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        self.lent += 1
        if self.lent == 1:
            until(lambda: len(self.writer._waiting) >= self.expected)
            assert self.gate.wait(10)
            self.connection.set_trace_callback(self.transactions.append)
        elif self.errors:
            raise self.errors.pop()
        yield self.connection

    def write_behind_another(self, *writes: Callable[[], int]) -> list[Future[int]]:
        """One thread writes 0; the others come in this order while it commits."""
        self.expected = len(writes)
        with ThreadPoolExecutor(len(writes) + 1) as pool:
            pool.submit(self.write, 0)
            until(lambda: bool(self.lent))
            futures = []
            for write in writes:
                futures.append(pool.submit(write))
                until(lambda: len(futures) == self.expected or len(self.writer._waiting) >= len(futures))
        return futures

    def write(self, number: int, sql: str = INSERT) -> int:
        return self.writer.write(sql, (number,))

    def numbers(self) -> list[int]:
        return [row[0] for row in self.connection.execute("SELECT number FROM numbers ORDER BY number")]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "numbers.sqlite3")
    yield made
    made.connection.close()


def test_one_write_is_a_transaction_by_itself(database: Database) -> None:
    assert database.write(1) == 1
    assert database.writer.write("UPDATE numbers SET number = 2 WHERE number = ?", (7,)) == 0
    assert database.numbers() == [1]
    assert not any(statement.startswith("BEGIN") for statement in database.transactions)


def test_what_comes_during_a_commit_goes_into_the_next_one(database: Database) -> None:
    futures = database.write_behind_another(*[lambda number=number: database.write(number) for number in range(1, 9)])
    assert [future.result() for future in futures] == [1] * 8
    kinds = [statement.split()[0] for statement in database.transactions]
    assert kinds == ["INSERT", "BEGIN", *["INSERT"] * 8, "COMMIT"]
    assert database.numbers() == list(range(9))


def test_what_is_wrong_with_one_write_is_its_own(database: Database) -> None:
    futures = database.write_behind_another(
        lambda: database.write(1),
        lambda: database.write(2**70),
        lambda: database.writer.write(INSERT, ("\ud800",)),
        lambda: database.write(0),
        lambda: database.write(2),
    )
    assert [type(future.exception()) for future in futures] == [
        type(None),
        OverflowError,
        UnicodeEncodeError,
        sqlite3.IntegrityError,
        type(None),
    ]
    assert database.numbers() == [0, 1, 2]


def test_a_commit_that_fails_fails_for_all_in_it(database: Database) -> None:
    database.errors = [sqlite3.OperationalError("disk I/O error")]
    futures = database.write_behind_another(lambda: database.write(1), lambda: database.write(2))
    errors = [future.exception() for future in futures]
    assert [str(error) for error in errors] == ["disk I/O error"] * 2
    assert errors[0] is not errors[1]
    assert database.numbers() == [0]
    assert database.write(3) == 1


def test_a_commit_that_fails_half_way_leaves_nothing(database: Database) -> None:
    futures = database.write_behind_another(
        lambda: database.write(1), lambda: database.write(2, "INSERT INTO nowhere VALUES (?)")
    )
    assert [str(future.exception()) for future in futures] == ["no such table: nowhere"] * 2
    assert database.numbers() == [0]
    assert database.write(3) == 1


def test_an_interrupted_commit_fails_for_those_behind_it(database: Database) -> None:
    database.errors = [KeyboardInterrupt()]
    futures = database.write_behind_another(lambda: database.write(1), lambda: database.write(2))
    assert isinstance(futures[0].exception(), KeyboardInterrupt)
    with pytest.raises(sqlite3.OperationalError, match="interrupted by KeyboardInterrupt"):
        futures[1].result()
    assert database.write(3) == 1


class _Alarm(Exception):
    pass


def _raise_alarm(number: int, frame: object) -> None:
    raise _Alarm


def test_nobody_waits_for_a_thread_that_was_interrupted_while_it_waited(database: Database) -> None:
    database.gate.clear()
    main = threading.get_ident()

    def interrupt_main() -> None:
        until(lambda: len(database.writer._waiting) >= 2)
        signal.pthread_kill(main, signal.SIGUSR1)

    def write_behind_main() -> int:
        until(lambda: len(database.writer._waiting) >= 1)
        return database.write(2)

    previous = signal.signal(signal.SIGUSR1, _raise_alarm)
    try:
        with ThreadPoolExecutor(3) as pool:
            leader = pool.submit(database.write, 0)
            until(lambda: bool(database.lent))
            behind = pool.submit(write_behind_main)
            pool.submit(interrupt_main)
            with pytest.raises(_Alarm):
                database.write(1)
            database.gate.set()
            assert (leader.result(10), behind.result(10)) == (1, 1)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert database.numbers() == [0, 2]


def test_a_lead_given_to_a_thread_that_is_interrupted_goes_on_to_the_next(database: Database) -> None:
    mine, other = _Write(INSERT, (1,)), _Write(INSERT, (2,))

    class InterruptedTurn:
        def acquire(self) -> None:
            mine.leads = True
            raise _Alarm

    mine.turn = InterruptedTurn()  # type: ignore[assignment]
    database.writer._waiting = [mine, other]
    with pytest.raises(_Alarm):
        database.writer._wait(mine)
    assert database.writer._waiting == [other]
    assert other.leads
    assert other.turn.acquire(blocking=False)
