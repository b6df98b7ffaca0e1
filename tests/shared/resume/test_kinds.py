"""Waiting tasks and orphans come back by messages, so they wait neither for a delivery nor for the sweep."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from shared.azure_devops.runs import Run, RunRequest
from shared.errors import DeliveryDeferred, PermissionDenied, RequestNotSent, Throttled, UnreadableRecord
from shared.journal.journal import Journal
from shared.journal.records import NO_EVENT, ORPHANS, WAIT_PREFIX, JournalKey, Record, Selection, State
from shared.queueing.orphans import Orphan, Orphans
from shared.queueing.search import LostRequest
from shared.resume.deferrals import DeliveryDeferrals
from shared.resume.queue import key_in, message_of
from shared.resume.resume import Kind, Resume
from shared.telemetry import Outcome
from tests.support.builders import routes, run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import LOST, LOST_UNQUEUED, FakePipelines, Queued
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.memory_store import MemoryStore
from tests.support.relays import LEASE, PLAIN, SETTLE, Bench, outcomes, relay_over
from tests.support.waits import EVENT, GONE, BrokenStore, Scene, a_request, a_task, the_end

GIVE_UP = timedelta(hours=168)
NO_CONNECTION = RequestNotSent("no connection")


class Stage:
    """A bench and a scene with a queue in memory. Times are certain: by default, the shortest ones."""

    luck = 0.0

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.clock = bench.clock
        self.queue = MemoryQueue(bench.clock)
        self.journal = Journal(bench.store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=bench.clock)
        self.deferrals = DeliveryDeferrals(self.journal, self.queue, self.clock, luck=lambda: self.luck)
        come_again = partial(self.deferrals.come_again, NO_EVENT)
        self.orphans = Orphans(self.journal, bench.pipelines, bench.clock, come_again)
        self.scene = Scene(bench.store, bench.clock, come_again=come_again)

    def next_in(self) -> list[float]:
        """Return in how many seconds each message is visible."""
        return [round((each.at - self.clock()).total_seconds(), 3) for each in self.queue.messages.values()]

    def take_up(self) -> None:
        """Advance to the next message and take it up, as the host does."""
        self.clock.now = max(self.clock(), min(each.at for each in self.queue.messages.values()))
        taken = self.queue.take()
        assert taken is not None
        self.resume(taken[1])
        self.queue.finish(taken[0])

    def resume(self, message: str, *without: str) -> None:
        kinds = {
            ORPHANS: Kind(lambda record: record.key.route == ORPHANS, self.orphans.take_up),
            WAIT_PREFIX: Kind(
                lambda record: record.key.route.startswith(WAIT_PREFIX),
                lambda record: self.scene.waits.take_up(record, self.scene.in_seconds()),
            ),
        }
        resume = Resume(
            self.bench.relay(deferrals=self.deferrals),
            self.journal,
            self.queue,
            give_up=GIVE_UP,
            kinds=[kind for name, kind in kinds.items() if name not in without],
            clock=self.clock,
            luck=lambda: self.luck,
        )
        resume.take_up(message)

    def waits_until_final(self) -> list[float]:
        """Take up messages until there is none, and return how long each waited."""
        waited = []
        while self.queue.messages:
            waited += [min(self.next_in())]
            self.take_up()
            assert len(waited) < 100, "it never ends"
        return waited

    def change(self, record: Record, **changes: object) -> None:
        assert self.bench.store.replace(record._replace(**changes)) is not None  # type: ignore[arg-type]


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Bench.with_neighbor(MemoryStore(), ManualClock()) as bench:
        yield Stage(bench)


class TestOrphans:
    def second_run(self, stage: Stage, *, known: bool = True) -> Run:
        """Queue an event, and a second run for it that a worker writes down."""
        bench = stage.bench
        bench.relay(PLAIN).deliver(run_completed())
        record = bench.record()
        request = RunRequest.from_json(record.entry.request)
        run = bench.pipelines.queue(request)
        until = record.settled_at if known else bench.clock() + timedelta(seconds=SETTLE)
        lost = LostRequest(record.key, request, record.sender, record.claimed_at, until)
        stage.orphans.write_down(Orphan(lost, run if known else None))
        return run

    @pytest.mark.parametrize(("known", "waited"), [(True, 5), (False, SETTLE)])
    def test_a_second_run_is_canceled_when_its_message_comes(self, stage: Stage, *, known: bool, waited: float) -> None:
        run = self.second_run(stage, known=known)
        assert stage.waits_until_final() == [waited]
        assert stage.bench.pipelines.canceled == [run.id]
        assert [orphan.state for orphan in stage.bench.orphans] == [State.COMPLETED]

    def test_it_comes_again_until_the_event_has_its_run(self, stage: Stage) -> None:
        run = self.second_run(stage)
        record = stage.bench.record()
        stage.change(record, state=State.RELEASED, run_id=None)
        waited = []
        for _ in range(12):
            waited += stage.next_in()
            stage.take_up()
        assert waited[:5] == [5, 2.5, 3.75, 5.625, 8.438]
        assert stage.bench.pipelines.canceled == []
        current = stage.bench.record()
        stage.change(current, state=State.QUEUED, run_id=record.run_id)
        stage.waits_until_final()
        assert stage.bench.pipelines.canceled == [run.id]

    def test_an_error_of_azure_devops_slows_it_down(self, stage: Stage) -> None:
        stage.luck = 1.0
        run = self.second_run(stage)
        stage.bench.pipelines.cancel_error = PermissionDenied("HTTP 403")
        waited = []
        for _ in range(6):
            waited += stage.next_in()
            stage.take_up()
        assert waited == [10, 10, 10, 10, 15, 22.5]
        stage.bench.pipelines.cancel_error = None
        stage.waits_until_final()
        assert stage.bench.pipelines.canceled == [run.id]

    def test_a_pause_is_waited_for(self, stage: Stage) -> None:
        self.second_run(stage)
        stage.bench.pipelines.search_error = Throttled("HTTP 429", 77)
        stage.take_up()
        assert stage.next_in() == [77]
        stage.bench.pipelines.search_error = None
        stage.waits_until_final()

    def test_it_is_never_given_up(self, stage: Stage) -> None:
        run = self.second_run(stage)
        record = stage.bench.record()
        stage.change(record, state=State.PARKED, run_id=None)
        stage.clock.advance(GIVE_UP.total_seconds() * 2)
        stage.take_up()
        assert [orphan.state for orphan in stage.bench.orphans] == [State.WAITING]
        assert stage.next_in() == [timedelta(days=1).total_seconds()]
        stage.change(stage.bench.record(), state=State.QUEUED, run_id=record.run_id)
        stage.waits_until_final()
        assert stage.bench.pipelines.canceled == [run.id]

    def test_what_a_timer_has_settled_ends(self, stage: Stage) -> None:
        run = self.second_run(stage)
        stage.orphans.settle(10)
        assert stage.waits_until_final() == [5]
        assert stage.bench.pipelines.canceled == [run.id]

    def test_without_a_message_a_timer_settles_it(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        stage.queue.is_down = True
        run = self.second_run(stage)
        assert "of $orphans does not come again automatically, because no message could be written" in caplog.text
        assert not stage.queue.messages
        stage.orphans.settle(10)
        assert stage.bench.pipelines.canceled == [run.id]

    def test_the_run_of_a_frozen_worker_is_canceled_without_another_delivery(self, stage: Stage) -> None:
        """While its request is in progress, its lease expires, and a message queues another run."""
        bench = stage.bench

        def frozen() -> None:
            bench.clock.advance(max(LEASE, 25 + SETTLE) + 1)
            hidden.append(bench.pipelines.books.pop())  # the search does not see it yet
            stage.queue.put(bench.records[0].key, timedelta(), "")
            bench.pipelines.plan.append(LOST_UNQUEUED)  # so the event has no run when the worker goes on
            stage.take_up()
            bench.pipelines.books += hidden

        hidden: list[Queued] = []
        bench.pipelines.plan.append(frozen)
        assert outcomes(bench.relay(PLAIN, deferrals=stage.deferrals).deliver(run_completed())) == [Outcome.DEFERRED]
        assert len(bench.orphans) == 1
        stage.waits_until_final()
        (record,) = bench.records
        assert record.state is State.QUEUED
        assert len(bench.pipelines.books) - len(bench.pipelines.canceled) == 1


class TestWaits:
    def register(self, stage: Stage, count: int = 1) -> list[str]:
        requests = [a_request(a_task()) for _ in range(count)]
        for request in requests:
            stage.scene.waits.register(request, stage.scene.in_seconds(2.5))
        return [request.task.task_instance_id for request in requests]

    def end(self, stage: Stage) -> list[float | None]:
        """Report the end of the run. Return for each deferred task when it comes again, in seconds."""
        told = stage.scene.waits.run_ended(the_end(), EVENT, stage.scene.in_seconds())
        assert [decision.outcome for decision, _ in told] == [Outcome.DEFERRED] * len(told)
        return [None if again is None else (again - stage.clock()).total_seconds() for _, again in told]

    def states(self, stage: Stage) -> set[State]:
        return {record.state for record in stage.journal.select(Selection(route_prefix=WAIT_PREFIX), 99)}

    @pytest.mark.parametrize("planned", [NO_CONNECTION, Throttled("HTTP 429", 20), LOST, LOST_UNQUEUED])
    def test_what_is_deferred_comes_again_and_is_completed_once(self, stage: Stage, planned: Exception) -> None:
        (task,) = self.register(stage)
        stage.scene.tasks.plan("complete", planned)  # type: ignore[arg-type]
        wait = {NO_CONNECTION: 5, LOST: SETTLE + 1, LOST_UNQUEUED: SETTLE + 1}.get(planned, 20)  # type: ignore[call-overload]
        assert self.end(stage) == [wait]
        assert stage.scene.reports[-1].reason.endswith(" UTC")
        assert stage.waits_until_final() == [wait]
        assert stage.scene.tasks.results == {task: ["succeeded"]}
        assert self.states(stage) == {State.COMPLETED}
        assert stage.scene.reports[-1].outcome is Outcome.COMPLETED

    def test_it_comes_again_until_it_is_completed(self, stage: Stage) -> None:
        stage.luck = 1.0
        (task,) = self.register(stage)
        stage.scene.tasks.plan("complete", *[NO_CONNECTION] * 3)
        assert self.end(stage) == [10]
        stage.clock.advance(300)  # the organization is asked again
        assert stage.waits_until_final()[1:] == [150, 225], "half of the time for which attempts have failed"
        assert stage.scene.tasks.results == {task: ["succeeded"]}

    def test_tasks_of_an_organization_that_does_not_answer_wait_for_the_next_question(self, stage: Stage) -> None:
        self.register(stage, 5)
        stage.scene.tasks.silent.add("https://dev.azure.com/contoso")
        waits = self.end(stage)
        assert None not in waits
        assert waits[3:] == [30, 30]

    def test_the_delivery_is_acknowledged(self, stage: Stage) -> None:
        (task,) = self.register(stage)
        stage.scene.tasks.plan("complete", NO_CONNECTION, NO_CONNECTION)
        pipelines = FakePipelines(stage.clock)
        relay = relay_over(
            MemoryStore(), pipelines, routes(PLAIN), stage.clock, report=stage.bench.reports, waits=stage.scene.waits
        )
        assert outcomes(relay.deliver(run_completed())) == [Outcome.QUEUED, Outcome.DEFERRED]
        stage.queue.is_down = True
        with pytest.raises(DeliveryDeferred, match=r"^deferred: .* no connection$"):
            relay.deliver(run_completed())
        stage.queue.is_down = False
        stage.waits_until_final()
        assert stage.scene.tasks.results == {task: ["succeeded"]}

    def test_a_journal_that_does_not_answer_is_not_acknowledged(self, stage: Stage) -> None:
        scene = Scene(BrokenStore(), stage.clock, come_again=lambda *_: stage.clock())  # type: ignore[arg-type]
        ((decision, again),) = scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
        assert (decision.outcome, again) == (Outcome.DEFERRED, None)

    def test_tasks_for_which_no_time_is_left_are_not_written_one_after_the_other(self, stage: Stage) -> None:
        """A run may have thousands of tasks. The next delivery goes on with them."""
        self.register(stage, 2)
        stage.scene.tasks.plan("complete", lambda: stage.clock.advance(40))
        told = stage.scene.waits.run_ended(the_end(), EVENT, stage.scene.in_seconds())
        assert [(decision.outcome, again) for decision, again in told] == [
            (Outcome.COMPLETED, None),
            (Outcome.DEFERRED, None),
        ]

    @pytest.mark.parametrize("loses", [False, True])
    def test_a_task_that_is_completed_before_its_answer_is_checked_when_it_has_settled(
        self, stage: Stage, *, loses: bool
    ) -> None:
        stage.scene.waits.run_ended(the_end(), EVENT, stage.scene.in_seconds())
        stage.scene.tasks.loses_completions = loses
        (task,) = self.register(stage)
        stage.scene.tasks.loses_completions = False
        assert self.states(stage) == {State.UNCERTAIN}
        assert "comes again" not in stage.scene.reports[-1].reason
        assert stage.waits_until_final() == [SETTLE + 1]
        assert stage.scene.tasks.results == {task: ["succeeded"]}
        assert self.states(stage) == {State.COMPLETED}

    def test_a_task_that_is_gone_ends(self, stage: Stage) -> None:
        self.register(stage)
        stage.scene.tasks.plan("complete", NO_CONNECTION, GONE)
        self.end(stage)
        stage.waits_until_final()
        assert self.states(stage) == {State.CLOSED}

    def test_a_run_whose_end_is_not_known_is_left_to_the_sweep(self, stage: Stage) -> None:
        self.register(stage)
        (record,) = stage.journal.select(Selection(route_prefix=WAIT_PREFIX), 9)
        stage.queue.put(record.key, timedelta(), "")
        stage.waits_until_final()
        assert self.states(stage) == {State.WAITING}

    def test_while_waits_are_off_the_message_ends(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        self.register(stage)
        stage.scene.tasks.plan("complete", NO_CONNECTION)
        self.end(stage)
        ((ticket, message),) = stage.queue.messages.items()
        stage.queue.drop(ticket)
        stage.resume(message.text, WAIT_PREFIX)
        assert not stage.queue.messages
        assert f"nothing takes up the record {key_in(message.text).key}" in caplog.text


def test_a_worker_that_dies_is_followed_by_a_message(stage: Stage) -> None:
    key = JournalKey(ORPHANS, "aa")
    stage.journal.write_once(key, State.WAITING, "{}")
    waiting: list[float] = []
    stage.orphans.take_up = lambda _: waiting.extend(stage.next_in())  # type: ignore[method-assign, assignment]
    stage.queue.put(key, timedelta(), "")
    stage.take_up()
    assert LEASE in waiting
    assert not stage.queue.messages


def test_a_record_that_cannot_be_read_leaves_no_other_message(stage: Stage) -> None:
    """Otherwise, each message would leave one, and become poison."""
    key = JournalKey(ORPHANS, "aa")
    stage.journal.write_once(key, State.WAITING, "not an orphan")
    with pytest.raises(UnreadableRecord):
        stage.resume(message_of(key))
    assert not stage.queue.messages
