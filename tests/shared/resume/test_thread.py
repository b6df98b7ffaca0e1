"""What is due is taken up by a few threads at once, which end when there is nothing left."""

import threading
from collections import deque
from typing import Any

import pytest

from shared.errors import ResumeUnavailable
from shared.journal.records import JournalKey
from shared.logs import NEXT_INVOCATION
from shared.resume.sqlite_queue import Taken
from shared.resume.thread import ResumeThread
from tests.support.polling import LONGEST_SECONDS, wait_until


class Messages:
    """A queue of messages, and what takes them up."""

    def __init__(self, count: int, at_once: int = 1) -> None:
        """:param at_once: so many messages wait for each other."""
        self.left = deque(Taken(f"{number}.1", JournalKey("train", str(number))) for number in range(count))
        self.fails: set[str] = set()
        self.down = 0
        self.done: list[str] = []
        self.most = 0
        self._in_work = 0
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(at_once)

    def parts(self) -> Any:
        return self, self

    def take(self) -> Taken | None:
        if self.down:
            self.down -= 1
            raise ResumeUnavailable("the queue does not answer")
        return self.left.popleft() if self.left else None

    def join(self) -> None:
        """Be one of those that the messages in work wait for."""
        self._barrier.wait(LONGEST_SECONDS)

    def go_on(self, key: JournalKey, ticket: str) -> None:
        assert ticket == f"{key.key}.1"
        with self._lock:
            self._in_work += 1
            self.most = max(self.most, self._in_work)
        self._barrier.wait(LONGEST_SECONDS)
        with self._lock:
            self._in_work -= 1
            self.done.append(key.key)
        if key.key in self.fails:
            raise ValueError(key.key)


@pytest.fixture(autouse=True)
def _lines() -> Any:
    yield
    NEXT_INVOCATION.drop()


def said() -> list[str]:
    return [str(line.message) % line.arguments for line in NEXT_INVOCATION.drop()]


def take_up(messages: Messages, max_in_work: int) -> None:
    count = len(messages.left)
    thread = ResumeThread(messages.parts, look_every_seconds=0, max_in_work=max_in_work)
    wait_until(lambda: len(messages.done) == count)
    thread.stop()


def test_as_many_messages_as_allowed_are_in_work_at_once_and_no_thread_is_left() -> None:
    before = threading.active_count()
    messages = Messages(9, at_once=3)
    take_up(messages, max_in_work=3)
    assert sorted(messages.done) == [str(number) for number in range(9)]
    assert messages.most == 3
    wait_until(lambda: threading.active_count() <= before)
    assert said() == []


def test_a_message_that_fails_holds_up_no_other() -> None:
    messages = Messages(5)
    messages.fails = {"0", "3"}
    take_up(messages, max_in_work=1)
    assert messages.done == ["0", "1", "2", "3", "4"]
    assert said() == [f"a record could not be resumed: ValueError: {number}" for number in ("0", "3")]


def test_a_queue_that_does_not_answer_is_tried_again() -> None:
    messages = Messages(2)
    messages.down = 2
    take_up(messages, max_in_work=1)
    assert messages.done == ["0", "1"]
    assert said() == ["what is due cannot be taken up: the queue does not answer"] * 2


def test_a_thread_that_ends_takes_up_nothing_more() -> None:
    messages = Messages(3, at_once=2)
    thread = ResumeThread(messages.parts, look_every_seconds=0, max_in_work=1)
    wait_until(lambda: len(messages.left) == 2)
    thread.end()  # while one message is in work, and the thread waits for room
    messages.join()
    thread.stop()
    assert (messages.done, len(messages.left)) == (["0"], 2)
