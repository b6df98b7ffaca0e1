"""Events are gathered, each counts once, and each period queues one run, whatever comes twice, late or dies."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ClaimLost, DeliveryDeferred, ResumeUnavailable, Throttled
from shared.journal.journal import Claimed, Journal
from shared.journal.records import Entry, JournalKey, Record, Selection, State, cut_remark
from shared.redrive import Redrive
from shared.relay import Relay
from shared.resume.deferrals import DeliveryDeferrals
from shared.resume.gathering import Gathering
from shared.resume.period import is_group
from shared.resume.queue import key_in
from shared.resume.resume import Resume
from shared.routing.table import Gather
from shared.telemetry import Outcome
from tests.support.builders import event_text
from tests.support.clock import ManualClock
from tests.support.fakes import LOST, LOST_UNQUEUED
from tests.support.journal.gathered_runs import expected_runs, run_of, value_of
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import WrappedQueue, WrappedStore, around_each_call
from tests.support.relays import LEASE, SETTLE, Bench, deferred, outcomes

QUIET, AT_MOST = 600, 3600
PLAIN = """
name: retrain
event: RunCompleted
pipeline: p
parameters: { run: "{{ run_id }}", of: "{{ experiment_name }}" }
"""
ROUTE = """
name: retrain
event: RunCompleted
pipeline: p
parameters:
  { run: "{{ run_id }}", of: "{{ experiment_name }}", count: "{{ gathered_count }}", since: "{{ gathered_since }}" }
