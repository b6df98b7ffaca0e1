"""What subscribers are told, when, and that telling is in nobody's way."""

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import NotificationFailed
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


def told(what: Decision, clock: ManualClock) -> Notification:
    made = notification(what, "/nextstage/app", clock())
    assert made is not None
    return made


class TestNotification:
    def test_a_queued_run(self, clock: ManualClock) -> None:
        assert told(decision(), clock) == Notification(
            id=f"{KEY}:queued:5",
            source="/nextstage/app",
            type="nextstage.run.queued",
            subject=f"routes/evaluate/{KEY}",
            time=clock(),
            data={"outcome": "queued", "reason": "", "cause": "", "route": "evaluate", "key": KEY} | EVENT | RUN,
        )

    def test_three_outcomes_are_told(self, clock: ManualClock) -> None:
        made = [notification(decision(outcome), "/nextstage/app", clock()) for outcome in Outcome]
        types = {"nextstage.run.queued", "nextstage.event.parked", "nextstage.delivery.deferred"}
        assert {each.type for each in made if each} == types

    def test_an_event_that_no_route_could_be_asked_about(self, clock: ManualClock) -> None:
        made = told(decision(Outcome.PARKED, route=None, event_id="", event_type="", subject=""), clock)
        assert made.subject == f"routes/$unrouted/{KEY}"
        assert made.data["route"] is None

    def test_the_same_happening_has_the_same_id_whenever_it_is_told_and_another_has_another(
        self, clock: ManualClock
    ) -> None:
        """One deferral is like another; parked again for another reason is news."""
        happenings = [
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
        for decisions in happenings:
            made = set()
            for each in decisions:
                made.add(told(each, clock).id)
                clock.advance(60)
            ids += made
        assert len(ids) == len(set(ids)) == len(happenings)

    def test_every_field_of_a_decision_is_told_but_for_how_long_it_took(self) -> None:
        assert {*DATA_FIELDS, "duration_ms", "delay_ms"} == {field.name for field in fields(Decision)}

    @given(
        outcome=st.sampled_from(sorted(TYPES)),
        texts=st.lists(st.text(max_size=3000), min_size=5, max_size=5),
    )
    def test_whatever_an_event_says_a_notification_is_one_operation(self, outcome: Outcome, texts: list[str]) -> None:
        foreign: dict[str, Any] = dict(zip(FOREIGN, texts, strict=True))
        made = told(decision(outcome, route="r" * 63, **foreign), ManualClock())
        assert all(made.data[name] == text for name, text in foreign.items() if len(text) <= MAX_TEXT)
        assert _size(made) < 64 * 1024

    def test_ten_of_the_longest_are_less_than_event_grid_takes_at_once(self, clock: ManualClock) -> None:
        longest = "\N{PARTY POPPER}" * 5000  # twelve bytes each, escaped
        foreign: dict[str, Any] = dict.fromkeys(FOREIGN, longest)
        made = told(decision(route="r" * 63, **foreign), clock)
        assert made.data["reason"].endswith("...")
        assert len(made.data["reason"]) == MAX_TEXT
        assert MAX_BATCH * _size(made) < 1_000_000


def _size(made: Notification) -> int:
    """In bytes, as the library sends it: JSON in ASCII."""
    document = {name: str(getattr(made, name)) for name in ("id", "source", "type", "subject", "time")}
    return len(json.dumps({**document, "specversion": "1.0", "data": made.data}))


@dataclass
class Desk:
    """A notifier whose topic is in memory.

    :param plan: what happens to the next batches: None takes one, an error is raised.
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
        """Let the thread wait in the middle of a first batch."""
        self.open.clear()
        self.notify(decision(key="first"))
        assert self.arrived.wait(20)

    def published(self) -> list[str]:
        """The ids, once everything is published."""
        self.open.set()
        self.notify.close(20)
        return [each.id for batch in self.batches for each in batch]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if record.name == "nextstage.notifications"]
    assert {record.levelname for record in records} <= {"WARNING"}
    return [record.getMessage() for record in records]


DOWN = NotificationFailed("the topic is down, says the test", may_pass=True)
REFUSED = NotificationFailed("the topic refuses, says the test", may_pass=False)


class TestNotifier:
    def test_what_is_told_is_published(self) -> None:
        desk = Desk()
        for outcome in Outcome:
            desk.notify(decision(outcome, key=outcome))
        assert [id_.split(":")[1] for id_ in desk.published()] == ["queued", "parked", "deferred"]

    def test_no_thread_is_started_for_what_is_not_told(self) -> None:
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

    def test_what_waits_goes_in_batches_in_the_order_it_came(self) -> None:
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

    def test_a_failure_that_may_pass_is_tried_again(self, caplog: pytest.LogCaptureFixture) -> None:
        desk = Desk(deque([DOWN, DOWN]))
        desk.notify(decision())
        assert desk.published() == [f"{KEY}:queued:5"]
        assert desk.slept == list(PAUSES_SECONDS)
        assert warnings(caplog) == []

    @pytest.mark.parametrize(("plan", "tries"), [([DOWN] * 3, 3), ([REFUSED], 1), ([RuntimeError("a secret?")], 1)])
    def test_a_failure_is_one_line_of_warning_and_the_next_is_published(
        self, plan: list[Exception], tries: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        desk = Desk(deque(plan))
        desk.hold()
        desk.notify(decision(key="second"))
        assert desk.published() == ["second:queued:5"]
        assert len(desk.slept) == tries - 1
        (line,) = warnings(caplog)
        assert line.startswith("notifications were lost (1): ")
        assert "a secret?" not in line

    def test_an_event_that_is_deferred_again_and_again_is_told_once_until_it_was_dealt_with(self) -> None:
        desk = Desk()
        for outcome in (*[Outcome.DEFERRED] * 20, Outcome.DUPLICATE, Outcome.DEFERRED):
            desk.notify(decision(outcome))
        desk.notify(decision(Outcome.DEFERRED, key="another"))
        for event_id in ("event-1", "event-2", "event-2"):  # of which nothing could be journaled
            desk.notify(decision(Outcome.DEFERRED, key="", event_id=event_id))
        ids = desk.published()
        assert ids[:3] == [f"{KEY}:deferred"] * 2 + ["another:deferred"]
        assert (len(ids), len(set(ids))) == (5, 4)

    def test_it_remembers_a_bounded_number_of_deferrals(self) -> None:
        desk = Desk()
        desk.hold()
        for number in range(MAX_REMEMBERED + 5):
            desk.notify(decision(Outcome.DEFERRED, key=f"{number}"))
        assert len(desk.notify._deferred) == MAX_REMEMBERED
        assert "0" not in desk.notify._deferred
        desk.published()

    def test_a_storm_of_deferrals_leaves_room_for_the_rest(self, caplog: pytest.LogCaptureFixture) -> None:
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
            "notifications come faster than the topic takes them: some are dropped; see the journal",
            f"notifications were dropped ({5 * MAX_WAITING}) while the topic did not keep up",
        ]

    def test_the_end_does_not_wait_for_ever(self, caplog: pytest.LogCaptureFixture) -> None:
        desk = Desk()
        desk.hold()
        desk.notify(decision(key="second"))
        desk.notify.close(0.01)
        assert warnings(caplog) == ["notifications were lost (2): the process ended before they could be published"]
        desk.notify(decision(key="too late"))
        assert desk.published() == ["first:queued:5", "second:queued:5"]

    def test_where_no_thread_can_be_started_the_next_one_tries_again(self, caplog: pytest.LogCaptureFixture) -> None:
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
            "notifications wait, since no thread can be started for them: can't start new thread"
        ]
