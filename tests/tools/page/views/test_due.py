"""The page Due: what ``manage.py resume`` shows and does, with a confirmation before each change."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from shared.clock import utc_now
from shared.composition import open_due_queue
from shared.journal.records import Entry, JournalKey, Record, State, Step
from shared.resume.queue import DueQueue, message_of
from shared.resume.sqlite_queue import MAX_TAKEN
from shared.settings import load_settings
from tests.support.builders import run_completed
from tests.support.journal.memory_poison import MemoryPoison
from tests.support.journal.memory_queue import MemoryQueue
from tests.tools.conftest import RIGHT, Desk
from tests.tools.page.conftest import Browser, admitted
from tools.actions.resume.poison import PoisonMessage
from tools.installation import Installation
from tools.page.paging import SIZE
from tools.page.views import due

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HARMLESS = "a record leads to at most one run"


@pytest.fixture
def queue(desk: Desk) -> DueQueue:
    """The queue of the installation, in the journal's file."""
    desk.clock = lambda: NOW
    desk.settings = {"RESUME_STORAGE": "sqlite"}
    return open_due_queue(load_settings(desk.environment, desk.folder), desk.store, desk.clock)


@pytest.fixture
def browser(desk: Desk, queue: DueQueue) -> Browser:
    return admitted(desk)


def put(desk: Desk, *keys: str, state: State = State.RELEASED, route: str = "evaluate") -> list[JournalKey]:
    """Store records that were last changed 40 minutes ago."""
    at, store = NOW - 40 * MINUTE, desk.store
    entry = Entry("event-1", "Microsoft.MachineLearningServices.RunCompleted", "subject", run_completed())
    history = (Step(at, State.CLAIMED, ""), Step(at, state, "note"))
    for key in keys:
        made = Record(
            JournalKey(route, key.ljust(64, "0")), state, entry, at, at, at, history=history, reason="throttled"
        )
        assert store.insert(made) is not None
    return [JournalKey(route, key.ljust(64, "0")) for key in keys]


def times(queue: DueQueue) -> dict[str, datetime | None]:
    """Return when each message is visible, by the first digits of its key."""
    return {each.key.key[:4]: each.at for each in queue.due(99)}


