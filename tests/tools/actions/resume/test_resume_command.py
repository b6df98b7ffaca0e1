"""``manage.py resume``: what is deferred, when it comes again, and how it is let go; and the same in other commands."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from shared.composition import open_due_queue
from shared.journal.records import Entry, JournalKey, Record, State, Step
from shared.resume.queue import DueQueue, message_of
from shared.settings import load_settings
from tests.support.builders import run_completed
from tests.support.journal.memory_poison import MemoryPoison
from tests.support.journal.memory_queue import MemoryQueue
from tests.tools.conftest import Desk
from tools.actions.resume.poison import PoisonMessage
from tools.installation import Installation

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AGE = timedelta(minutes=40)
HEAD = ["KEY", "ROUTE", "STATE", "AGE", "DUE", "REASON"]


@pytest.fixture
def queue(desk: Desk) -> DueQueue:
    """The queue of the installation, in the journal's file."""
    desk.clock = lambda: NOW
    desk.settings = {"RESUME_STORAGE": "sqlite"}
    return open_due_queue(load_settings(desk.environment, desk.folder), desk.store, desk.clock)


@pytest.fixture
def down(queue: DueQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the queue not answer."""
    assert list(queue.due(1)) == []
    down = MemoryQueue(lambda: NOW, is_down=True)
    monkeypatch.setattr(Installation, "due_queue", lambda _self, **_: down)


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> MemoryPoison:
    poison = MemoryPoison()
    monkeypatch.setattr(Installation, "poison_queue", poison)
    return poison


def put(desk: Desk, key: str, state: State = State.RELEASED, route: str = "evaluate") -> JournalKey:
    """Store a record that was last changed 40 minutes ago."""
    at = NOW - AGE
    entry = Entry("event-1", "Microsoft.MachineLearningServices.RunCompleted", "subject", run_completed())
    history = (Step(at, State.CLAIMED, ""), Step(at, state, "note"))
    record = Record(
        JournalKey(route, key.ljust(64, "0")), state, entry, at, at, at, history=history, reason="throttled"
    )
    assert desk.store.insert(record) is not None
    return record.key


class TestList:
    def test_what_comes_next_and_why(self, desk: Desk, queue: DueQueue) -> None:
        late, soon, _, done = put(desk, "aaaa"), put(desk, "bbbb"), put(desk, "cccc"), put(desk, "dddd", State.QUEUED)
        for key, after in ((late, 5 * MINUTE), (soon, MINUTE), (done, MINUTE)):
            queue.put(key, after, "")
        shown = desk.run("resume")
        assert (shown.code, shown.err) == (0, "")
        assert shown.rows == [
            HEAD,
            ["bbbb00000000", "evaluate", "released", "40m", "in 1m", "throttled"],
            ["aaaa00000000", "evaluate", "released", "40m", "in 5m", "throttled"],
            ["cccc00000000", "evaluate", "released", "40m", "-", "throttled"],
        ]
        documents = desk.run("resume", "--json").json
        assert [one["comes_again_at"] for one in documents] == [
            "2026-11-20T12:01:00+00:00", "2026-11-20T12:05:00+00:00", None,
        ]  # fmt: skip
        few = desk.run("resume", "--limit", 1)
        assert (len(few.rows), few.err) == (2, "showing 1 of 3 records; use --limit to show more\n")

    def test_a_delivery_that_was_deferred(self, desk: Desk) -> None:
        """Azure DevOps cannot be reached, so the app has written a message and acknowledged the event."""
        desk.settings = {"RESUME_STORAGE": "sqlite"}
        desk.deliver()
        ((one,), (record,)) = (desk.run("resume", "--json").json, desk.records)
        assert (one["key"], one["state"], one["is_exact"]) == (record.key.key, "released", True)
        assert datetime.fromisoformat(one["comes_again_at"]) > record.changed_at
        assert desk.run("resume", record.key.key[:8], "--now").rows[1][4] == "now"

    def test_nothing(self, desk: Desk, queue: DueQueue) -> None:
        queue.put(put(desk, "aaaa", State.QUEUED), MINUTE, "")
        assert desk.run("resume").out.startswith("nothing is deferred in the journal ")
        assert desk.run("resume", "--json").json == []
        desk.fails(2, "there is no route 'evaluat'; did you mean 'evaluate'?", "resume", "--route", "evaluat")
        desk.fails(2, "the record aaaa00000000 is queued and not due", "resume", "aaaa")

    @pytest.mark.usefixtures("down")
    def test_a_queue_that_does_not_answer(self, desk: Desk) -> None:
        put(desk, "aaaa")
        desk.fails(2, "the resume queue does not answer, says the test", "resume")

    def test_reading_does_not_change_the_file_of_an_earlier_version(self, desk: Desk) -> None:
        desk.clock = lambda: NOW
        put(desk, "aaaa")
        desk.settings = {"RESUME_STORAGE": "sqlite"}
        for now, tables in (([], 0), (["--now"], 1)):
            assert desk.run("resume", *now).code == 0
            with closing(sqlite3.connect(desk.folder / "journal.sqlite3")) as connection:
                assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'due'").fetchone() == (
                    tables,
                )

    def test_without_a_queue_only_event_grid_tries_again(self, desk: Desk) -> None:
        desk.clock = lambda: NOW
        put(desk, "aaaa")
        shown = desk.run("resume")
        assert (shown.code, shown.rows[1][4]) == (0, "-")
        assert shown.err == "RESUME_STORAGE is not set, so only Event Grid's retries bring deferred events again\n"
        desk.fails(2, "redrive them with 'manage.py redrive --all --state released", "resume", "--now")
        desk.fails(2, "RESUME_STORAGE is not set", "resume", "--poison")


class TestNow:
    def test_all(self, desk: Desk, queue: DueQueue) -> None:
        keys = [put(desk, "aaaa"), put(desk, "bbbb")]
        queue.put(keys[0], 5 * MINUTE, "")
        assert [row[4] for row in desk.run("resume", "--now").rows[1:]] == ["now", "now"]
        assert {due.key: due.at for due in queue.due(9)} == dict.fromkeys(keys, NOW)

    def test_some(self, desk: Desk, queue: DueQueue) -> None:
        one, two, three = put(desk, "aaaa"), put(desk, "bbbb"), put(desk, "cccc", route="other")
        for key in (one, two, three):
            queue.put(key, 5 * MINUTE, "")
        assert desk.run("resume", "aaaa", "--now").rows[1][0] == "aaaa00000000"
        assert desk.run("resume", "--route", "other", "--now").rows[1][0] == "cccc00000000"
        assert {due.key: due.at for due in queue.due(9)} == {one: NOW, three: NOW, two: NOW + 5 * MINUTE}


@pytest.mark.parametrize("arguments", [["aaaa", "--route", "r"], ["--poison", "aaaa"], ["--poison", "--route", "r"]])
def test_options_that_exclude_each_other(desk: Desk, arguments: list[str]) -> None:
    desk.fails(2, "not both" if "--poison" not in arguments else "--poison can be combined only", "resume", *arguments)


class TestPoison:
    def test_they_are_listed_and_put_back(self, desk: Desk, queue: DueQueue, poison: MemoryPoison) -> None:
        key = put(desk, "aaaa")
        good, wrong = PoisonMessage(message_of(key), NOW - AGE), PoisonMessage("hello")
        poison.messages = [good, wrong, good]
        assert desk.run("resume").err == "3 messages could not be handled; 'manage.py resume --poison' lists them\n"
        shown = desk.run("resume", "--poison")
        assert (shown.code, shown.err) == (0, "showing 2 of 3 messages\n")
        assert shown.rows == [
            ["KEY", "ROUTE", "AGE", "MESSAGE"],
            ["aaaa00000000", "evaluate", "40m", good.text],
            ["-", "-", "-", "hello"],
        ]
        back = desk.run("resume", "--poison", "--now")
        assert (back.code, len(back.rows)) == (1, 3)
        assert back.err == "not put back: a message of the resume queue is not JSON: 'hello'\n"
        assert [(due.key, due.at) for due in queue.due(9)] == [(key, NOW)] * 2
        assert poison.messages == [wrong]

    @pytest.mark.usefixtures("queue")
    def test_nothing(self, desk: Desk, poison: MemoryPoison) -> None:
        assert poison.messages == []
        assert desk.run("resume", "--poison").out == "no message was set aside\n"
        assert desk.run("resume", "--poison", "--now").out == "no message was put back\n"
        assert desk.run("resume", "--poison", "--json").json == []

    @pytest.mark.usefixtures("queue")
    def test_a_sqlite_queue_sets_nothing_aside(self, desk: Desk) -> None:
        desk.fails(2, "'manage.py resume' shows it as stuck", "resume", "--poison")


class TestOtherCommands:
    def test_the_journal_says_when_a_record_comes_again(self, desk: Desk, queue: DueQueue) -> None:
        queue.put(put(desk, "aaaa"), MINUTE, "")
        put(desk, "bbbb", State.QUEUED)
        words = "comes again at 2026-11-20 12:01:00 UTC"
        assert [row[-1] for row in desk.run("journal").rows[1:]] == ["throttled", f"throttled; {words}"]
        assert ["resume", words] in desk.run("journal", "show", "aaaa").rows
        times = {one["key"][:4]: one["comes_again_at"] for one in desk.run("journal", "--json").json}
        assert times == {"aaaa": "2026-11-20T12:01:00+00:00", "bbbb": None}
        assert desk.run("journal", "show", "aaaa", "--json").json["comes_again_at"] == times["aaaa"]

    @pytest.mark.usefixtures("down")
    def test_the_journal_and_the_doctor_work_even_if_the_queue_does_not_answer(self, desk: Desk) -> None:
        put(desk, "aaaa")
        for arguments in (["journal"], ["journal", "show", "aaaa"]):
            shown = desk.run(*arguments)
            assert (shown.code, "throttled" in shown.out) == (0, True)
            assert shown.err.startswith("when deferred records come again is not known: the resume queue does not")
        status, detail, step = found(desk)
        assert (status, detail) == ("failed", "the resume queue does not answer, says the test")
        assert "RESUME_STORAGE" in str(step)

    def test_the_doctor_looks_at_the_queue(self, desk: Desk, queue: DueQueue, poison: MemoryPoison) -> None:
        queue.put(put(desk, "aaaa"), MINUTE, "")
        assert found(desk) == ("ok", "the queue answers, and shows 1 message", None)
        poison.messages = [PoisonMessage("hello")]
        assert found(desk) == ("warning", "1 message could not be handled", "see 'manage.py resume --poison'")

    def test_the_doctor_says_that_deferred_records_come_again(self, desk: Desk, queue: DueQueue) -> None:
        queue.put(put(desk, "aaaa"), MINUTE, "")
        assert found(desk, "deferred") == (
            "warning",
            "1 record will be tried again; the latest reason: throttled",
            "see 'manage.py resume', and correct what is not temporary",
        )

    def test_the_doctor_says_that_nothing_resumes(self, desk: Desk) -> None:
        put(desk, "aaaa")
        assert found(desk)[:2] == ("skipped", "RESUME_STORAGE is not set: only Event Grid tries deferred events again")
        _, detail, step = found(desk, "deferred")
        assert detail == "1 record waits for another delivery; the latest reason: throttled"
        assert "redrive --all --state released" in str(step)


def found(desk: Desk, check: str = "resume") -> tuple[str, str, str | None]:
    """Return status, detail and next step of one of the doctor's checks."""
    (one,) = [each for each in desk.run("doctor", "--json").json if each["check"] == check]
    return one["status"], one["detail"], one["next_step"]
