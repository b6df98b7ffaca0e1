"""Model tests of gathering: deliveries and messages in any order, with crashes, lost answers and a queue that is down.

Promises after every step:

- No final record changes.
- The group's record counts exactly the events that were gathered into its period.
- Each open period and each run that is not queued yet has a message, unless a worker is about to write it.

Promises after faults have stopped: the runs are those of the quiet periods, each event counts once, and no message is
left. They also hold if workers freeze for longer than a lease. Then the repetition of a delivery, or the next event,
may have to write a message first.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from shared.azure_devops.reconcile import Build
from shared.azure_devops.runs import Run, RunRequest
from shared.errors import JournalUnavailable, RequestNotSent, ResumeUnavailable
from shared.journal.journal import Journal
from shared.journal.records import FINAL_STATES, Record, State
from shared.resume.deferrals import DeliveryDeferrals
from shared.resume.gathering import Gathering
from shared.resume.period import Period, is_group
from shared.resume.queue import key_in
from shared.resume.resume import Resume
from tests.model.interleaving import EXAMPLES, Interleaving, a_worker, play
from tests.model.world import LEASE, LOSE, SETTLE, Process, SharedWorld
from tests.support.builders import event_text, routes
from tests.support.effort import only_long
from tests.support.fakes import FakePipelines, Reports
from tests.support.journal.gathered_runs import expected_runs, run_of
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import Around, Call, WrappedQueue, WrappedStore
from tests.support.relays import relay_over

QUIET, AT_MOST = timedelta(minutes=2), timedelta(minutes=5)
TABLE = routes("""
name: r
event: RunCompleted
pipeline: p
parameters:
  { run: "{{ run_id }}", of: "{{ experiment_name }}", count: "{{ gathered_count }}", since: "{{ gathered_since }}" }
