"""Model tests of resuming: deliveries and messages in any order, with lost answers, lost writes, crashes and pauses.

Promises after every step, in addition to those of deliveries:

- Every acknowledged delivery has a final record, or a message that brings its record back.

Promises after faults have stopped: without another delivery of an acknowledged event, every event has a final record
and one run, and no message is left.
"""

from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from shared.errors import ResumeUnavailable
from shared.journal.records import Entry, JournalKey, Record, State
from shared.relay import Deferrals, Delivery
from shared.resume.queue import key_in
from shared.resume.when import SHORTEST
from shared.telemetry import Result
from tests.model.deliveries import (
    COOLDOWN,
    CORRELATED,
    DISTINCT,
    EQUAL,
    EVENTS,
    Deliveries,
    DeliveriesToTwoRoutes,
    DeliveriesWithCooldown,
    over,
)
from tests.model.interleaving import EXAMPLES, a_worker, play
from tests.model.resume_world import CALLS, VISIBILITY, ResumeWorker, ResumeWorld
from tests.model.world import BUDGET, CRASH, GO, LEASE, SETTLE, Process, Worker, World
from tests.support.builders import run_completed
from tests.support.effort import amount

AT_AZURE_DEVOPS = {"before run", "in flight", "before builds", "after builds"}


class Resuming(Deliveries):
    """Workers that deliver events and take messages. A deferral is acknowledged."""

    has_trigger = True
    give_up = timedelta(days=30)
    worker: type[ResumeWorker] = ResumeWorker
    losable = Deliveries.losable | {f"{when} {call}" for when in ("before", "after") for call in CALLS}

    @initialize(is_deferred=st.booleans())
    def begin(self, *, is_deferred: bool = False) -> None:
        self.world = ResumeWorld(routes=self.table, honors_ids=self.honors_ids, give_up=self.give_up)
        self.workers = [self.new_worker() for _ in range(3)]
        self.acknowledged: set[str] = set()
        self.acknowledged_keys: set[JournalKey] = set()
        if is_deferred:
            self.ask_for_a_pause(5)
            self.workers[0].begin(EVENTS[0])
            self.finish(self.workers[0])

    def new_worker(self) -> ResumeWorker:
        return self.worker(self.world, has_trigger=self.has_trigger)

    @precondition(lambda self: self.world.queue.messages)
    @rule(worker=a_worker)
    def take_up(self, worker: int) -> None:
        """Take a message as soon as one is due."""
        if not self.workers[worker].is_busy:
            self.world.advance_to_a_message()
            self.workers[worker].take_up()

    @rule(worker=a_worker)
    def go_far(self, worker: int) -> None:
        """Go on until a request is in flight, or to the end."""
        while self.workers[worker].is_busy:
            self.step(self.workers[worker], GO)
            if self.workers[worker].at == "in flight":
                break

    @precondition(lambda self: self.world.queue.messages)
    @rule(data=st.data(), seconds=st.sampled_from([0, 0, 1, LEASE, 3600]))
    def a_message_comes(self, data: st.DataObject, seconds: int) -> None:
        """Move a message, even one in work: it may come twice, early or late."""
        message = data.draw(st.sampled_from(sorted(self.world.queue.messages)))
        self.world.queue.messages[message].at = self.world.clock() + timedelta(seconds=seconds)

    @precondition(lambda self: self.acknowledged_keys)
    @rule()
    def another_message(self) -> None:
        """Write a message that nothing needs, as a lost answer to a write or an operator does."""
        if not self.world.queue.is_down:
            self.world.queue.put(min(self.acknowledged_keys), timedelta(), "")

    @rule(is_down=st.booleans())
    def set_the_queue(self, *, is_down: bool) -> None:
        self.world.queue.is_down = is_down

    @rule(seconds=st.sampled_from([5, LEASE]))
    def ask_for_a_pause(self, seconds: int) -> None:
        self.world.closed_until = self.world.clock() + timedelta(seconds=seconds)

    def step(self, worker: Process, command: str) -> None:
        super().step(worker, command)
        self.what_is_acknowledged_comes_again()
        self.a_death_is_noticed()

    def what_is_acknowledged_comes_again(self) -> None:
        for key in self.acknowledged_keys:
            assert self.world.is_final(key) or self.world.comes_again(key), "an acknowledged record never comes again"

    def a_death_is_noticed(self) -> None:
        """If the host dies, the message in work is invisible for a long time. Another one does not wait for it."""
        for worker in self.workers:
            if worker.at in AT_AZURE_DEVOPS and worker.in_work is not None:
                is_noticed = self.world.is_final(worker.in_work) or self.world.comes_again(worker.in_work) > 1
                assert is_noticed, "nothing takes over from a host that dies"

    def acknowledge(self, worker: Worker, delivery: Delivery) -> None:
        self.acknowledged.add(worker.event)
        self.acknowledged_keys |= {JournalKey(decision.route or "", decision.key) for decision in delivery.decisions}

    def settle(self) -> None:
        """Deliver what is not acknowledged, and take each message when it is due, until there is none."""
        self.world.queue.is_down, self.world.closed_until = False, None
        for _ in range(200):
            waiting = [event for event in EVENTS if event not in self.acknowledged]
            for event in waiting:
                self.workers[0].begin(event)
                self.finish(self.workers[0])
            self.world.queue.put_back()
            if self.world.queue.messages:
                self.world.advance_to_a_message()
                self.workers[0].take_up()
                self.finish(self.workers[0])
            elif not waiting:
                return
        raise AssertionError("a message is left although faults have stopped")


