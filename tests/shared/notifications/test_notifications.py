"""Tests of notifications: their content, when they are published, and that they never delay a delivery."""

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import JournalUnavailable, NotificationFailed
from shared.journal.journal import Journal
from shared.logs import NEXT_INVOCATION
from shared.notifications.losses import Loss, Losses, journaled_losses
from shared.notifications.notification import DATA_FIELDS, MAX_TEXT, TYPES, Notification, notification
from shared.notifications.notifier import (
    MAX_BATCH,
    MAX_REMEMBERED,
    MAX_WAITING,
    MAX_WAITING_DEFERRED,
    PAUSES_SECONDS,
    Notifier,
)
from shared.telemetry import Decision, Outcome
from tests.support.clock import ManualClock
from tests.support.journal.memory_store import MemoryStore

KEY = "ab12" * 16
FOREIGN = ("event_id", "event_type", "subject", "reason", "run_url")
EVENT = {
    "event_id": "event-1",
    "event_type": "Microsoft.MachineLearningServices.RunCompleted",
    "subject": "experiments/train/runs/run-1",
}
RUN = {"run_id": 5, "run_url": "https://dev.azure.com/contoso/mlops/_build/results?buildId=5"}


def decision(outcome: Outcome = Outcome.QUEUED, key: str = KEY, **changes: Any) -> Decision:
    known: dict[str, Any] = {**EVENT, "route": "evaluate", "outcome": outcome, "key": key, "duration_ms": 12.5}
    return Decision(**known | (RUN if outcome is Outcome.QUEUED else {"reason": "the reason"}) | changes)


def notification_of(what: Decision, clock: ManualClock) -> Notification:
    made = notification(what, "/nextstage/app", clock())
    assert made is not None
    return made


class TestNotification:
    def test_a_queued_run(self, clock: ManualClock) -> None:
        assert notification_of(decision(), clock) == Notification(
            id=f"{KEY}:queued:5",
            source="/nextstage/app",
            type="nextstage.run.queued",
            subject=f"routes/evaluate/{KEY}",
            time=clock(),
            data={"outcome": "queued", "reason": "", "cause": "", "route": "evaluate", "key": KEY} | EVENT | RUN,
        )

    def test_three_outcomes_are_published(self, clock: ManualClock) -> None:
        made = [notification(decision(outcome), "/nextstage/app", clock()) for outcome in Outcome]
        types = {"nextstage.run.queued", "nextstage.event.parked", "nextstage.delivery.deferred"}
        assert {each.type for each in made if each} == types

    def test_an_event_without_a_route(self, clock: ManualClock) -> None:
        made = notification_of(decision(Outcome.PARKED, route=None, event_id="", event_type="", subject=""), clock)
        assert made.subject == f"routes/$unrouted/{KEY}"
        assert made.data["route"] is None

    def test_the_same_outcome_always_has_the_same_id_and_another_outcome_has_another(self, clock: ManualClock) -> None:
        """All deferrals of an event have the same id. An event parked again for another reason has another one."""
        groups = [
            [decision(), decision(duration_ms=99)],
            [decision(run_id=6)],
            [decision(key="cd34")],
            [decision(Outcome.DEFERRED, reason=reason) for reason in ("throttled", "no connection")],
            [decision(Outcome.DEFERRED, key="")],
            [decision(Outcome.DEFERRED, key="", event_id="event-2")],
            [decision(Outcome.PARKED), decision(Outcome.PARKED, duration_ms=99)],
            [decision(Outcome.PARKED, reason="undeclared parameter")],
        ]
        ids: list[str] = []
        for decisions in groups:
            made = set()
            for each in decisions:
                made.add(notification_of(each, clock).id)
                clock.advance(60)
            ids += made
        assert len(ids) == len(set(ids)) == len(groups)

    def test_every_field_of_a_decision_is_published_except_durations(self) -> None:
        assert {*DATA_FIELDS, "duration_ms", "delay_ms"} == {*Decision._fields}

    @given(
        outcome=st.sampled_from(sorted(TYPES)),
        texts=st.lists(st.text(max_size=3000), min_size=5, max_size=5),
    )
    def test_a_notification_is_one_operation_whatever_the_event_contains(
        self, outcome: Outcome, texts: list[str]
    ) -> None:
        foreign: dict[str, Any] = dict(zip(FOREIGN, texts, strict=True))
        made = notification_of(decision(outcome, route="r" * 63, **foreign), ManualClock())
        assert all(made.data[name] == text for name, text in foreign.items() if len(text) <= MAX_TEXT)
        assert _size(made) < 64 * 1024

    def test_a_batch_of_maximum_length_is_below_the_limit_of_event_grid(self, clock: ManualClock) -> None:
        longest = "\N{PARTY POPPER}" * 5000  # twelve bytes each, escaped
        foreign: dict[str, Any] = dict.fromkeys(FOREIGN, longest)
        made = notification_of(decision(route="r" * 63, **foreign), clock)
        assert made.data["reason"].endswith("...")
        assert len(made.data["reason"]) == MAX_TEXT
        assert MAX_BATCH * _size(made) < 1_000_000