class TestList:
    def test_what_comes_next_comes_first(self, desk: Desk, browser: Browser, queue: DueQueue) -> None:
        late, soon, _ = put(desk, "aaaa", "bbbb", "cccc")
        put(desk, "dddd", state=State.QUEUED)
        queue.put(late, 5 * MINUTE, "")
        queue.put(soon, MINUTE, "")
        shown = browser.get("/due").text
        assert shown.index("bbbb00000000") < shown.index("aaaa00000000") < shown.index("cccc00000000")
        assert ("in 1m" in shown, "in 5m" in shown, "dddd0000" in shown, "data-refresh" in shown) == (
            True,
            True,
            False,
            True,
        )
        assert "3 deferred" in shown
        assert shown.count("throttled") == 3

    def test_of_one_route(self, desk: Desk, browser: Browser) -> None:
        put(desk, "aaaa")
        put(desk, "bbbb", route="other")
        shown = browser.get("/due?route=other").text
        assert ("aaaa0000" in shown, "bbbb0000" in shown, "Show all routes" in shown) == (False, True, True)
        assert "Nothing is deferred on this route." in browser.get("/due?route=x").text

    def test_nothing(self, browser: Browser) -> None:
        shown = browser.get("/due").text
        assert ("Nothing is deferred." in shown, "<button" in shown) == (True, False)

    def test_without_a_queue_nothing_can_be_tried(self, desk: Desk) -> None:
        put(desk, "aaaa")
        browser = admitted(desk)
        shown = browser.get("/due").text
        assert "RESUME_STORAGE is not set, so only Event Grid&#39;s retries bring deferred events again" in shown
        assert ("aaaa0000" in shown, "<button" in shown) == (True, False)
        refused = browser.post("/due/try", {"confirm": "yes"})
        assert (refused.status_code, "RESUME_STORAGE is not set" in refused.text) == (400, True)

    def test_a_queue_that_does_not_answer(self, desk: Desk, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
        put(desk, "aaaa")
        monkeypatch.setattr(Installation, "due_queue", lambda _self, **_: MemoryQueue(lambda: NOW, is_down=True))
        shown = browser.get("/due").text
        assert "when deferred records come again is not known: the resume queue does not answer" in shown
        assert "aaaa00000000" in shown
        assert browser.post("/due/try").status_code == 503

    def test_one_that_is_stuck_stands_out(self, desk: Desk, browser: Browser, queue: DueQueue) -> None:
        stuck, soon = put(desk, "aaaa", "bbbb")
        queue.put(stuck, timedelta(), "")
        taken(desk, MAX_TAKEN)
        queue.put(soon, timedelta(), "")
        shown = browser.get("/due").text
        assert shown.index("aaaa00000000") < shown.index("bbbb00000000")
        assert '<span class="attention">stuck</span>' in shown
        assert "1 stuck: the app has failed on it too often" in shown

    def test_a_long_list_has_pages_and_says_what_was_not_read(
        self, desk: Desk, browser: Browser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(due, "MAX_READ", SIZE + 1)
        put(desk, *(f"{number:04x}" for number in range(SIZE + 2)))
        first, second = browser.get("/due?route=evaluate").text, browser.get("/due?route=evaluate&page=2").text
        assert f"only {SIZE + 1} records were read, and there are more; &#39;manage.py resume&#39; lists all" in first
        assert f"1 to {SIZE} of {SIZE + 1} deferred" in first
        assert '<a href="/due?page=2&amp;route=evaluate" rel="next">Next</a>' in first
        assert second.count('data-label="Key"') == 1


def taken(desk: Desk, times: int) -> None:
    """Let the app have taken each message so often."""
    with closing(sqlite3.connect(desk.folder / "journal.sqlite3")) as connection, connection:
        connection.execute("UPDATE due SET taken = ?", (times,))


class TestTryNow:
    def test_one(self, desk: Desk, browser: Browser, queue: DueQueue) -> None:
        keys = put(desk, "aaaa", "bbbb")
        for key in keys:
            queue.put(key, 5 * MINUTE, "")
        fields = keys[0]._asdict()
        asked = browser.post("/due/try", fields)
        assert asked.status_code == 200
        assert "1 record of the route evaluate will be tried now." in asked.text
        assert "aaaa00000000 on the route evaluate, released since 2026-11-20 11:20:00 UTC: throttled" in asked.text
        assert HARMLESS in asked.text
        assert times(queue) == {"aaaa": NOW + 5 * MINUTE, "bbbb": NOW + 5 * MINUTE}, "nothing was changed yet"
        done = browser.post("/due/try", {**fields, "confirm": "yes"})
        assert "1 record of the route evaluate can be tried now." in done.text
        assert times(queue) == {"aaaa": NOW, "bbbb": NOW + 5 * MINUTE}

    def test_all_also_those_without_a_message(self, desk: Desk, browser: Browser, queue: DueQueue) -> None:
        keys = put(desk, "aaaa", "bbbb")
        queue.put(keys[0], 5 * MINUTE, "")
        assert "2 records will be tried now." in browser.post("/due/try").text
        assert times(queue) == {"aaaa": NOW + 5 * MINUTE}
        assert "2 records can be tried now." in browser.post("/due/try", {"confirm": "yes"}).text
        assert times(queue) == {"aaaa": NOW, "bbbb": NOW}

    def test_all_of_a_route(self, desk: Desk, browser: Browser, queue: DueQueue) -> None:
        put(desk, "aaaa")
        put(desk, "bbbb", route="other")
        asked = browser.post("/due/try", {"route": "other"}).text
        assert '<input type="hidden" name="route" value="other">' in asked
        browser.post("/due/try", {"route": "other", "confirm": "yes"})
        assert times(queue) == {"bbbb": NOW}

    def test_an_empty_key_does_not_mean_all(self, desk: Desk, browser: Browser, queue: DueQueue) -> None:
        put(desk, "aaaa")
        assert browser.post("/due/try", {"route": "evaluate", "key": "", "confirm": "yes"}).status_code == 409
        assert times(queue) == {}

    def test_a_group_ends_when_its_period_ends(self, desk: Desk, browser: Browser) -> None:
        desk.routes(RIGHT + "\ngather: { quiet: 10h, at_most: 20h }")
        desk.deliver()
        desk.clock = utc_now  # as the delivery
        (group,) = [record.key for record in desk.records if record.state is State.WAITING]
        assert "Try now … " not in browser.get("/due").text
        answer = browser.post("/due/try", {**group._asdict(), "confirm": "yes"})
        assert (answer.status_code, "Nothing was done" in answer.text) == (409, True)
        put(desk, "aaaa")
        answer = browser.post("/due/try")
        assert "1 record will be tried now." in answer.text
        assert "A group of gathered events ends when its period ends, not earlier." in answer.text
        desk.clock = lambda: utc_now() + timedelta(hours=11)
        assert "1 record of the route evaluate" in browser.post("/due/try", {**group._asdict(), "confirm": "yes"}).text

    def test_before_many_are_tried_only_some_are_counted(
        self, desk: Desk, browser: Browser, queue: DueQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(due, "MAX_READ", 2)
        put(desk, "aaaa", "bbbb", "cccc")
        assert "At least 2 records will be tried now." in browser.post("/due/try").text
        assert "3 records can be tried now." in browser.post("/due/try", {"confirm": "yes"}).text
        assert times(queue) == {"aaaa": NOW, "bbbb": NOW, "cccc": NOW}

    @pytest.mark.parametrize("fields", [{"route": "evaluate", "key": "ab"}, {"key": ""}, {"route": "x"}, {}])
    def test_a_record_that_is_done_meanwhile(
        self, desk: Desk, browser: Browser, queue: DueQueue, fields: dict[str, str]
    ) -> None:
        put(desk, "aaaa", state=State.QUEUED)
        for confirmed in ({}, {"confirm": "yes"}):
            answer = browser.post("/due/try", {**fields, **confirmed})
            assert (answer.status_code, "Nothing was done" in answer.text) == (409, True)
        assert times(queue) == {}


class TestSetAside:
    @pytest.fixture
    def poison(self, monkeypatch: pytest.MonkeyPatch) -> MemoryPoison:
        poison = MemoryPoison()
        monkeypatch.setattr(Installation, "poison_queue", poison)
        return poison

    def test_they_are_listed_and_put_back(
        self, desk: Desk, browser: Browser, queue: DueQueue, poison: MemoryPoison
    ) -> None:
        (key,) = put(desk, "aaaa")
        good, wrong = PoisonMessage(message_of(key), NOW - 40 * MINUTE), PoisonMessage("<b>hello")
        poison.messages = [good, wrong, good]
        shown = browser.get("/due").text
        assert "2 of about 3\n        messages" in shown
        assert "<code>&lt;b&gt;hello</code>" in shown
        assert "About 3 messages will be put back" in browser.post("/due/put-back").text
        assert (len(poison.messages), times(queue)) == (3, {})
        done = browser.post("/due/put-back", {"confirm": "yes"}).text
        assert "2 messages put back, to be handled now." in done
        assert "Not put back: a message of the resume queue is not JSON: &#39;&lt;b&gt;hello&#39;" in done
        assert (poison.messages, times(queue)) == ([wrong], {"aaaa": NOW})

    @pytest.mark.usefixtures("poison")
    def test_nothing(self, browser: Browser) -> None:
        assert "Set aside" not in browser.get("/due").text
        assert "0 messages put back" in browser.post("/due/put-back", {"confirm": "yes"}).text

    def test_a_sqlite_queue_sets_nothing_aside(self, browser: Browser) -> None:
        refused = browser.post("/due/put-back", {"confirm": "yes"})
        assert (refused.status_code, "no queue sets messages aside here" in refused.text) == (400, True)
