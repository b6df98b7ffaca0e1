"""If a worker crashes while it writes down or settles an orphan, a message or a timer cancels the second run.

A crashed worker makes no call any more. The host hands its message over again.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, cast

from shared.azure_devops.runs import Run, RunRequest
from shared.journal.journal import Journal
from shared.journal.records import NO_EVENT, ORPHANS, State
from shared.queueing.orphans import Orphan, Orphans
from shared.queueing.search import LostRequest
from shared.resume.deferrals import DeliveryDeferrals
from shared.resume.resume import Kind, Resume
from tests.support.builders import run_completed
from tests.support.clock import ManualClock
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import WrappedQueue, WrappedStore, around_each_call
from tests.support.relays import LEASE, SETTLE, Bench


class Died(BaseException):
    """The process has ended."""


class Worker:
    """A worker that crashes at a point, if it passes so many.

    :param crash_at: the number of the point, starting at 0; -1 for never.
    """

    def __init__(self, bench: Bench, queue: MemoryQueue, crash_at: int = -1) -> None:
        self.points: list[str] = []
        self._crash_at = crash_at
        around = around_each_call(self._pass_by)
        store, watched = WrappedStore(bench.store, around), WrappedQueue(queue, around)
        pipelines: Any = WrappedStore(cast("Any", bench.pipelines), around)
        journal = Journal(cast("Any", store), lease_seconds=LEASE, settle_seconds=SETTLE, clock=bench.clock)
        deferrals = DeliveryDeferrals(journal, cast("Any", watched), bench.clock, luck=lambda: 0.0)
        self.orphans = Orphans(journal, pipelines, bench.clock, partial(deferrals.come_again, NO_EVENT))
        self.resume = Resume(
            bench.relay(),
            journal,
            cast("Any", watched),
            give_up=timedelta(hours=1),
            kinds=[Kind(lambda record: record.key.route == ORPHANS, self.orphans.take_up)],
            clock=bench.clock,
            luck=lambda: 0.0,
        )

    def survives(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except Died:
            return False
        return True

    def _pass_by(self, point: str) -> None:
        if -1 < self._crash_at < len(self.points):
            raise Died
        self.points.append(point)
        if self._crash_at == len(self.points) - 1:
            raise Died


def second_run(bench: Bench) -> tuple[Orphan, Run]:
    """Queue an event, and a second run for it."""
    bench.relay().deliver(run_completed())
    record = bench.record()
    request = RunRequest.from_json(record.entry.request)
    run = bench.pipelines.queue(request)
    lost = LostRequest(record.key, request, record.sender, record.claimed_at, record.settled_at)
    return Orphan(lost, run), run


def take_up_all(bench: Bench, queue: MemoryQueue) -> None:
    """Take up every message, until none is left."""
    for _ in range(9):
        if queue.messages:
            bench.clock.now = max(bench.clock.now, min(message.at for message in queue.messages.values()))
            ticket, text = queue.take() or ("", "")
            Worker(bench, queue).resume.take_up(text, queue.messages[ticket].taken)
            queue.finish(ticket)
    assert not queue.messages


def check(bench: Bench, run: Run) -> None:
    assert {*bench.pipelines.canceled} == {run.id}
    assert [orphan.state for orphan in bench.orphans] == [State.COMPLETED]


def crashes(act: Callable[[Worker, Bench, MemoryQueue], tuple[bool, Run]]) -> set[str]:
    """Crash at each point, let messages do the rest, or a timer if there is none, and return the points."""
    number, survived = 0, False
    seen: set[str] = set()
    while not survived:
        with Bench.with_neighbor(MemoryStore(), ManualClock()) as bench:
            queue = MemoryQueue(bench.clock)
            worker = Worker(bench, queue, number)
            survived, run = act(worker, bench, queue)
            if not survived and not queue.messages:
                Worker(bench, queue).orphans.settle(10)
            take_up_all(bench, queue)
            check(bench, run)
        seen.update(worker.points)
        number += 1
    return seen


def test_a_worker_may_crash_after_it_has_written_an_orphan_down() -> None:
    def write_down(worker: Worker, bench: Bench, _: MemoryQueue) -> tuple[bool, Run]:
        orphan, run = second_run(bench)
        survived = worker.survives(lambda: worker.orphans.write_down(orphan))
        if "after insert" not in worker.points:  # only the dead worker knows the second run
            Worker(bench, MemoryQueue(bench.clock)).orphans.write_down(orphan)
        return survived, run

    assert {"after insert", "before put", "after put"} <= crashes(write_down)


def test_a_worker_may_crash_while_it_settles_an_orphan() -> None:
    def settle(worker: Worker, bench: Bench, queue: MemoryQueue) -> tuple[bool, Run]:
        orphan, run = second_run(bench)
        Worker(bench, queue).orphans.write_down(orphan)
        bench.clock.advance(5)
        ticket, text = queue.take() or ("", "")
        survived = worker.survives(lambda: worker.resume.take_up(text, 1))
        if survived:
            queue.finish(ticket)
        assert queue.messages or survived
        return survived, run

    assert {"after put", "after cancel", "after replace", "after drop"} <= crashes(settle)
