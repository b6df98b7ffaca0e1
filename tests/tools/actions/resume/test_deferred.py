"""What is deferred: which records are tried again, when, and how an operator lets them go."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.errors import UnreadableRecord
from shared.journal.journal import Journal
from shared.journal.records import NO_EVENT, WAIT_PREFIX, JournalKey, Record, State, Step
from shared.resume.queue import Due
from shared.resume.sqlite_queue import MAX_TAKEN
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.memory_store import MemoryStore
from tools.actions.resume.deferred import Deferred, Waiting, deferred, deferred_records, let_go, waiting_messages

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOTHING = Waiting({}, is_complete=True)
UNTOLD = Waiting({}, is_complete=False)


def record(key: str = "a", state: State = State.RELEASED, age: timedelta = MINUTE, **changes: Any) -> Record:
    """Return a record whose last change is so long ago, and whose first one is a minute earlier."""
    at = NOW - age
    history = (Step(at - MINUTE, State.CLAIMED, ""), Step(at, state, "note"))
    made = Record(JournalKey("r", key), state, NO_EVENT, at - MINUTE, at, at, history=history, reason="throttled")
    return made._replace(**changes)


def waiting(key: str = "a", at: datetime | None = NOW + MINUTE, *, is_complete: bool = True) -> Waiting:
    due = Due(JournalKey("r", key), at, 2, "throttled")
    return Waiting({due.key: due}, is_complete)


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue(lambda: NOW)


def refuse(skipped: UnreadableRecord) -> None:
    raise AssertionError(skipped)


class TestWhen:
    def test_the_queue_tells(self) -> None:
        found = deferred(record(), waiting(), NOW)
        assert found is not None
        assert found == Deferred(record(), NOW + MINUTE, is_exact=True, taken=2)
        assert (found.due(NOW), found.words()) == ("in 1m", "comes again at 2026-11-20 12:01:00 UTC")
        assert (found.due(NOW + MINUTE), found.since) == ("now", NOW - 2 * MINUTE)

    def test_the_queue_does_not_tell_so_the_latest_time_follows_from_the_record(self) -> None:
        """After the first attempt, the next one is at most 10 s later; before the lease ends, nobody takes over."""
        seconds = timedelta(seconds=1)
        found = deferred(record(age=2 * seconds), UNTOLD, NOW)
        assert found is not None
        assert (found.due(NOW), found.words()) == ("within 8s", "comes again by 2026-11-20 12:00:08 UTC")
        taken_over = deferred(record(state=State.UNCERTAIN, settled_at=NOW + MINUTE), UNTOLD, NOW)
        assert taken_over is not None
        assert taken_over.at == NOW + MINUTE + seconds

    def test_a_message_that_is_visible_is_due(self) -> None:
        found = deferred(record(), waiting(at=None, is_complete=False), NOW)
        assert found == Deferred(record(), NOW, taken=2)

    def test_an_estimate_that_has_passed_says_nothing(self) -> None:
        """Azure DevOps may have asked for a longer pause."""
        found = deferred(record(), UNTOLD, NOW)
        assert found is not None
        assert (found.at, found.due(NOW), found.words()) == (None, "-", "")

    @pytest.mark.parametrize("told", [None, NOTHING])
    def test_nothing_tries_it_again(self, told: Waiting | None) -> None:
        found = deferred(record(age=timedelta(0)), told, NOW)
        assert found is not None
        assert found == Deferred(record(age=timedelta(0)))
        assert found.document()["comes_again_at"] is None

    def test_a_message_that_fails_again_and_again(self) -> None:
        key = JournalKey("r", "a")
        found = deferred(record(), Waiting({key: Due(key, NOW, MAX_TAKEN)}, is_complete=True), NOW)
        assert found is not None
        assert (found.at, found.due(NOW), found.words()) == (None, "stuck", "")

    def test_as_a_document(self) -> None:
        found = deferred(record(), waiting(), NOW)
        assert found is not None
        assert found.document() == {
            "key": "a", "route": "r", "state": "released", "since": "2026-11-20T11:58:00+00:00",
            "comes_again_at": "2026-11-20T12:01:00+00:00", "is_exact": True, "taken": 2, "is_stuck": False,
            "event_id": "", "event_type": "", "reason": "throttled",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "is_listed"),
    [
        (record(), True),
        (record(state=State.UNCERTAIN), True),
        (record(state=State.CLAIMED), True),
        (record(state=State.CLAIMED, lease_until=NOW + MINUTE), False),
        (record(state=State.QUEUED), False),
        (record(state=State.PARKED), False),
        (record(history=(Step(NOW, State.PARKED, ""), Step(NOW, State.RELEASED, ""))), False),
        (record(key="w", state=State.CLAIMED)._replace(key=JournalKey(WAIT_PREFIX + "x", "w")), False),
    ],
    ids=["released", "uncertain", "abandoned", "in work", "queued", "parked", "redriven", "a wait"],
)
def test_which_records_are_tried_again(found: Record, *, is_listed: bool) -> None:
    assert (deferred(found, NOTHING, NOW) is not None) == is_listed


def test_a_record_in_work_that_has_a_message_is_listed() -> None:
    """A resume writes the next message before it works."""
    found = record(state=State.CLAIMED, lease_until=NOW + MINUTE)
    assert deferred(found, waiting(), NOW) is not None


def test_what_comes_next_is_listed_first(queue: MemoryQueue) -> None:
    store = MemoryStore()
    ages = {"late": 3 * MINUTE, "soon": MINUTE, "old": 9 * MINUTE, "new": MINUTE, "done": MINUTE}
    for key, age in ages.items():
        store.insert(record(key, State.QUEUED if key == "done" else State.RELEASED, age))
    for key, after in (("late", 5 * MINUTE), ("soon", MINUTE), ("soon", 7 * MINUTE), ("done", MINUTE)):
        queue.put(JournalKey("r", key), after, "")
    told = waiting_messages(queue, is_complete=True)
    found = deferred_records(Journal(store), "r", told, NOW, refuse)
    assert [one.record.key.key for one in found] == ["soon", "late", "old", "new"]
    assert [one.due(NOW) for one in found] == ["in 1m", "in 5m", "-", "-"]
    assert deferred_records(Journal(store), "another", told, NOW, refuse) == []


def test_if_not_all_messages_are_read_it_is_not_known_which_records_have_none(queue: MemoryQueue) -> None:
    keys = [JournalKey("r", key) for key in ("a", "b")]
    for number, key in enumerate(keys):
        queue.put(key, number * MINUTE, "")
    some, all_of_them = (waiting_messages(queue, is_complete=True, limit=limit) for limit in (1, 3))
    assert (list(some.messages), some.is_complete) == (keys[:1], False)
    assert (list(all_of_them.messages), all_of_them.is_complete) == (keys, True)
    one = deferred(record("b"), some, NOW)
    assert one is not None
    assert not one.is_exact, "an estimate"


class TestLetGo:
    def test_each_record_has_a_message_that_is_visible_now(self, queue: MemoryQueue) -> None:
        keys = [JournalKey("r", key) for key in ("a", "b", "c")]
        queue.put(keys[0], 5 * MINUTE, "")
        queue.put(keys[2], 5 * MINUTE, "")
        chosen = [Deferred(record(key)) for key in ("a", "b")]
        done = let_go(queue, waiting_messages(queue, is_complete=True), chosen, NOW)
        assert [one.due(NOW) for one in done] == ["now", "now"]
        assert visible(queue) == keys[:2], "not of the record that was not chosen"
        assert len(queue.messages) == 3

    def test_a_queue_that_does_not_tell_writes_the_messages_itself(self, queue: MemoryQueue) -> None:
        let_go(queue, UNTOLD, [Deferred(record())], NOW)
        assert queue.messages == {}, "this one writes none"


def visible(queue: MemoryQueue) -> list[JournalKey]:
    def due() -> Iterator[JournalKey]:
        for one in queue.due(10):
            if one.at is not None and one.at <= NOW:
                yield one.key

    return sorted(due())