gather: { quiet: 2m, at_most: 5m, by: "{{ experiment_name }}" }
""")
EVENTS = ("a-1", "a-2", "a-3", "b-1")


class PunctualPipelines(FakePipelines):
    """Azure DevOps in memory, and a client that sends nothing after its deadline."""

    def run(self, request: RunRequest, deadline: datetime, orchestration_id: str) -> Run:
        self._check(deadline)
        return super().run(request, deadline, orchestration_id)

    def builds(
        self, request: RunRequest, since: datetime, until: datetime, deadline: datetime
    ) -> Iterator[Sequence[Build]]:
        self._check(deadline)
        return super().builds(request, since, until, deadline)

    def requester(self, request: RunRequest, deadline: datetime) -> str | None:
        self._check(deadline)
        return super().requester(request, deadline)

    def _check(self, deadline: datetime) -> None:
        if (deadline - self.clock()).total_seconds() < 1:
            raise RequestNotSent("no time is left")


@dataclass
class GatherWorld(SharedWorld):
    """A world with a queue. A run is queued in one step."""

    queue: MemoryQueue = field(init=False)
    pipelines: PunctualPipelines = field(init=False)

    def __post_init__(self) -> None:
        self.queue = MemoryQueue(self.clock, lease=timedelta(seconds=LEASE))
        self.pipelines = PunctualPipelines(self.clock)

    def carry_out(self, sent: Any) -> None:
        raise AssertionError("no request is in progress after a step")

    def advance_to_a_message(self) -> None:
        self.clock.now = max(self.clock.now, min(message.at for message in self.queue.messages.values()))


class GatherWorker(Process):
    """A process that delivers events and takes messages, one after the other."""

    def __init__(self, world: GatherWorld) -> None:
        super().__init__(world)
        self.world = world
        store: Any = WrappedStore(world.store, self._losing(JournalUnavailable))
        queue: Any = WrappedQueue(world.queue, self._losing(ResumeUnavailable))
        self.journal = Journal(store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=world.clock)
        gathering = self.gathering(self.journal, queue)
        self.relay = relay_over(
            store,
            world.pipelines,
            TABLE,
            world.clock,
            report=Reports(),
            sleep=lambda _: None,
            deferrals=DeliveryDeferrals(self.journal, queue, world.clock, lambda: 0.0),
            gatherings=gathering,
        )
        give_up, kinds = timedelta(days=7), gathering.kinds()
        self.resume = Resume(
            self.relay, self.journal, queue, give_up=give_up, kinds=kinds, clock=world.clock, luck=lambda: 0.0
        )
        self.event = ""
        self.is_acknowledged = False

    def gathering(self, journal: Journal, queue: Any) -> Gathering:
        return Gathering(journal, queue, clock=self.world.clock, luck=lambda: 0.0, sleep=lambda _: None)

    def _losing(self, error: type[Exception]) -> Around:
        """Stop before and after each call. Its answer may be lost."""

        def around(name: str, call: Call) -> Call:
            def step(*arguments: Any, **options: Any) -> Any:
                self.pause(f"before {name}")
                answer = call(*arguments, **options)
                if self.pause(f"after {name}") == LOSE:
                    raise error("the answer was lost")
                return answer

            return call if name == "clock_offset" else step

        return around

    def deliver(self, event: str) -> None:
        self.event, self.is_acknowledged = event, False
        data = {"experimentName": event.partition("-")[0], "runId": event}

        def deliver() -> None:
            self.relay.deliver(event_text("RunCompleted", data, id=event))
            self.is_acknowledged = True

        self.start(deliver)

    def take_up(self) -> None:
        """Take a message that is visible, as the host does. It comes again if the function raises or dies."""
        if (taken := self.world.queue.take()) is None:
            return
        ticket, text = taken
        number = self.world.queue.messages[ticket].taken

        def work() -> None:
            with suppress(ResumeUnavailable):
                self.resume.take_up(text, number)
                self.world.queue.finish(ticket, number)

        self.start(work)


class Gatherings(Interleaving):
    """Workers that deliver events of two groups and take messages."""

    worker: type[GatherWorker] = GatherWorker
    fenced = True
    longest = LEASE // 2
    """For how many seconds a worker stops at most."""

    @initialize()
    def begin(self) -> None:
        self.world = GatherWorld(MemoryStore(fenced=self.fenced))
        self.workers = [self.worker(self.world) for _ in range(3)]
        self.owed: set[str] = set()
        self.seen: set[str] = set()
        self.frozen = 0

    @rule(worker=a_worker, event=st.sampled_from(EVENTS))
    def deliver(self, worker: int, event: str) -> None:
        if not self.workers[worker].is_busy:
            self._deliver(self.workers[worker], event)

    @rule(worker=a_worker, event=st.sampled_from(EVENTS))
    def deliver_to_the_end(self, worker: int, event: str) -> None:
        if not self.workers[worker].is_busy:
            self._deliver(self.workers[worker], event)
            self.finish(self.workers[worker])

    @rule(worker=a_worker)
    def take_up(self, worker: int) -> None:
        if not self.workers[worker].is_busy:
            self.workers[worker].take_up()

    @precondition(lambda self: self.world.queue.messages and not any(worker.is_busy for worker in self.workers))
    @rule(worker=a_worker)
    def take_up_the_next(self, worker: int) -> None:
        self.world.advance_to_a_message()
        self.workers[worker].take_up()

    @rule(worker=a_worker)
    def lose_an_answer(self, worker: int) -> None:
        if self.workers[worker].at.startswith("after "):
            self.step(self.workers[worker], LOSE)

    @rule(seconds=st.sampled_from([1, 10, LEASE, 119, 120, 600]))
    def time_passes(self, seconds: int) -> None:
        if not any(worker.is_busy for worker in self.workers):
            self.frozen = 0
        elif (self.frozen + seconds) <= self.longest:
            self.frozen += seconds
        else:
            return
        self.world.advance(seconds)

    @rule(is_down=st.booleans())
    def set_the_queue(self, *, is_down: bool) -> None:
        self.world.queue.is_down = is_down

    @precondition(lambda self: self.world.queue.messages)
    @rule(data=st.data(), seconds=st.sampled_from([0, LEASE, 3600]))
    def another_message(self, data: st.DataObject, seconds: int) -> None:
        """Write a message that nothing needs: one that comes twice, or late."""
        number = data.draw(st.sampled_from(sorted(self.world.queue.messages)))
        if not self.world.queue.is_down:
            self.world.queue.put(key_in(self.world.queue.messages[number].text), timedelta(seconds=seconds), "")

    @invariant()
    def final_records_do_not_change(self) -> None:
        groups = {key for key in self.world.store.records if is_group(key)}
        self.world.finals = {key: record for key, record in self.world.finals.items() if key not in groups}
        self.world.check_finals()

    @invariant()
    def each_event_counts_once(self) -> None:
        for group in self.groups:
            into = group.gathered and group.gathered.into
            counted = [event for event in self.gathered if event.gathered and event.gathered.into == into]
            assert group.gathered is not None
            assert len(counted) == group.gathered.events, "an event was not counted once"

    @invariant()
    def what_waits_has_a_message(self) -> None:
        if any(worker.is_busy for worker in self.workers):
            return
        announced = {key_in(message.text) for message in self.world.queue.messages.values()}
        for group in self.groups:
            assert group.state is State.CLOSED or group.key in announced, "a period has no message"
        for record in self.records:
            is_run = record.gathered is not None and record.gathered.into == record.key.key
            assert not is_run or record.state in FINAL_STATES or record.key in announced, "a run has no message"

    @property
    def groups(self) -> list[Record]:
        return [record for key, record in self.world.store.records.items() if is_group(key)]

    @property
    def records(self) -> list[Record]:
        return [record for key, record in self.world.store.records.items() if key.route == "r" and not is_group(key)]

    @property
    def gathered(self) -> list[Record]:
        return [record for record in self.records if record.state is State.GATHERED]

    def step(self, worker: Process, command: str) -> None:
        super().step(worker, command)
        assert isinstance(worker, GatherWorker)
        self._note(worker)

    def _deliver(self, worker: GatherWorker, event: str) -> None:
        self.owed.add(event)
        self.seen.add(event)
        worker.deliver(event)
        self._note(worker)

    def _note(self, worker: GatherWorker) -> None:
        if worker.is_acknowledged:
            self.owed.discard(worker.event)
            worker.is_acknowledged = False

    def settle(self) -> None:
        """Deliver what is not acknowledged, and take each message when it is due, until there is none."""
        self.world.queue.is_down = False
        for _ in range(200):
            for event in sorted(self.owed):
                self._deliver(self.workers[0], event)
                self.finish(self.workers[0])
            if self.world.queue.messages:
                self.world.advance_to_a_message()
                self.workers[0].take_up()
                self.finish(self.workers[0])
            elif not self.owed:
                return
        raise AssertionError("a message is left although faults have stopped")

    def check_the_end(self) -> None:
        assert {record.entry.event_id for record in self.gathered} == self.seen
        assert {Period.of(group).gathered.into for group in self.groups if group.state is not State.CLOSED} == set()
        runs = sorted(run_of(queued.request.parameters) for queued in self.world.pipelines.books)
        assert runs == expected_runs(self.gathered, QUIET, AT_MOST)
        states = {record.state for record in self.records}
        assert states <= {State.GATHERED, State.QUEUED}


def over(worker: type[GatherWorker] = GatherWorker, *, fenced: bool = True) -> type[Gatherings]:
    return type("Gatherings", (Gatherings,), {"worker": worker, "fenced": fenced})


def test_the_promises_hold() -> None:
    play(Gatherings, examples=EXAMPLES)


class Freezes(Gatherings):
    """Workers that may also stop for longer than a lease."""

    longest = 10**9

    @invariant()
    def what_waits_has_a_message(self) -> None:
        pass


def test_the_promises_for_the_end_hold_after_long_freezes() -> None:
    play(Freezes, examples=EXAMPLES)


class WritesTheMessageAfterwards(GatherWorker):
    """Begins a period before its message is written, so that a death in between leaves it open."""

    def gathering(self, journal: Journal, queue: Any) -> Gathering:
        class Late(Gathering):
            def _announce(self, key: Any, now: datetime, after: timedelta, reason: str) -> Any:
                held, self._queue = self._queue, MemoryQueue(lambda: now)
                try:
                    return super()._announce(key, now, after, reason)
                finally:
                    self._queue = held

            def _confirm(self, message: Any) -> None:
                self._queue.put(message.key, message.after, message.reason)

        return Late(journal, queue, clock=self.world.clock, luck=lambda: 0.0, sleep=lambda _: None)


def test_the_search_finds_a_period_without_a_message() -> None:
    with pytest.raises(AssertionError, match="a period has no message"):
        play(over(WritesTheMessageAfterwards), examples=5_000, shrink=False)


@only_long
def test_the_search_finds_a_store_that_does_not_compare_versions() -> None:
    with pytest.raises(AssertionError):
        play(over(fenced=False), examples=5_000, shrink=False)