gather: { quiet: 10m, at_most: 1h, by: "{{ experiment_name }}" }
"""


def event(name: str, group: str = "train") -> str:
    return event_text("RunCompleted", {"experimentName": group, "runId": name}, id=f"event of {name}")


MORNING = ManualClock()()


class Killed(BaseException):
    """The process ends."""


class World:
    """Event Grid, the host, the queue and an app, whose process can end at any call of store and queue."""

    def __init__(self, bench: Bench, route: str = ROUTE) -> None:
        self.bench = bench
        self.clock = bench.clock
        self.queue = MemoryQueue(bench.clock)
        self.route = route
        self.calls: list[str] = []
        self.dies_at: int | None = None
        around = around_each_call(self._come_to)
        self._store: Any = WrappedStore(bench.store, around)
        self._queue: Any = WrappedQueue(self.queue, around)

    def _come_to(self, place: str) -> None:
        if self.dies_at == len(self.calls):
            self.dies_at = None
            raise Killed
        self.calls.append(place)

    @property
    def journal(self) -> Journal:
        return Journal(self._store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=self.clock)

    @property
    def gathering(self) -> Gathering:
        sleep = self.bench.slept.append
        return Gathering(self.journal, self._queue, clock=self.clock, luck=lambda: 0.5, sleep=sleep)

    def relay(self) -> Relay:
        deferrals = DeliveryDeferrals(self.journal, self._queue, self.clock, lambda: 0.5)
        return self.bench.relay(self.route, store=self._store, deferrals=deferrals, gatherings=self.gathering)

    def deliver(self, *names: str, group: str = "train") -> list[Outcome]:
        return [outcome for name in names for outcome in outcomes(self.relay().deliver(event(name, group)))]

    def resume(self) -> Resume:
        return Resume(
            self.relay(),
            self.journal,
            self._queue,
            give_up=timedelta(days=7),
            kinds=self.gathering.kinds(),
            report=self.bench.reports,
            clock=self.clock,
            luck=lambda: 0.5,
        )

    def take_up(self, *, is_finished: bool = True) -> bool:
        """Hand over the next message that is due. Return False if there is none."""
        if (taken := self.queue.take()) is None:
            return False
        ticket, text = taken
        with suppress(ResumeUnavailable):
            self.resume().take_up(text, self.queue.messages[ticket].taken)
            if is_finished:
                self.queue.finish(ticket)
        return True

    def advance(self, seconds: float) -> None:
        """Let time pass, and hand over each message at its time."""
        until = self.clock() + timedelta(seconds=seconds)
        while (times := [each.at for each in self.queue.messages.values()]) and min(times) <= until:
            self.clock.now = max(self.clock.now, min(times))
            assert self.take_up()
        self.clock.now = until

    @property
    def runs(self) -> list[dict[str, str]]:
        return [dict(queued.request.parameters) for queued in self.bench.pipelines.books]

    @property
    def counts(self) -> list[str]:
        return [run["count"] for run in self.runs]

    @property
    def records(self) -> list[Record]:
        return [record for record in self.bench.records if record.key.is_about_event]

    @property
    def states(self) -> Counter[State]:
        return Counter(record.state for record in self.records)

    @property
    def groups(self) -> list[Record]:
        return [record for record in self.bench.records if is_group(record.key)]


@pytest.fixture
def world() -> Iterator[World]:
    with Bench.with_neighbor(MemoryStore(), ManualClock()) as bench:
        yield World(bench)


class TestPeriods:
    def test_one_run_for_all_events_until_it_is_quiet(self, world: World) -> None:
        began = f"{world.clock():%Y-%m-%dT%H:%M:%SZ}"
        for number in range(40):
            assert world.deliver(f"run-{number}") == [Outcome.GATHERED]
            world.advance(1)
        assert world.runs == []
        world.advance(QUIET - 2)
        assert world.runs == []
        world.advance(1)
        assert world.runs == [{"run": "run-39", "of": "train", "count": "40", "since": began}]
        assert world.states == {State.GATHERED: 40, State.QUEUED: 1}
        assert not world.queue.messages

    def test_the_decision_says_until_when_it_is_held(self, world: World) -> None:
        world.deliver("run-1")
        assert world.bench.reports[-1].reason == (
            "event 1 of its group; held until 2026-11-20 12:10:00, or until 2026-11-20 13:00:00 UTC at the latest "
            "if more events come"
        )

    def test_a_stream_of_events_does_not_hold_it_for_longer(self, world: World) -> None:
        for number in range(20):
            world.deliver(f"run-{number}")
            world.advance(300)
        assert world.counts == ["12"]
        world.advance(AT_MOST)
        assert world.counts == ["12", "8"]

    def test_each_group_has_its_periods(self, world: World) -> None:
        world.deliver("run-1", "run-2", group="a")
        world.advance(300)
        world.deliver("run-3", group="b")
        world.advance(AT_MOST)
        assert [(run["of"], run["run"], run["count"]) for run in world.runs] == [
            ("a", "run-2", "2"),
            ("b", "run-3", "1"),
        ]

    def test_an_event_counts_once_however_often_it_is_delivered(self, world: World) -> None:
        world.deliver("run-1", "run-2")
        assert world.deliver("run-1", "run-2", "run-1") == [Outcome.DUPLICATE] * 3
        world.advance(QUIET)
        assert world.deliver("run-1", "run-2") == [Outcome.DUPLICATE] * 2
        world.advance(AT_MOST)
        assert world.counts == ["2"]
        assert not world.queue.messages

    def test_an_event_after_the_end_begins_the_next_period_even_if_the_message_is_late(self, world: World) -> None:
        world.deliver("run-1", "run-2")
        world.clock.advance(QUIET + 5)
        world.deliver("run-3")
        world.advance(1)
        assert world.counts == ["2"]
        world.advance(AT_MOST)
        assert world.counts == ["2", "1"]
        assert not world.queue.messages

    def test_a_short_quiet_time_is_kept(self, world: World) -> None:
        """A message is hidden for a lease before its period is written, and then comes at its time."""
        world.route = ROUTE.replace("10m", "10s")
        world.deliver("run-1")
        assert [(due.at - world.clock()).total_seconds() for due in world.queue.due(9) if due.at] == [10]
        world.advance(10)
        assert world.counts == ["1"]

    def test_a_message_is_hidden_until_what_it_is_for_is_written(self, world: World) -> None:
        world.route = ROUTE.replace("10m", "10s")
        original, hidden = world.bench.store.write_together, list[float]()

        def write(records: list[Record]) -> bool:
            hidden.append(max((due.at - world.clock()).total_seconds() for due in world.queue.due(9) if due.at))
            return original(records)

        world.bench.store.write_together = write  # type: ignore[method-assign, assignment]
        world.deliver("run-1")
        world.queue.messages.clear()
        (group,) = world.groups
        world.clock.advance(10)
        world.gathering.end(group)
        assert hidden == [LEASE, LEASE]
        world.advance(0)
        assert world.counts == ["1"]

    def test_the_keys_of_runs_are_their_own(self, world: World) -> None:
        world.route = ROUTE + "correlation_parameter: key\n"
        world.deliver("run-1")
        world.advance(QUIET)
        (queued,) = (record for record in world.records if record.state is State.QUEUED)
        assert world.runs[0]["key"] == queued.key.key
        assert queued.gathered is not None
        assert queued.gathered.into == queued.key.key

    def test_records_of_open_groups_are_not_purged(self, world: World) -> None:
        world.deliver("run-1")
        (group,) = world.groups
        assert group.state is State.WAITING
        world.advance(QUIET)
        (group,) = world.groups
        assert group.state is State.CLOSED


class TestCost:
    def test_an_event_costs_one_read_and_one_write(self, world: World) -> None:
        world.deliver("run-1")
        begun = [call.removeprefix("before ") for call in world.calls if call.startswith("before")]
        assert [call for call in begun if call != "clock_offset"] == ["get", "put", "write_together"]
        world.calls.clear()
        world.deliver("run-2")
        more = [call.removeprefix("before ") for call in world.calls if call.startswith("before")]
        assert [call for call in more if call != "clock_offset"] == ["get", "write_together"]

    def test_the_first_event_of_the_next_period_also_costs_a_read_of_the_run(self, world: World) -> None:
        world.deliver("run-1")
        world.advance(QUIET)
        world.calls.clear()
        world.deliver("run-2")
        begun = [call.removeprefix("before ") for call in world.calls if call.startswith("before")]
        assert [call for call in begun if call != "clock_offset"] == ["get", "get", "put", "write_together"]
        assert len(world.queue.messages) == 1

    def test_a_gate_that_is_closed_holds_no_event_that_is_gathered(self, world: World) -> None:
        world.bench.pipelines.held_seconds = 20
        assert world.deliver("run-1") == [Outcome.GATHERED]
        world.bench.pipelines.held_seconds = 0


class TestFaults:
    def test_without_a_queue_nothing_is_counted(self, world: World) -> None:
        world.queue.is_down = True
        assert "the resume queue does not answer" in deferred(world.relay(), event("run-1"))
        assert world.groups == []
        world.queue.is_down = False
        assert world.deliver("run-1", "run-2") == [Outcome.GATHERED] * 2
        world.advance(AT_MOST)
        assert world.counts == ["2"]

    def test_an_event_joins_a_period_while_the_queue_is_down(self, world: World) -> None:
        world.deliver("run-1")
        world.queue.is_down = True
        assert world.deliver("run-2") == [Outcome.GATHERED]
        world.queue.is_down = False
        world.advance(AT_MOST)
        assert world.counts == ["2"]

    def test_others_are_quicker(self, world: World) -> None:
        """Each try reads the group again. After some tries, the event waits, and comes again by its message."""
        original = world.bench.store.write_together
        failures = iter([True] * 3)
        world.bench.store.write_together = (  # type: ignore[method-assign]
            lambda records: False if next(failures, False) else original(records)
        )
        assert world.deliver("run-1") == [Outcome.GATHERED]
        assert world.bench.slept == [0.01, 0.02, 0.04]
        assert len(world.queue.messages) == 1
        failures = iter([True] * 12)
        assert world.deliver("run-2") == [Outcome.DEFERRED]
        assert "many events of its group come at the same moment" in world.bench.reports[-1].reason
        world.advance(AT_MOST)
        assert world.counts == ["2"]
        assert world.states == {State.GATHERED: 2, State.QUEUED: 1}

    def test_a_delivery_keeps_time_to_let_its_event_wait(self, world: World) -> None:
        """It tries for four fifths of its 25 seconds."""
        tries = iter(range(99))
        world.bench.store.write_together = lambda records: next(tries) < 0  # type: ignore[method-assign]
        key, deadline = JournalKey("retrain", "ab12"), world.clock() + timedelta(seconds=25)
        gather = Gather("", timedelta(minutes=10), timedelta(hours=1))
        slow = Gathering(world.journal, world.queue, clock=world.clock, sleep=lambda _: world.clock.advance(6))
        entry = Entry("event", "RunCompleted", "", event("run-1"))
        result = slow.add(key, entry, gather, deadline, request_in=lambda _: "")
        assert result is not None
        assert result.outcome is Outcome.DEFERRED
        assert next(tries) == 5

    def test_a_delivery_that_freezes_writes_another_message(self, world: World) -> None:
        """Its message was taken in vain before the period was written."""
        original = world.bench.store.write_together

        def freeze(records: list[Record]) -> bool:
            world.bench.store.write_together = original  # type: ignore[method-assign]
            world.advance(QUIET + 1)
            return original(records)

        world.bench.store.write_together = freeze  # type: ignore[method-assign, assignment]
        world.deliver("run-1")
        world.advance(1)
        assert world.counts == ["1"]

    @pytest.mark.parametrize("is_deferred", [False, True])
    def test_a_process_may_freeze_and_then_die(self, world: World, is_deferred: bool) -> None:
        """Others take over from it, or it writes too late what its message was for, and then no other message."""
        original = world.bench.store.write_together

        def freeze_and_die(records: list[Record]) -> bool:
            world.bench.store.write_together = original  # type: ignore[method-assign]
            world.advance(QUIET + 1)
            original(records)
            raise Killed

        if is_deferred:
            world.bench.store.write_together = lambda records: False  # type: ignore[method-assign]
            assert world.deliver("run-1") == [Outcome.DEFERRED]
        world.bench.store.write_together = freeze_and_die  # type: ignore[method-assign, assignment]
        with pytest.raises(Killed):
            world.advance(60) if is_deferred else world.deliver("run-1")
        if not is_deferred:
            assert world.deliver("run-1") == [Outcome.DUPLICATE]
        world.advance(AT_MOST)
        assert world.counts == ["1"]
        world.deliver("run-2", "run-3")
        world.bench.store.write_together = freeze_and_die  # type: ignore[method-assign, assignment]
        with pytest.raises(Killed):
            world.advance(AT_MOST)
        world.advance(AT_MOST)
        assert world.counts == ["1", "2"]
        assert not world.queue.messages

    @pytest.mark.parametrize("ends_with_an_event", [False, True])
    def test_an_event_may_come_before_a_dead_process_is_replaced(self, world: World, ends_with_an_event: bool) -> None:
        """The process froze until the message of the run was taken in vain, closed the period, and died."""
        original = world.bench.store.write_together

        def freeze_and_die(records: list[Record]) -> bool:
            world.bench.store.write_together = original  # type: ignore[method-assign]
            waiting = world.queue.messages
            world.queue.messages = {n: each for n, each in waiting.items() if is_group(key_in(each.text))}
            original(records)
            raise Killed

        world.deliver("run-1", "run-2")
        world.bench.store.write_together = freeze_and_die  # type: ignore[method-assign, assignment]
        if ends_with_an_event:
            world.clock.advance(QUIET)
        with pytest.raises(Killed):
            world.deliver("run-3") if ends_with_an_event else world.advance(QUIET)
        assert world.deliver("run-3") == [Outcome.GATHERED]
        world.advance(AT_MOST)
        assert world.counts == ["2", "1"]
        assert not world.queue.messages

    def test_a_first_event_that_comes_again_has_its_message_written(self, world: World) -> None:
        """The delivery froze, and then died."""
        world.deliver("run-1")
        world.queue.messages.clear()
        assert world.deliver("run-1") == [Outcome.DUPLICATE]
        world.advance(QUIET)
        assert world.counts == ["1"]

    def test_a_deferred_event_that_comes_again_has_its_message_written(self, world: World) -> None:
        """The process has taken up the event, frozen until the message of its period was taken in vain, and died."""
        original = world.bench.store.write_together

        def freeze_and_die(records: list[Record]) -> bool:
            if not records[0].version:  # the delivery has not claimed the record yet
                return original(records)
            world.bench.store.write_together = original  # type: ignore[method-assign]
            waiting = world.queue.messages
            world.queue.messages = {n: each for n, each in waiting.items() if not is_group(key_in(each.text))}
            original(records)
            raise Killed

        world.bench.store.write_together = lambda records: False  # type: ignore[method-assign]
        assert world.deliver("run-1") == [Outcome.DEFERRED]
        world.bench.store.write_together = freeze_and_die  # type: ignore[method-assign, assignment]
        with pytest.raises(Killed):
            world.advance(60)
        world.advance(AT_MOST)
        assert world.counts == ["1"]
        assert not world.queue.messages

    def test_what_is_not_needed_leaves_no_message(self, world: World) -> None:
        """An event at the end of a period, and a message that comes after it."""
        world.deliver("run-1")
        (group,) = world.groups
        world.clock.advance(QUIET)
        assert world.bench.store.replace(group)
        result = world.gathering.end(group)
        assert result is not None
        assert result.outcome is Outcome.DEFERRED
        assert [is_group(key_in(each.text)) for each in world.queue.messages.values()] == [True]
        world.advance(1)
        assert world.counts == ["1"]
        world.queue.put(group.key, timedelta(), "")
        writes = world.queue.writes
        assert world.take_up()
        assert (world.queue.writes, world.queue.messages) == (writes, {})

    def test_other_events_that_come_again_have_no_message_written(self, world: World) -> None:
        world.deliver("run-1", "run-2", "run-2")
        assert len(world.queue.messages) == 1
        world.advance(QUIET)
        world.deliver("run-3", "run-1")
        assert len(world.queue.messages) == 1

    def test_a_claim_that_was_lost_is_noticed_at_once(self, world: World) -> None:
        entry = Entry("event", "RunCompleted", "", event("run-1"))
        key, deadline = JournalKey("retrain", "ab12"), world.clock() + timedelta(seconds=25)
        mine = world.journal.claim(key, entry, deadline)
        world.clock.advance(LEASE + SETTLE + 30)
        assert isinstance(world.journal.claim(key, entry, world.clock()), Claimed)
        assert isinstance(mine, Claimed)
        gather, deadline = Gather("", timedelta(minutes=10), timedelta(hours=1)), world.clock() + timedelta(seconds=25)
        with pytest.raises(ClaimLost):
            world.gathering.add(key, entry, gather, deadline, request_in=lambda _: "", mine=mine.record)
        assert world.bench.slept == []
        assert world.groups == []

    def test_an_outage_of_azure_devops_holds_the_run_and_not_the_next_period(self, world: World) -> None:
        world.bench.pipelines.plan.extend([Throttled("HTTP 429", 1200)] * 2)
        world.deliver("run-1", "run-2")
        world.advance(QUIET + 1)
        world.deliver("run-3")
        world.advance(AT_MOST)
        world.advance(AT_MOST)
        assert sorted(world.counts) == ["1", "2"]
        assert world.states == {State.GATHERED: 3, State.QUEUED: 2}

    @pytest.mark.parametrize("answer", [LOST, LOST_UNQUEUED])
    def test_the_answer_to_its_run_may_be_lost(self, world: World, answer: Exception) -> None:
        world.bench.pipelines.plan.append(answer)  # type: ignore[arg-type]
        world.deliver("run-1", "run-2")
        world.advance(QUIET + AT_MOST)
        assert world.counts == ["2"]
        assert world.states == {State.GATHERED: 2, State.QUEUED: 1}

    def test_a_last_event_that_was_removed_parks_the_run(self, world: World) -> None:
        world.deliver("run-1", "run-2")
        last = max(world.records, key=lambda record: (record.gathered and record.gathered.events) or 0)
        assert world.bench.store.delete(last)
        world.advance(QUIET)
        assert world.runs == []
        assert world.states == {State.GATHERED: 1, State.PARKED: 1}
        assert not world.queue.messages

    def test_a_store_may_cut_the_last_event(self, world: World) -> None:
        """Then the run has the request that was made for the period when the event was counted."""
        world.route = ROUTE + "correlation_parameter: key\n"
        world.deliver("run-1", "run-2")
        last = max(world.records, key=lambda record: (record.gathered and record.gathered.events) or 0)
        cut = last._replace(entry=last.entry._replace(event=last.entry.event[:50] + cut_remark(50, 900_000)))
        assert world.bench.store.replace(cut)
        world.advance(QUIET)
        (queued,) = (record for record in world.records if record.state is State.QUEUED)
        since = f"{MORNING:%Y-%m-%dT%H:%M:%SZ}"
        assert world.runs == [{"run": "run-2", "of": "train", "count": "2", "since": since, "key": queued.key.key}]


class TestChangedRoutes:
    def test_a_route_that_no_longer_matches_parks_the_run_and_a_redrive_sends_it(self, world: World) -> None:
        world.deliver("run-1", "run-2")
        world.route = ROUTE + "when: experiment_name == 'other'\n"
        world.advance(QUIET)
        (parked,) = (record for record in world.records if record.state is State.PARKED)
        assert parked.reason.startswith("tried again, but the route no longer matches")
        world.route = ROUTE
        redriven = Redrive(world.relay(), world.journal).redrive(parked)
        assert outcomes(redriven) == [Outcome.QUEUED]
        assert world.counts == ["2"]

    @pytest.mark.parametrize("route", [PLAIN, PLAIN + "once_per: '{{ experiment_name }}'\n", PLAIN + "cooldown: 1h\n"])
    def test_a_route_that_no_longer_gathers_queues_the_run_of_the_period(self, world: World, route: str) -> None:
        world.deliver("run-1", "run-2")
        world.route = route
        world.advance(QUIET)
        assert world.runs == [{"run": "run-2", "of": "train"}]
        assert world.states == {State.GATHERED: 2, State.QUEUED: 1}

    @pytest.mark.parametrize(("shorter", "seconds"), [("20s, at_most: 1h", 20), ("30s, at_most: 40s", 10)])
    def test_a_shorter_time_applies_from_the_next_event_on(self, world: World, shorter: str, seconds: int) -> None:
        world.deliver("run-1")
        world.advance(30)
        world.route = ROUTE.replace("10m, at_most: 1h", shorter)
        world.deliver("run-2")
        world.advance(seconds - 1)
        assert world.counts == []
        world.advance(1)
        assert world.counts == ["2"]

    def test_a_group_of_before_ends_as_it_is(self, world: World) -> None:
        world.deliver("run-1", "run-2")
        world.route = ROUTE.replace(', by: "{{ experiment_name }}"', "")
        world.deliver("run-3")
        world.advance(AT_MOST)
        assert sorted(world.counts) == ["1", "2"]

    def test_a_run_that_may_exist_is_adopted_and_not_gathered(self, world: World) -> None:
        """The answer was lost while the route queued a run for each event."""
        world.bench.pipelines.plan.append(LOST)
        world.route = PLAIN
        world.deliver("run-1")
        world.route = ROUTE
        world.advance(AT_MOST)
        assert world.runs == [{"run": "run-1", "of": "train"}]
        assert world.states == {State.QUEUED: 1}

    def test_an_event_that_was_certainly_not_sent_is_gathered(self, world: World) -> None:
        world.bench.pipelines.plan.append(Throttled("HTTP 429", 20))
        world.route = PLAIN
        world.deliver("run-1")
        world.route = ROUTE
        world.deliver("run-2")
        world.advance(AT_MOST)
        assert world.counts == ["2"]
        assert world.states == {State.GATHERED: 2, State.QUEUED: 1}

    def test_an_event_that_was_parked_is_gathered_when_it_is_redriven(self, world: World) -> None:
        unsafe = event_text("RunCompleted", {"experimentName": "train", "runId": "$(x)"})
        assert outcomes(world.relay().deliver(unsafe)) == [Outcome.PARKED]
        (parked,) = world.records
        world.route = ROUTE.replace('run: "{{ run_id }}", ', "")
        assert outcomes(Redrive(world.relay(), world.journal).redrive(parked)) == [Outcome.GATHERED]
        world.advance(QUIET)
        assert world.counts == ["1"]


def story(world: World) -> None:
    """Deliver events in two periods. Event Grid and the host come again after a death."""
    for name in ("run-1", "run-2", "run-1", "run-3"):
        for _ in range(2):
            with suppress(Killed, DeliveryDeferred):
                world.deliver(name)
                break
        if name == "run-2":
            world.clock.advance(1)
        for _ in range(2 if name == "run-1" and world.clock() > MORNING else 0):
            with suppress(Killed):
                world.advance(AT_MOST)
    for _ in range(2):
        with suppress(Killed):
            world.advance(AT_MOST)


def test_a_process_may_die_at_every_step() -> None:
    """The crash matrix of gathering: a death before and after each call of the store and of the queue."""
    number, is_over = 0, False
    while not is_over:
        with Bench.with_neighbor(MemoryStore(), ManualClock()) as bench:
            world = World(bench)
            world.dies_at = number
            story(world)
            is_over = world.dies_at is not None
            assert world.counts == ["2", "1"], f"after a death at call {number}: {world.calls[max(0, number - 3) :]}"
            assert world.states == {State.GATHERED: 3, State.QUEUED: 2}
            assert not world.queue.messages
        number += 1
    assert number > 50


NAMES = [f"run-{number}" for number in range(8)]
WAITS = [0.2, 30, QUIET - 1, QUIET, QUIET + 1, AT_MOST]
step = st.one_of(
    st.tuples(st.just("deliver"), st.sampled_from(NAMES), st.sampled_from(["a", "b"])),
    st.tuples(st.just("wait"), st.sampled_from(WAITS)),
    st.tuples(st.just("oversleep"), st.sampled_from(WAITS)),
    st.tuples(st.just("die"), st.integers(0, 40)),
    st.tuples(st.just("again"), st.floats(0, 900)),
    st.tuples(st.just("queue"), st.booleans()),
)


@settings(deadline=None)
@given(
    steps=st.lists(step, max_size=25),
    answers=st.lists(st.sampled_from([Throttled("HTTP 429", 20), LOST, LOST_UNQUEUED]), max_size=3),
)
def test_the_runs_are_those_of_the_quiet_periods(steps: list[tuple[Any, ...]], answers: list[Any]) -> None:
    with Bench.with_neighbor(MemoryStore(), ManualClock()) as bench:
        bench.pipelines.plan.extend(answers)
        world = World(bench)
        owed: dict[tuple[str, str], None] = {}
        delivered: set[tuple[str, str]] = set()

        def deliver(name: str, group: str) -> None:
            delivered.add((f"{name} {group}", group))
            owed[name, group] = None
            with suppress(Killed, DeliveryDeferred):
                world.relay().deliver(event(f"{name} {group}", group))
                del owed[name, group]

        def again(seconds: float) -> None:
            for record in world.bench.records if not world.queue.is_down else ():
                world.queue.put(record.key, timedelta(seconds=seconds), "")

        def wait(seconds: float) -> None:
            with suppress(Killed):
                if not world.queue.is_down:
                    world.advance(seconds)

        acts: dict[str, Callable[..., None]] = {
            "deliver": deliver,
            "wait": wait,
            "oversleep": world.clock.advance,
            "die": lambda number: setattr(world, "dies_at", len(world.calls) + number),
            "again": again,
            "queue": lambda is_down: setattr(world.queue, "is_down", is_down),
        }
        for name, *arguments in steps:
            acts[name](*arguments)
        world.dies_at, world.queue.is_down = None, False
        for name, group in list(owed):
            deliver(name, group)
        for _ in range(60):
            world.advance(AT_MOST)
        assert not world.queue.messages
        events = [record for record in world.records if record.state is State.GATHERED]
        assert {(value_of(each, "runId"), value_of(each, "experimentName")) for each in events} == delivered
        expected = expected_runs(events, timedelta(seconds=QUIET), timedelta(seconds=AT_MOST))
        assert sorted(map(run_of, world.runs)) == expected
        assert world.states == Counter({State.GATHERED: len(events), State.QUEUED: len(expected)})


def test_selection_finds_only_what_is_about_events(world: World) -> None:
    world.deliver("run-1")
    found = [*world.bench.store.select(Selection(route="retrain"), 9)]
    assert sorted(record.key.is_about_event for record in found) == [False, True]
