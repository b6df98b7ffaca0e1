"""Messages may come twice, late or after a death, and answers may be lost: in the end, there is exactly one run."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DeliveryDeferred, ResumeUnavailable, Throttled
from shared.journal.journal import Journal
from shared.journal.records import State
from shared.resume.deferrals import DeliveryDeferrals
from shared.resume.resume import Resume
from tests.support.builders import run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import LOST, LOST_UNQUEUED
from tests.support.journal.memory_queue import MemoryQueue
from tests.support.journal.memory_store import MemoryStore
from tests.support.relays import LEASE, SETTLE, Bench

EVENT = run_completed("run-1")
ANSWERS = {"throttled": Throttled("HTTP 429", 20), "lost": LOST, "lost unqueued": LOST_UNQUEUED}


class World:
    """Event Grid, the host and an app whose answers are planned."""

    def __init__(self, bench: Bench, luck: float) -> None:
        self.bench = bench
        journal = Journal(bench.store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=bench.clock)
        self.queue = MemoryQueue(bench.clock)
        self.relay = bench.relay(deferrals=DeliveryDeferrals(journal, self.queue, bench.clock, lambda: luck))
        give_up, report, clock = timedelta(days=30), bench.reports, bench.clock
        self.resume = Resume(
            self.relay, journal, self.queue, give_up=give_up, report=report, clock=clock, luck=lambda: luck
        )
        self.is_acknowledged = False

    def deliver(self) -> None:
        with suppress(DeliveryDeferred):
            self.relay.deliver(EVENT)
            self.is_acknowledged = True

    def take_up(self, *, dies: str = "") -> None:
        """Advance to the next message and hand it over. The host hands it over again after a death or an error."""
        waiting = sorted(message.at for message in self.queue.messages.values())
        self.bench.clock.now = max([self.bench.clock.now, *waiting[:1]])
        taken = self.queue.take()
        if taken is None or dies == "before":
            return
        ticket, text = taken
        with suppress(ResumeUnavailable):
            self.resume.take_up(text, self.queue.messages[ticket].taken)
            if dies != "after":
                self.queue.finish(ticket)

    def add_message(self, seconds: float) -> None:
        for record in self.bench.records if not self.queue.is_down else ():
            self.queue.put(record.key, timedelta(seconds=seconds), "")

    def set_down(self, *, is_down: bool) -> None:
        self.queue.is_down = is_down

    def finish(self) -> None:
        """Event Grid delivers until the event is acknowledged, and the host hands over what is in the queue."""
        self.set_down(is_down=False)
        for _ in range(30):
            if not self.is_acknowledged:
                self.deliver()
            if self.queue.messages:
                self.take_up()


STEPS: dict[str, Callable[[World], None]] = {
    "deliver": World.deliver,
    "take up": World.take_up,
    "die before the work": lambda world: world.take_up(dies="before"),
    "die after the work": lambda world: world.take_up(dies="after"),
    "another message": lambda world: world.add_message(0),
    "a late message": lambda world: world.add_message(3600),
    "queue down": lambda world: world.set_down(is_down=True),
    "queue up": lambda world: world.set_down(is_down=False),
}


@given(
    answers=st.lists(st.sampled_from(sorted(ANSWERS)), max_size=6),
    steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=14),
    luck=st.floats(0, 1),
)
def test_there_is_one_run(answers: list[str], steps: list[str], luck: float) -> None:
    with Bench.with_neighbor(MemoryStore(), ManualClock()) as bench:
        bench.pipelines.plan.extend(ANSWERS[name] for name in answers)
        world = World(bench, luck)
        for step in steps:
            STEPS[step](world)
        world.finish()
        assert not world.queue.messages
        assert len(bench.pipelines.books) == 1
        assert [record.state for record in bench.records] == [State.QUEUED]
