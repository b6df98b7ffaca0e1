"""A deferral is acknowledged, and its record is taken up again until it is final."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from shared.errors import (
    AzureDevOpsError,
    ClaimLost,
    DeliveryDeferred,
    InvalidMessage,
    JournalUnavailable,
    NewerRecord,
    RequestRefused,
    ResumeUnavailable,
    Throttled,
    UnreadableRecord,
)
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, State
from shared.redrive import may_have_run
from shared.relay import Relay
from shared.resume.deferrals import DeliveryDeferrals
from shared.resume.queue import key_in, message_of
from shared.resume.resume import Resume
from shared.telemetry import Outcome
from tests.support.builders import run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import HANGS, LOST, LOST_UNQUEUED
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.memory_store import MemoryStore
from tests.support.relays import LEASE, PLAIN, SETTLE, Bench, outcomes

EVENT = run_completed("run-1")
OTHER = EVENT.replace("event-1", "event-2")
THROTTLED = Throttled("HTTP 429", 20)
GIVE_UP = timedelta(hours=168)


class BrokenStore(MemoryStore):
    """A store whose ``get`` fails if a test says so."""

    error: Exception | None = None
    gets = 0

    def get(self, key: JournalKey):  # type: ignore[no-untyped-def]
        self.gets += 1
        if self.error is not None:
            raise self.error
        return super().get(key)


class Stage:
    """A bench with a queue in memory. Times are certain: by default, the shortest ones."""

    luck = 0.0

    def __init__(self, bench: Bench, store: BrokenStore) -> None:
        self.bench = bench
        self.store = store
        self.clock = bench.clock
        self.journal = Journal(store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=bench.clock)
        self.queue = MemoryQueue(bench.clock)

    def relay(self, *entries: str) -> Relay:
        deferrals = DeliveryDeferrals(self.journal, self.queue, self.clock, luck=lambda: self.luck)
        return self.bench.relay(*(entries or (PLAIN,)), deferrals=deferrals)

    def resume(self, *entries: str) -> Resume:
        return Resume(
            self.relay(*entries),
            self.journal,
            self.queue,
            give_up=GIVE_UP,
            report=self.bench.reports,
            clock=self.clock,
            luck=lambda: self.luck,
        )

    def next_in(self) -> list[float]:
        """Return in how many seconds each message is visible."""
        return [(due.at - self.clock()).total_seconds() for due in self.queue.due(99) if due.at is not None]

    def take_up(self, *entries: str) -> None:
        """Advance to the next message and take it up, as the host does."""
        self.clock.advance(max(0.0, *self.next_in()[:1]))
        taken = self.queue.take()
        assert taken is not None
        ticket, text = taken
        self.resume(*entries).take_up(text, self.queue.messages[ticket].taken)
        self.queue.finish(ticket)

    def until_empty(self, *entries: str) -> int:
        """Take up messages until there is none, and return how many there were."""
        count = 0
        while self.queue.messages:
            self.take_up(*entries)
            count += 1
            assert count < 2000, "it never ends"
        return count


@pytest.fixture
def stage() -> Iterator[Stage]:
    store = BrokenStore()
    with Bench.with_neighbor(store, ManualClock()) as bench:
        yield Stage(bench, store)
        store.error = None


class TestADelivery:
    def test_a_deferral_is_acknowledged_and_comes_again(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.append(THROTTLED)
        done = stage.relay().deliver(EVENT)
        assert outcomes(done) == [Outcome.DEFERRED]
        assert stage.bench.reports[-1].reason == "HTTP 429; comes again at 2026-11-20 12:00:20 UTC"
        assert stage.next_in() == [20]
        assert stage.until_empty() == 1
        assert [record.state for record in stage.bench.records] == [State.QUEUED]
        assert stage.bench.reports[-1].outcome is Outcome.QUEUED

    def test_nothing_is_claimed_while_the_organization_accepts_nothing(self, stage: Stage) -> None:
        stage.bench.pipelines.held_seconds = 20
        assert outcomes(stage.relay().deliver(EVENT)) == [Outcome.DEFERRED]
        (record,) = stage.bench.records
        assert [step.state for step in record.history] == [State.RELEASED]
        assert record.reason.endswith(" asked for a pause, does not answer, or accepts no faster pace")
        assert stage.next_in() == [20]
        stage.take_up()
        assert stage.next_in() == [20]
        assert stage.bench.records == [record]
        stage.bench.pipelines.held_seconds = 0
        assert stage.until_empty() == 1
        assert [record.state for record in stage.bench.records] == [State.QUEUED]
        stage.bench.pipelines.held_seconds = 20
        assert outcomes(stage.relay().deliver(EVENT)) == [Outcome.DUPLICATE]
        assert outcomes(stage.bench.relay().deliver(run_completed("run-2"))) == [Outcome.QUEUED]  # as before

    def test_after_a_pause_it_comes_at_the_pace_of_the_organization(self, stage: Stage) -> None:
        def throttled() -> None:
            stage.bench.pipelines.books.clear()
            stage.bench.pipelines.held_seconds = 20.5
            raise THROTTLED

        stage.luck = 1.0
        stage.bench.pipelines.plan.append(throttled)
        stage.relay().deliver(EVENT)
        assert stage.bench.pipelines.asked == [False, True]
        assert stage.next_in() == [20.5]

    def test_without_a_queue_event_grid_delivers_again(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.append(THROTTLED)
        with pytest.raises(DeliveryDeferred, match=r"deferred on plain: HTTP 429$"):
            stage.bench.relay().deliver(EVENT)
        assert stage.bench.reports[-1].reason == "HTTP 429"

    def test_a_message_that_cannot_be_written_is_not_acknowledged(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.append(THROTTLED)
        stage.queue.is_down = True
        with pytest.raises(DeliveryDeferred, match=r"deferred on plain: HTTP 429$"):
            stage.relay().deliver(EVENT)
        stage.queue.is_down = False
        assert outcomes(stage.relay().deliver(EVENT)) == [Outcome.QUEUED]

    def test_a_journal_that_does_not_answer_is_not_acknowledged(self, stage: Stage) -> None:
        stage.relay().deliver(EVENT)  # so that the claim finds a record
        stage.store.error, stage.store.gets = JournalUnavailable("the journal does not answer"), 0
        with pytest.raises(DeliveryDeferred, match="the journal does not answer"):
            stage.relay().deliver(EVENT)
        assert stage.next_in() == []
        assert stage.store.gets == 1, "it is not asked again, because that takes time"

    def test_an_event_without_a_record_is_not_acknowledged(self, stage: Stage) -> None:
        """The first route uses up the time of the delivery, so the second one never claims its record."""
        first, second = PLAIN + "\ntags: false", PLAIN.replace("plain", "second")
        stage.bench.pipelines.plan.append(lambda: stage.clock.advance(26))
        with pytest.raises(DeliveryDeferred, match=r"^deferred on second: no time is left"):
            stage.relay(first, second).deliver(EVENT)

    def test_one_route_comes_again_and_the_other_is_delivered_again(self, stage: Stage) -> None:
        second = PLAIN.replace("plain", "second")
        stage.bench.pipelines.plan.append(HANGS)
        with pytest.raises(DeliveryDeferred, match=r"^deferred on second: no time is left"):
            stage.relay(PLAIN, second).deliver(EVENT)
        stage.relay(PLAIN, second).deliver(EVENT)
        stage.until_empty(PLAIN, second)
        assert {record.state for record in stage.bench.records} == {State.QUEUED}

    def test_the_record_of_another_event_is_no_reason_to_acknowledge(self, stage: Stage) -> None:
        """If it is parked, this event may claim its key. A refusal must not silence another event."""
        stage.bench.pipelines.plan.append(LOST_UNQUEUED)
        stage.relay().deliver(EVENT)
        with pytest.raises(DeliveryDeferred, match="may still be in progress"):
            stage.relay().deliver(OTHER)
        assert len(stage.queue.messages) == 1

    @pytest.mark.parametrize(
        ("planned", "then"),
        [(None, Outcome.DUPLICATE), (RequestRefused("no"), Outcome.QUEUED)],
        ids=["queued", "parked"],
    )
    def test_another_event_with_the_same_identity_waits_until_the_acknowledged_one_is_done(
        self, stage: Stage, planned: AzureDevOpsError | None, then: Outcome
    ) -> None:
        """If it took the record and was refused, nothing would know of the first event."""
        stage.bench.pipelines.plan.append(THROTTLED)
        stage.relay().deliver(EVENT)
        with pytest.raises(DeliveryDeferred, match="event event-1 has the same identity, and comes first"):
            stage.relay().deliver(OTHER)
        assert stage.next_in() == [20]
        stage.bench.pipelines.plan.append(planned)
        stage.until_empty()
        assert stage.bench.record().entry.event_id == "event-1"
        assert outcomes(stage.relay().deliver(OTHER)) == [then]
        assert len(stage.bench.pipelines.books) == 1

    @pytest.mark.parametrize(
        ("days", "messages", "then"), [(0.9, 0, None), (1, 1, Outcome.DUPLICATE), (8, 1, Outcome.QUEUED)]
    )
    def test_an_event_that_was_deferred_without_a_queue_does_not_block_others(
        self, stage: Stage, days: float, messages: int, then: Outcome | None
    ) -> None:
        """After eight days, it is given up, and the other event is as new as it is."""
        stage.bench.pipelines.plan.append(THROTTLED)
        with pytest.raises(DeliveryDeferred):
            stage.bench.relay().deliver(EVENT)
        stage.clock.advance(days * 24 * 3600)
        with pytest.raises(DeliveryDeferred, match="comes first"):
            stage.relay().deliver(OTHER)
        assert len(stage.queue.messages) == messages
        stage.until_empty()
        if then is not None:
            assert outcomes(stage.relay().deliver(OTHER)) == [then]
            assert len(stage.bench.pipelines.books) == 1

    def test_a_lost_answer_comes_again_when_it_has_settled(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.append(LOST)
        stage.relay().deliver(EVENT)
        assert stage.next_in() == [SETTLE + 1]
        assert stage.until_empty() == 1
        assert (stage.bench.record().state, len(stage.bench.pipelines.books)) == (State.QUEUED, 1)

    def test_another_delivery_at_work_comes_again_when_it_can_be_taken_over(self, stage: Stage) -> None:
        def meanwhile() -> None:
            assert outcomes(stage.relay().deliver(EVENT)) == [Outcome.DEFERRED]

        stage.bench.pipelines.plan.append(meanwhile)
        assert outcomes(stage.relay().deliver(EVENT)) == [Outcome.QUEUED]
        assert stage.until_empty() == 1
        assert len(stage.bench.pipelines.books) == 1


class TestAMessage:
    def test_what_is_deferred_again_comes_again_until_it_succeeds(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.extend([THROTTLED] * 30)
        stage.relay().deliver(EVENT)
        assert stage.until_empty() == 30
        assert len(stage.bench.pipelines.books) == 1
        assert [decision.outcome for decision in stage.bench.reports] == [Outcome.DEFERRED] * 30 + [Outcome.QUEUED]

    @pytest.mark.parametrize("ticket", [True, False], ids=["moved", "put"])
    @pytest.mark.parametrize("planned", [THROTTLED, LOST_UNQUEUED], ids=["released", "uncertain"])
    @pytest.mark.parametrize("once_per", ["", "\nonce_per: '{{ experiment_name }}'"], ids=["", "another key"])
    def test_at_a_closed_gate_it_costs_a_look_and_a_wait(
        self, stage: Stage, planned: AzureDevOpsError, once_per: str, *, ticket: bool
    ) -> None:
        """Also if the record would be redriven."""
        stage.luck = 1.0
        stage.bench.pipelines.plan.append(planned)
        stage.relay().deliver(EVENT)
        stage.clock.advance(1000)
        stage.bench.pipelines.held_seconds = 30
        ((number, message),) = stage.queue.messages.items()
        before, gets, reports = stage.bench.records, stage.store.gets, len(stage.bench.reports)
        if not ticket:
            stage.queue.drop(number)
        stage.queue.writes = 0
        stage.resume(PLAIN + once_per).go_on(key_in(message.text), number if ticket else None)
        assert (stage.queue.writes, stage.store.gets - gets) == (1, 1)
        assert stage.bench.records == before
        assert stage.next_in() == [30]
        assert len(stage.bench.reports) == reports
        stage.bench.pipelines.held_seconds = 0
        stage.until_empty()
        assert len(stage.bench.pipelines.books) == 1

    def test_a_gate_that_opens_is_asked_once(self, stage: Stage) -> None:
        """Each answer that work may begin takes a place."""
        stage.bench.pipelines.plan.append(THROTTLED)
        stage.relay().deliver(EVENT)
        stage.bench.pipelines.asked.clear()
        stage.until_empty()
        assert stage.bench.pipelines.asked == [False]

    def test_there_is_one_message_for_each_record(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.extend([THROTTLED, LOST_UNQUEUED, THROTTLED, THROTTLED])
        stage.relay().deliver(EVENT)
        while stage.queue.messages:
            assert len(stage.queue.messages) == 1
            stage.take_up()

    def test_twice_or_late_it_does_no_harm(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.append(THROTTLED)
        stage.relay().deliver(EVENT)
        key = stage.bench.record().key
        for after in (0, 0, 20, 3600):
            stage.queue.put(key, timedelta(seconds=after), "")
        stage.until_empty()
        assert len(stage.bench.pipelines.books) == 1

    def test_it_ends_if_the_record_is_gone_or_final(self, stage: Stage) -> None:
        stage.resume().take_up(message_of(JournalKey("plain", "gone")))
        stage.relay().deliver(EVENT)
        stage.resume().take_up(message_of(stage.bench.record().key))
        assert not stage.queue.messages
        assert len(stage.bench.reports) == 1

    def test_a_claim_of_another_worker_is_waited_for_in_silence(self, stage: Stage) -> None:
        def meanwhile() -> None:
            stage.resume().take_up(message_of(stage.bench.records[0].key))

        stage.bench.pipelines.plan.append(meanwhile)
        stage.relay().deliver(EVENT)
        assert stage.next_in() == [max(LEASE, 25 + SETTLE) + 1]
        assert [decision.outcome for decision in stage.bench.reports] == [Outcome.QUEUED]

    def test_while_a_record_is_in_work_another_message_waits_for_the_end_of_the_lease(self, stage: Stage) -> None:
        waiting: list[float] = []
        stage.bench.pipelines.plan.extend([THROTTLED, lambda: waiting.extend(stage.next_in())])
        stage.relay().deliver(EVENT)
        stage.until_empty()
        assert sorted(waiting) == [LEASE, stage.queue.lease.total_seconds()]

    def test_a_message_that_was_taken_before_writes_no_other_one(self, stage: Stage) -> None:
        """The first worker wrote it and died. Otherwise, a message that kills workers would multiply."""
        waiting: list[float] = []
        stage.bench.pipelines.plan.extend([THROTTLED, lambda: waiting.extend(stage.next_in())])
        stage.relay().deliver(EVENT)
        ((ticket, message),) = stage.queue.messages.items()
        stage.queue.drop(ticket)
        stage.resume().take_up(message.text, taken=2)
        assert waiting == []
        assert not stage.queue.messages
        assert len(stage.bench.pipelines.books) == 1

    def test_each_death_of_a_worker_adds_at_most_one_message(self, stage: Stage) -> None:
        """They do not multiply, although the message in work comes again too."""
        stage.queue.lease = timedelta(seconds=30)
        stage.bench.pipelines.plan.append(THROTTLED)
        stage.relay().deliver(EVENT)

        def die() -> None:
            stage.bench.pipelines.books.clear()
            stage.queue.is_down = True  # so that the worker removes nothing
            raise KeyboardInterrupt

        deaths = 0
        while deaths < 8:
            stage.clock.now = max(stage.clock(), min(each.at for each in stage.queue.messages.values()))
            stage.bench.pipelines.plan.extend([die] if not stage.bench.pipelines.plan else [])
            ticket, text = stage.queue.take() or ("", "")
            try:
                stage.resume().take_up(text, stage.queue.messages[ticket].taken)
                stage.queue.finish(ticket)
            except KeyboardInterrupt:
                stage.queue.is_down, deaths = False, deaths + 1
            assert len(stage.queue.messages) <= 1 + deaths
        stage.bench.pipelines.plan.clear()
        stage.until_empty()
        assert len(stage.bench.pipelines.books) == 1

    def test_a_message_that_names_no_record_raises(self, stage: Stage) -> None:
        with pytest.raises(InvalidMessage):
            stage.resume().take_up("hello")

    def test_a_fault_raises_and_leaves_no_other_message(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.append(THROTTLED)
        stage.relay().deliver(EVENT)

        def fault() -> None:
            raise ZeroDivisionError

        stage.bench.pipelines.plan.append(fault)
        stage.clock.advance(20)
        taken = stage.queue.take()
        assert taken is not None
        with pytest.raises(ZeroDivisionError):
            stage.resume().take_up(taken[1])
        assert [*stage.queue.messages] == [taken[0]], "the host hands it over again"

    @pytest.mark.parametrize(
        ("error", "seconds"),
        [(JournalUnavailable("down"), 15), (NewerRecord("newer", "plain", "aa"), 900), (ClaimLost("taken"), 5)],
    )
    def test_an_error_of_the_journal_is_a_deferral(self, stage: Stage, error: Exception, seconds: float) -> None:
        stage.store.error = error
        stage.resume().take_up(message_of(JournalKey("plain", "aa")))
        assert stage.next_in() == [seconds]

    def test_a_record_that_cannot_be_read_raises(self, stage: Stage) -> None:
        stage.store.error = UnreadableRecord("changed by another program", "plain", "aa")
        with pytest.raises(UnreadableRecord):
            stage.resume().take_up(message_of(JournalKey("plain", "aa")))

    def test_a_queue_that_does_not_answer_raises_before_the_work(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.append(THROTTLED)
        stage.relay().deliver(EVENT)
        stage.queue.is_down = True
        with pytest.raises(ResumeUnavailable):
            stage.resume().take_up(message_of(stage.bench.record().key))
        assert not stage.bench.pipelines.books

    @pytest.mark.parametrize(("planned", "runs"), [(None, 1), (THROTTLED, 0)], ids=["final", "deferred"])
    def test_a_queue_that_fails_during_the_work_does_no_harm(
        self, stage: Stage, planned: Throttled | None, runs: int
    ) -> None:
        def fail() -> None:
            stage.queue.is_down = True
            if planned is not None:
                stage.bench.pipelines.books.clear()
                raise planned

        stage.bench.pipelines.plan.extend([THROTTLED, fail])
        stage.relay().deliver(EVENT)
        ((ticket, message),) = stage.queue.messages.items()
        stage.queue.drop(ticket)
        stage.resume().take_up(message.text)
        stage.queue.is_down = False
        assert len(stage.bench.pipelines.books) == runs
        assert stage.next_in() == [LEASE], "it comes when the lease ends"
        stage.until_empty()
        assert len(stage.bench.pipelines.books) == 1


class TestTheCurrentRoutes:
    OTHER_PIPELINE = PLAIN.replace("pipeline: p", "pipeline: q")
    OTHER_KEY = PLAIN + "\nonce_per: '{{ experiment_name }}'"
    REMOVED = PLAIN.replace("plain", "another")

    def test_a_released_record_gets_their_request(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.append(THROTTLED)
        stage.relay().deliver(EVENT)
        stage.until_empty(self.OTHER_PIPELINE)
        assert [queued.request.pipeline for queued in stage.bench.pipelines.books] == ["q"]

    @pytest.mark.parametrize("entry", [OTHER_PIPELINE, OTHER_KEY])
    def test_a_request_that_may_have_been_sent_is_sent_again_as_it_was(self, stage: Stage, entry: str) -> None:
        stage.bench.pipelines.plan.append(LOST_UNQUEUED)
        stage.relay().deliver(EVENT)
        stage.until_empty(entry)
        assert [queued.request.pipeline for queued in stage.bench.pipelines.books] == ["p"]
        assert [record.state for record in stage.bench.records] == [State.QUEUED]

    def test_a_run_that_exists_is_found(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.append(LOST)
        stage.relay().deliver(EVENT)
        stage.until_empty(self.REMOVED)
        assert [record.state for record in stage.bench.records] == [State.QUEUED]

    @pytest.mark.parametrize("planned", [THROTTLED, LOST_UNQUEUED])
    def test_a_record_whose_route_was_removed_is_parked(self, stage: Stage, planned: Exception) -> None:
        stage.bench.pipelines.plan.append(planned)  # type: ignore[arg-type]
        stage.relay().deliver(EVENT)
        stage.until_empty(self.REMOVED)
        (record,) = stage.bench.records
        assert record.state is State.PARKED
        assert "the route was removed" in record.reason

    def test_a_released_record_moves_to_its_current_key(self, stage: Stage) -> None:
        stage.bench.pipelines.plan.extend([THROTTLED, THROTTLED])
        stage.relay().deliver(EVENT)
        old = stage.bench.record().key
        stage.until_empty(self.OTHER_KEY)
        (record,) = stage.bench.records
        assert record.state is State.QUEUED
        assert record.key != old


class TestGivingUp:
    def always(self, stage: Stage, planned: object) -> None:
        stage.bench.pipelines.plan.extend([planned] * 2000)  # type: ignore[list-item]
        stage.relay().deliver(EVENT)
        stage.until_empty()

    @pytest.mark.parametrize("planned", [Throttled("HTTP 429", 3600), LOST_UNQUEUED], ids=["released", "uncertain"])
    def test_a_record_is_parked_in_the_end(self, stage: Stage, planned: object) -> None:
        began, stage.luck = stage.clock(), 1.0
        self.always(stage, planned)
        (record,) = stage.bench.records
        assert record.state is State.PARKED
        assert record.reason.startswith("given up after 7d (RESUME_GIVE_UP_HOURS): ")
        assert GIVE_UP < stage.clock() - began < GIVE_UP + timedelta(hours=2)
        last = stage.bench.reports[-1]
        assert (last.outcome, last.route, last.key, last.reason) == (Outcome.PARKED, *record.key, record.reason)
        assert may_have_run(record) == (planned is LOST_UNQUEUED)


def test_a_message_has_the_reason(stage: Stage) -> None:
    stage.bench.pipelines.plan.append(THROTTLED)
    stage.relay().deliver(EVENT)
    (message,) = stage.queue.messages.values()
    record = stage.bench.record()
    assert json.loads(message.text) == {"v": 1, "route": "plain", "key": record.key.key, "reason": "HTTP 429"}