def _size(made: Notification) -> int:
    """Return the size in bytes as the library sends it: JSON in ASCII."""
    document = {name: str(getattr(made, name)) for name in ("id", "source", "type", "subject", "time")}
    return len(json.dumps({**document, "specversion": "1.0", "data": made.data}))


@dataclass
class Desk:
    """A notifier with a topic in memory.

    :param plan: what happens to the next batches: None accepts a batch, an error is raised.
    """

    plan: deque[Exception | None] = field(default_factory=deque)
    batches: list[list[Notification]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)
    make_thread: Callable[..., Thread] = Thread

    def __post_init__(self) -> None:
        self.open.set()
        self.notify = Notifier(
            self.publish,
            source="/nextstage/app",
            clock=ManualClock(),
            sleep=self.slept.append,
            make_thread=self.make_thread,
        )

    def publish(self, notifications: Sequence[Notification]) -> None:
        self.arrived.set()
        assert self.open.wait(20)
        planned = self.plan.popleft() if self.plan else None
        if planned is not None:
            raise planned
        self.batches.append(list(notifications))

    def hold(self) -> None:
        """Make the thread wait in the middle of a first batch."""
        self.open.clear()
        self.notify(decision(key="first"))
        assert self.arrived.wait(20)

    def published(self) -> list[str]:
        """Wait until everything is published. Return the ids."""
        self.open.set()
        self.notify.close(20)
        return [each.id for batch in self.batches for each in batch]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged at once, and what the next invocation logs."""
    NEXT_INVOCATION.log()
    records = [record for record in caplog.records if record.name == "nextstage.notifications"]
    assert {record.levelname for record in records} <= {"WARNING"}
    return [record.getMessage() for record in records]


@pytest.fixture
def journal(clock: ManualClock) -> Journal:
    return Journal(MemoryStore(), clock=clock)


class TestLosses:
    def test_they_are_counted_by_their_reason_and_written_once(self, journal: Journal, clock: ManualClock) -> None:
        losses = Losses()
        for count, reason in ((1, "down"), (2, "down"), (4, "x" * 5000)):
            losses.add(count, reason)
        losses.write(journal)
        losses.write(journal)
        assert {(loss.count, len(loss.reason)) for loss in journaled_losses(journal)} == {(3, 4), (4, MAX_TEXT)}
        clock.advance(60)
        losses.add(8, "later")
        losses.write(journal)
        assert journaled_losses(journal)[0] == Loss(8, "later")

    def test_a_journal_that_does_not_answer_is_written_the_next_time(
        self, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        losses = Losses()
        losses.add(1, "down")
        with monkeypatch.context() as patch:
            patch.setattr(journal, "write_once", fails)
            losses.write(journal)
        losses.add(1, "down")
        losses.write(journal)
        assert journaled_losses(journal) == [Loss(2, "down")]


def fails(*_: object) -> None:
    raise JournalUnavailable("the journal does not answer, says the test")


DOWN = NotificationFailed("the topic is down, says the test", is_transient=True)
REFUSED = NotificationFailed("the topic refuses, says the test", is_transient=False)


class TestNotifier:
    def test_notifications_are_published(self) -> None:
        desk = Desk()
        for outcome in Outcome:
            desk.notify(decision(outcome, key=outcome))
        assert [id_.split(":")[1] for id_ in desk.published()] == ["queued", "parked", "deferred"]

    def test_no_thread_is_started_without_a_notification(self) -> None:
        desk = Desk(make_thread=lambda **_: pytest.fail("a thread is made"))
        desk.notify(decision(Outcome.DUPLICATE))
        desk.notify(decision(Outcome.IGNORED, key=""))
        assert desk.published() == []

    def test_a_delivery_does_not_wait_for_the_topic(self) -> None:
        desk = Desk()
        desk.hold()
        desk.notify(decision(key="second"))  # would hang here
        assert desk.batches == []
        assert desk.published() == ["first:queued:5", "second:queued:5"]

    def test_queued_notifications_are_published_in_batches_and_in_order(self) -> None:
        desk = Desk()
        desk.hold()
        for number in range(MAX_BATCH + 3):
            desk.notify(decision(key=f"{number:02d}"))
        ids = desk.published()
        assert [len(batch) for batch in desk.batches] == [1, MAX_BATCH, 3]
        assert ids[1:] == sorted(ids[1:])

    def test_many_threads_lose_nothing(self) -> None:
        desk = Desk()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: desk.notify(decision(key=f"{number}")), range(400)))
        assert len(set(desk.published())) == 400

    def test_a_temporary_failure_is_retried(self, caplog: pytest.LogCaptureFixture) -> None:
        desk = Desk(deque([DOWN, DOWN]))
        desk.notify(decision())
        assert desk.published() == [f"{KEY}:queued:5"]
        assert desk.slept == list(PAUSES_SECONDS)
        assert warnings(caplog) == []

    @pytest.mark.parametrize(("plan", "tries"), [([DOWN] * 3, 3), ([REFUSED], 1), ([RuntimeError("a secret?")], 1)])
    def test_a_failure_logs_one_warning_and_the_next_batch_is_published(
        self, plan: list[Exception], tries: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        desk = Desk(deque(plan))
        desk.hold()
        desk.notify(decision(key="second"))
        assert desk.published() == ["second:queued:5"]
        assert len(desk.slept) == tries - 1
        assert [record for record in caplog.records if record.name == "nextstage.notifications"] == []
        (line,) = warnings(caplog)
        assert line.startswith("notifications were lost (1): ")
        assert "a secret?" not in line

    def test_repeated_deferrals_are_published_once_until_another_outcome(self) -> None:
        desk = Desk()
        for outcome in (*[Outcome.DEFERRED] * 20, Outcome.DUPLICATE, Outcome.DEFERRED):
            desk.notify(decision(outcome))
        desk.notify(decision(Outcome.DEFERRED, key="another"))
        for event_id in ("event-1", "event-2", "event-2"):  # nothing could be journaled
            desk.notify(decision(Outcome.DEFERRED, key="", event_id=event_id))
        ids = desk.published()
        assert ids[:3] == [f"{KEY}:deferred"] * 2 + ["another:deferred"]
        assert (len(ids), len(set(ids))) == (5, 4)

    def test_the_number_of_remembered_deferrals_is_limited(self) -> None:
        desk = Desk()
        desk.hold()
        for number in range(MAX_REMEMBERED + 5):
            desk.notify(decision(Outcome.DEFERRED, key=f"{number}"))
        assert len(desk.notify._deferred) == MAX_REMEMBERED
        assert "0" not in desk.notify._deferred
        desk.published()

    def test_many_deferrals_leave_room_for_other_notifications(self, caplog: pytest.LogCaptureFixture) -> None:
        desk = Desk()
        desk.hold()
        for number in range(3 * MAX_WAITING):
            desk.notify(decision(Outcome.DEFERRED, key=f"deferred-{number}"))
        for number in range(3 * MAX_WAITING):
            desk.notify(decision(Outcome.PARKED, key=f"parked-{number}"))
        ids = desk.published()
        assert len(ids) == 1 + MAX_WAITING
        assert sum("deferred" in each for each in ids) == MAX_WAITING_DEFERRED
        assert sum("parked" in each for each in ids) == MAX_WAITING - MAX_WAITING_DEFERRED
        assert warnings(caplog) == [
            "notifications are dropped: the topic is too slow; the outcomes are in the journal",
            f"notifications were lost ({5 * MAX_WAITING}): the topic was too slow",
        ]

    def test_close_has_a_time_limit(self, caplog: pytest.LogCaptureFixture, journal: Journal) -> None:
        desk = Desk()
        desk.hold()
        desk.notify(decision(key="second"))
        desk.notify.close(0.01)
        assert warnings(caplog) == []
        desk.notify.losses.write(journal)
        assert journaled_losses(journal) == [Loss(2, "the process ended before they could be published")]
        desk.notify(decision(key="too late"))
        assert desk.published() == ["first:queued:5", "second:queued:5"]

    def test_if_no_thread_can_be_started_the_next_notification_tries_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        errors = [RuntimeError("can't start new thread")]

        class Refusing(Thread):
            def start(self) -> None:
                if errors:
                    raise errors.pop()
                super().start()

        desk = Desk(make_thread=Refusing)
        desk.notify(decision(key="first"))
        desk.notify(decision(key="second"))
        assert desk.published() == ["first:queued:5", "second:queued:5"]
        assert warnings(caplog) == [
            "notifications are not published yet, since no thread can be started: can't start new thread"
        ]