class ResumingWithCooldown(Resuming, DeliveriesWithCooldown):
    """The same for a route with a cooldown."""


class ResumingToTwoRoutes(Resuming, DeliveriesToTwoRoutes):
    """The same for two routes with equal requests. The first may use up the time of the second."""


class ResumingWithThread(Resuming):
    """The same with a thread of the app that takes the messages, as with SQLite."""

    has_trigger = False


class ResumingAndGivingUp(Resuming):
    """The same if a record is parked after a while. Then it may have a run that the journal does not know."""

    give_up = timedelta(seconds=2 * LEASE)

    def check_the_end(self) -> None:
        self.no_occurrence_has_two_runs()
        self.final_records_do_not_change()
        records = [record for key, record in self.world.store.records.items() if key.is_about_event]
        assert len(records) == self.most_runs
        queued = [record.run_id for record in records if record.state is State.QUEUED]
        parked = [record.reason for record in records if record.state is State.PARKED]
        assert set(queued) <= {queued.run.id for queued in self.world.books}
        assert all(reason.startswith("given up after") for reason in parked)
        assert len(queued) + len(parked) == self.most_runs


@pytest.mark.parametrize(
    ("machine", "entries", "honors_ids"),
    [
        pytest.param(Resuming, [DISTINCT], False, id="distinct"),
        pytest.param(Resuming, [EQUAL], False, id="equal"),
        pytest.param(Resuming, [CORRELATED], True, id="correlated, ids honored"),
        pytest.param(ResumingWithCooldown, [COOLDOWN], False, id="cooldown"),
        pytest.param(ResumingToTwoRoutes, [EQUAL, EQUAL.replace("name: r", "name: s")], False, id="two routes"),
        pytest.param(ResumingWithThread, [EQUAL], False, id="equal, thread"),
        pytest.param(ResumingAndGivingUp, [DISTINCT], False, id="distinct, giving up"),
    ],
)
def test_the_promises_hold(machine: type[Resuming], entries: list[str], *, honors_ids: bool) -> None:
    play(over(machine, *entries, honors_ids=honors_ids), examples=EXAMPLES // 2)


class AcknowledgesFirst(ResumeWorker):
    """Acknowledges a delivery although its message cannot be written."""

    def deferrals(self, world: World) -> Deferrals:
        real = super().deferrals(world)

        class Hasty:
            def come_again(
                self, entry: Entry, key: JournalKey, result: Result, record: Record | None = None
            ) -> datetime:
                return real.come_again(entry, key, result, record) or world.clock()

        return Hasty()


class WritesTheMessageFirst(ResumeWorker):
    """Writes the message before the record."""

    def begin(self, event: str) -> None:
        self.event, self.delivery, self.acknowledged, self.in_work = event, None, False, None

        def deliver() -> None:
            with suppress(ResumeUnavailable):
                for decided in self.relay.decide(run_completed(event)).decisions:
                    self.queue.put(decided.key, timedelta(), "")
                self.delivery = self.relay.deliver(run_completed(event))

        self.start(deliver)

    def deferrals(self, world: World) -> Deferrals:
        class Earlier:
            def come_again(
                self, entry: Entry, key: JournalKey, result: Result, record: Record | None = None
            ) -> datetime:
                return world.clock()

        return Earlier()


class WritesNoMessageBeforeTheWork(ResumeWorker):
    """Has only the message in work while it works."""

    def handle(self, text: str, ticket: str, count: int) -> None:
        super().handle(text, ticket, count + 1)


class RemovesTheMessageBeforeTheWork(ResumeWorker):
    """Removes the message in work first."""

    def handle(self, text: str, ticket: str, count: int) -> None:
        self.world.queue.drop(ticket)
        super().handle(text, ticket, count)


class NeverEnds(ResumeWorker):
    """Writes another message although the record is final."""

    def handle(self, text: str, ticket: str, count: int) -> None:
        super().handle(text, ticket, count)
        self.world.queue.put(key_in(text), VISIBILITY, "")


SOON_FOUND = [AcknowledgesFirst, WritesNoMessageBeforeTheWork, RemovesTheMessageBeforeTheWork, NeverEnds]
MUTANTS = [*SOON_FOUND, WritesTheMessageFirst]


@pytest.mark.parametrize("worker", amount(SOON_FOUND, long=MUTANTS))
def test_the_search_finds_a_broken_promise(worker: type[ResumeWorker]) -> None:
    with pytest.raises(AssertionError, match=r"never comes again|takes over from a host|a message is left"):
        play(over(Resuming, DISTINCT, worker=worker), examples=20_000, shrink=False)


def overtake(worker: type[ResumeWorker]) -> None:
    """Take up the message of a delivery before the delivery ends."""
    machine = over(Resuming, DISTINCT, worker=worker)()
    machine.begin()
    machine.ask_for_a_pause(5)
    first = machine.workers[0]
    first.begin(EVENTS[0])
    while first.at != "after put":
        machine.step(first, GO)
    machine.take_up(1)
    machine.finish(machine.workers[1])
    machine.finish(first)
    machine.teardown()


def test_the_check_detects_a_message_that_is_written_before_the_record() -> None:
    overtake(ResumeWorker)
    with pytest.raises(AssertionError, match="never comes again"):
        overtake(WritesTheMessageFirst)


def freeze(worker: type[ResumeWorker]) -> Resuming:
    """Stop a host while it resumes."""
    machine = over(Resuming, DISTINCT, worker=worker)()
    machine.begin(is_deferred=True)
    machine.take_up(0)
    machine.go_far(0)
    assert machine.workers[0].at == "in flight"
    return machine


def test_the_check_detects_that_no_message_is_written_before_the_work() -> None:
    freeze(ResumeWorker).teardown()
    with pytest.raises(AssertionError, match="nothing takes over from a host that dies"):
        freeze(WritesNoMessageBeforeTheWork)


def test_another_host_goes_on_when_lease_and_request_have_ended() -> None:
    """docs/how-it-works.md says how long it takes."""
    machine = freeze(ResumeWorker)
    (sent,) = machine.world.sent
    sent.dropped = True
    machine.step(machine.workers[0], CRASH)
    claimed_at = machine.world.clock()
    while not machine.world.books:
        machine.take_up(1)
        machine.finish(machine.workers[1])
    seconds = (machine.world.clock() - claimed_at).total_seconds()
    assert max(LEASE, BUDGET + SETTLE) <= seconds <= max(LEASE, BUDGET + SETTLE) + SHORTEST.total_seconds()
    machine.teardown()
