"""The contract of every resume queue. The same tests run for each backend."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from shared.errors import ResumeUnavailable
from shared.journal.records import JournalKey
from shared.journal.sqlite import SqliteStore
from shared.resume.queue import MAX_REASON, Due, DueQueue, key_in
from shared.resume.sqlite_queue import MAX_TAKEN, SqliteQueue
from tests.support.clock import ManualClock
from tests.support.journal.memory_queue import MemoryQueue

LEASE = timedelta(seconds=60)
NOW, SOON, LATE = timedelta(), timedelta(seconds=10), timedelta(hours=1)
A, B = JournalKey("train", "aa"), JournalKey('"größer"', "bb")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "journal.sqlite3")) as store:
        yield store


class Worker(Protocol):
    """A queue whose messages can be taken."""

    def __call__(self) -> tuple[str, JournalKey] | None: ...


@pytest.fixture(params=["memory", "sqlite"])
def queue(request: pytest.FixtureRequest, store: SqliteStore, clock: ManualClock) -> DueQueue:
    return MemoryQueue(clock, LEASE) if request.param == "memory" else SqliteQueue(store, LEASE, clock)


@pytest.fixture
def take(queue: DueQueue) -> Worker:
    def take_one() -> tuple[str, JournalKey] | None:
        if isinstance(queue, MemoryQueue):
            found = queue.take()
            return None if found is None else (found[0], key_in(found[1]))
        assert isinstance(queue, SqliteQueue)
        return queue.take()

    return take_one


class TestEachQueue:
    def test_a_message_is_visible_when_it_is_due(self, queue: DueQueue, take: Worker, clock: ManualClock) -> None:
        queue.put(A, SOON, "throttled")
        assert take() is None
        assert list(queue.due(9)) == [Due(A, clock() + SOON, 0, "throttled")]
        clock.advance(10)
        taken = take()
        assert taken is not None
        assert taken[1] == A
        assert take() is None, "it is in work"

    def test_what_has_been_due_for_longest_comes_first(self, queue: DueQueue, take: Worker, clock: ManualClock) -> None:
        queue.put(A, LATE, "")
        queue.put(B, SOON, "")
        assert [due.key for due in queue.due(9)] == [B, A]
        assert [due.key for due in queue.due(1)] == [B]
        assert [due.key for due in queue.due(9, A)] == [A]
        assert list(queue.due(9, A._replace(route="other"))) == []
        clock.advance(3600)
        assert [taken[1] for taken in (take(), take()) if taken is not None] == [B, A]

    def test_a_message_comes_again_if_its_worker_dies(self, queue: DueQueue, take: Worker, clock: ManualClock) -> None:
        queue.put(A, NOW, "")
        assert take() is not None
        clock.advance(LEASE.total_seconds())
        assert [due.taken for due in queue.due(9)] == [1]
        assert take() is not None

    def test_a_message_can_be_moved_and_removed(self, queue: DueQueue, take: Worker, clock: ManualClock) -> None:
        first, second = queue.put(A, LATE, ""), queue.put(B, LATE, "")
        assert queue.move(first, NOW)
        queue.drop(second)
        assert [due.key for due in queue.due(9)] == [A]
        assert take() is not None

    def test_what_another_worker_has_taken_is_neither_moved_nor_removed(self, queue: DueQueue, take: Worker) -> None:
        ticket = queue.put(A, NOW, "")
        assert take() is not None
        assert not queue.move(ticket, NOW)
        queue.drop(ticket)
        assert [due.taken for due in queue.due(9)] == [1]

    def test_what_is_gone_is_neither_moved_nor_removed(self, queue: DueQueue) -> None:
        ticket = queue.put(A, NOW, "")
        queue.drop(ticket)
        queue.drop(ticket)
        assert not queue.move(ticket, NOW)
        assert list(queue.due(9)) == []

    def test_one_record_may_have_two_messages(self, queue: DueQueue) -> None:
        queue.put(A, NOW, "first")
        queue.put(A, SOON, "second")
        assert [due.reason for due in queue.due(9)] == ["first", "second"]

    @pytest.mark.parametrize(("keys", "hurried"), [(None, [A, B]), ([B], [B]), ([JournalKey("train", "cc")], [])])
    def test_an_operator_can_hurry(
        self, queue: DueQueue, take: Worker, keys: list[JournalKey] | None, hurried: list[JournalKey]
    ) -> None:
        queue.put(A, SOON, "")
        queue.put(B, LATE, "")
        assert queue.hurry(keys) == len(hurried)
        found = [taken[1] for taken in (take(), take()) if taken is not None]
        assert sorted(found) == sorted(hurried)


class TestTheSqliteQueue:
    @pytest.fixture
    def queue(self, store: SqliteStore, clock: ManualClock) -> SqliteQueue:
        return SqliteQueue(store, LEASE, clock)

    def test_the_ticket_of_a_message_in_work_moves_and_removes_it(self, queue: SqliteQueue, clock: ManualClock) -> None:
        queue.put(A, NOW, "")
        first = queue.take()
        assert first is not None
        assert queue.move(first.ticket, SOON)
        assert [(due.at, due.taken) for due in queue.due(9)] == [(clock() + SOON, 0)]
        clock.advance(10)
        second = queue.take()
        assert second is not None
        queue.drop(second.ticket)
        assert list(queue.due(9)) == []

    def test_after_the_lease_its_ticket_is_void(self, queue: SqliteQueue, clock: ManualClock) -> None:
        queue.put(A, NOW, "")
        slow = queue.take()
        assert slow is not None
        clock.advance(LEASE.total_seconds())
        assert queue.take() is not None
        assert not queue.move(slow.ticket, LATE)
        queue.drop(slow.ticket)
        assert [due.taken for due in queue.due(9)] == [2]

    def test_a_message_that_kills_each_worker_is_left_alone(self, queue: SqliteQueue, clock: ManualClock) -> None:
        queue.put(A, NOW, "")
        for _ in range(MAX_TAKEN):
            assert queue.take() is not None
            clock.advance(LEASE.total_seconds())
        assert queue.take() is None
        assert [due.taken for due in queue.due(9)] == [MAX_TAKEN]
        assert queue.hurry() == 1
        assert queue.take() is not None

    def test_it_outlives_its_process(self, queue: SqliteQueue, store: SqliteStore, tmp_path: Path) -> None:
        queue.put(A, NOW, "x" * 1000)
        store.close()
        with closing(SqliteStore(tmp_path / "journal.sqlite3")) as another:
            assert [due.reason for due in SqliteQueue(another, LEASE).due(9)] == ["x" * MAX_REASON]

    def test_a_reader_changes_nothing(self, tmp_path: Path) -> None:
        with (
            closing(SqliteStore(tmp_path / "old.sqlite3")),
            closing(SqliteStore(tmp_path / "old.sqlite3", is_reader=True)) as reader,
        ):
            assert list(SqliteQueue(reader, LEASE).due(9)) == []
            assert reader.query("SELECT name FROM sqlite_master WHERE name = 'due'") == []

    def test_each_message_is_taken_once(self, queue: SqliteQueue, store: SqliteStore, clock: ManualClock) -> None:
        keys = [JournalKey("train", str(number)) for number in range(40)]
        for key in keys:
            queue.put(key, NOW, "")
        queues, start = [SqliteQueue(store, LEASE, clock) for _ in range(4)], threading.Barrier(4)

        def work(mine: SqliteQueue) -> list[JournalKey]:
            start.wait()
            found = []
            while (taken := mine.take()) is not None:
                found.append(taken.key)
            return found

        with ThreadPoolExecutor(4) as pool:
            found = [key for some in pool.map(work, queues) for key in some]
        assert sorted(found) == sorted(keys)

    def test_a_worker_whose_message_is_taken_in_the_meantime_takes_the_next_one(
        self, queue: SqliteQueue, store: SqliteStore, clock: ManualClock
    ) -> None:
        for key in (A, B):
            queue.put(key, NOW, "")

        class SlowStore:
            """Another worker takes a message after each query."""

            is_reader, execute = True, store.execute

            @staticmethod
            def query(sql: str, parameters: tuple[Any, ...]) -> list[Any]:
                rows = store.query(sql, parameters)
                if rows and rows[0][-2:] == tuple(A):
                    assert queue.take() is not None
                return rows

        slow: Any = SlowStore()
        taken = SqliteQueue(slow, LEASE, clock).take()
        assert taken is not None
        assert taken.key == B

    def test_a_file_that_does_not_answer(self, queue: SqliteQueue, tmp_path: Path) -> None:
        (tmp_path / "journal.sqlite3").rename(tmp_path / "elsewhere")
        for call in (
            lambda: queue.put(A, NOW, ""),
            lambda: queue.move("1.0", NOW),
            lambda: queue.drop("1.0"),
            lambda: list(queue.due(1)),
            queue.hurry,
            queue.take,
        ):
            with pytest.raises(ResumeUnavailable, match="was deleted or replaced"):
                call()
