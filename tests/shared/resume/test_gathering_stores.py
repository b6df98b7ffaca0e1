"""Threads and processes gather events at the same time, in each store. Each event counts once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random

from shared.clock import Clock, utc_now
from shared.errors import DeliveryDeferred
from shared.journal.journal import Journal
from shared.journal.records import Record, Selection, State, Store
from shared.resume.deferrals import DeliveryDeferrals
from shared.resume.gathering import Gathering
from shared.resume.resume import Resume
from shared.telemetry import Outcome
from tests.support.builders import event_text, routes
from tests.support.fakes import FakePipelines, Reports
from tests.support.journal.gathered_runs import expected_runs, run_of
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.relays import relay_over

QUIET, AT_MOST = timedelta(hours=1), timedelta(hours=2)
ROUTE = """
name: retrain
event: RunCompleted
pipeline: p
parameters:
  { run: "{{ run_id }}", of: "{{ experiment_name }}", count: "{{ gathered_count }}", since: "{{ gathered_since }}" }
gather: { quiet: 1h, at_most: 2h, by: "{{ experiment_name }}" }
"""
GROUPS = 3
EVENTS = 36


class Process:
    """What a process of the app has: its own locks, and the queue and the store that all share."""

    def __init__(self, store: Store, queue: MemoryQueue, pipelines: FakePipelines, clock: Clock = utc_now) -> None:
        self.reports = Reports()
        journal = Journal(store, clock=clock)
        gathering = Gathering(journal, queue, clock=clock)
        deferrals = DeliveryDeferrals(journal, queue, clock)
        self.relay = relay_over(
            store, pipelines, routes(ROUTE), clock, report=self.reports, deferrals=deferrals, gatherings=gathering
        )
        self.resume = Resume(
            self.relay, journal, queue, give_up=timedelta(days=7), kinds=gathering.kinds(), clock=clock
        )

    def deliver(self, number: int) -> None:
        data = {"experimentName": f"group-{number % GROUPS}", "runId": f"run-{number}"}
        with suppress(DeliveryDeferred):
            self.relay.deliver(event_text("RunCompleted", data, id=f"event-{number}"))


def test_each_event_counts_once(each_store: Store) -> None:
    """Two processes with four threads each are sent each event twice, in different orders."""
    began = utc_now()
    queue, pipelines = MemoryQueue(utc_now), FakePipelines(utc_now)
    processes = [Process(each_store, queue, pipelines) for _ in range(2)]
    orders = [Random(number).sample(range(EVENTS), EVENTS) for number in range(2)]
    with ThreadPoolExecutor(8) as pool:
        for pair in zip(*orders, strict=True):
            for process, number in zip(processes, pair, strict=True):
                pool.submit(process.deliver, number)
    _take_up(each_store, queue, pipelines, timedelta(minutes=5))
    events = _events(each_store)
    assert sorted(record.entry.event_id for record in events) == sorted(f"event-{number}" for number in range(EVENTS))
    assert {decision.outcome for process in processes for decision in process.reports} <= {
        Outcome.GATHERED,
        Outcome.DUPLICATE,
        Outcome.DEFERRED,
    }
    _take_up(each_store, queue, pipelines, QUIET * 2)
    runs = [run_of(queued.request.parameters) for queued in pipelines.books]
    assert sorted(runs) == expected_runs(events, QUIET, AT_MOST)
    assert [count for _, _, count, _ in runs] == [str(EVENTS // GROUPS)] * GROUPS
    assert not queue.messages
    assert all(record.changed_at >= began - timedelta(seconds=5) for record in events)


def _events(store: Store) -> list[Record]:
    return [*store.select(Selection(route="retrain", states=frozenset({State.GATHERED})), 1000)]


def _take_up(store: Store, queue: MemoryQueue, pipelines: FakePipelines, later: timedelta) -> None:
    """Hand over every message that is visible after a time, as if that time had passed."""

    def clock() -> datetime:
        return utc_now() + later

    queue.clock = clock
    process = Process(store, queue, pipelines, clock)
    while (taken := queue.take()) is not None:
        ticket, text = taken
        process.resume.take_up(text, queue.messages[ticket].taken)
        queue.finish(ticket)
