"""After a worker has crashed at any point, the next one finishes its work: exactly one run, one final record.

The points are those that a delivery actually passes. A scenario runs once without a crash, and then once for each point
that it printed. A call that is added to the code is therefore covered automatically.

It is not known whether Azure DevOps honors the request's idempotency key, so both cases are tested.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from devstack.ado import Behavior, Fault
from shared.journal.records import FINAL_STATES, Selection
from shared.resume.queue import SQLITE
from tests.crash.stage import EARLIER, LATER, LONG_AGO, NOW, ROUTE, EmptyJournal, Stage, Workers, deaths, new_stage
from tests.crash.worker import DEFERRED, DIED
from tests.support.builders import run_completed
from tests.support.effort import LONG, amount

VARIANTS = {
    "plain": ROUTE,
    "correlated": ROUTE + "    correlation_parameter: nextstageKey\n",
    "cooldown": ROUTE + "    cooldown: 6h\n",
}
IGNORED, HONORED = Behavior(idempotency="ignored"), Behavior(idempotency="honored")
STORES = ("sqlite", "tables")
# Neither the store nor the route matters to the key, and both stores have tests of their own, so the usual tests cover
# each store and way once, with the routes that need the most calls, and not all combinations.
BOTH_WAYS = amount(
    [("sqlite", HONORED, "cooldown"), ("tables", IGNORED, "correlated")],
    long=list(product(STORES, [IGNORED, HONORED], VARIANTS)),
)
both_ways = pytest.mark.parametrize(
    ("empty_journal", "behavior", "variant"),
    BOTH_WAYS,
    indirect=["empty_journal"],
    ids=lambda value: value.idempotency if isinstance(value, Behavior) else value,
)
DELIVER: dict[str, Any] = {"action": "deliver", "event": run_completed("run-1")}


def check(stage: Stage) -> None:
    """Check that there is one run and one record, and that the record is final and names the run."""
    (run,) = stage.emulator.books.runs
    records = [found for found in stage.store.select(Selection(), 100) if not found.key.route.startswith("$")]
    (record,) = records
    assert record.state in FINAL_STATES
    assert record.run_id == run.id


@both_ways
@pytest.mark.parametrize("story", ["fresh", "answer-lost-after-queuing", "answer-lost-before-queuing"])
def test_a_worker_may_crash_at_any_point_of_a_delivery(
    workers: Workers, tmp_path: Path, empty_journal: EmptyJournal, behavior: Behavior, story: str, variant: str
) -> None:
    @contextmanager
    def prepared() -> Iterator[Stage]:
        with new_stage(workers, tmp_path, empty_journal, VARIANTS[variant], behavior) as stage:
            if story != "fresh":
                stage.emulator.plan(Fault(accept=story == "answer-lost-after-queuing", drop=True))
                assert stage.work(LONG_AGO, **DELIVER)[0] == DEFERRED
            yield stage

    with prepared() as stage:
        code, points = stage.work(EARLIER, **DELIVER)
        assert code == 0
        check(stage)
    assert len(points) >= 6
    for number in deaths(points):
        with prepared() as stage:
            code, passed = stage.work(EARLIER, crash_at=number, **DELIVER)
            assert (code, passed[-1]) == (DIED, points[number])
            code, _ = stage.work(NOW, **DELIVER)
            assert code == 0, f"not finished after a crash at '{points[number]}'"
            check(stage)


@both_ways
def test_a_worker_may_crash_during_the_request(
    workers: Workers, tmp_path: Path, empty_journal: EmptyJournal, behavior: Behavior, variant: str
) -> None:
    with new_stage(workers, tmp_path, empty_journal, VARIANTS[variant], behavior) as stage:
        stage.emulator.plan(Fault(accept=True, delay_after_seconds=1.5))
        assert stage.work(EARLIER, die_within="POST runs", **DELIVER)[0] == DIED
        assert stage.work(NOW, **DELIVER)[0] == 0
        check(stage)


def deferred(stage: Stage, story: str) -> None:
    """Make the first request fail in this way."""
    faults = {
        "throttled": Fault(accept=False, status=429, headers={"Retry-After": "1"}),
        "answer-lost-after-queuing": Fault(accept=True, drop=True),
        "answer-lost-before-queuing": Fault(accept=False, drop=True),
    }
    stage.emulator.plan(faults[story])


STORIES = ("throttled", "answer-lost-after-queuing", "answer-lost-before-queuing")
QUEUES = ("sqlite", "queues")
QUEUE_CALLS = {"put", "move", "drop", "take_all", "finish"}
every_queue = list(product(QUEUES, STORIES))


def resume_until_final(stage: Stage) -> None:
    """Take up every message, until none is left."""
    for offset in (NOW, LATER):
        assert stage.work(offset, action="resume")[0] == 0
    check(stage)
    assert not stage.messages()


def deaths_of(points: list[str], storage: str) -> list[int]:
    """Return the points at which to die. In Azure, only the calls to the queue differ."""
    return deaths(points, QUEUE_CALLS if storage != SQLITE and not LONG else None)


class TestResuming:
    """The record, the message, the acknowledgment: a worker may be killed before and after each."""

    @pytest.mark.parametrize(
        ("empty_journal", "story"),
        amount([("sqlite", "answer-lost-after-queuing"), ("queues", "throttled")], long=every_queue),
        indirect=["empty_journal"],
    )
    def test_a_worker_may_be_killed_at_any_point_of_a_delivery_that_is_deferred(
        self, workers: Workers, tmp_path: Path, empty_journal: EmptyJournal, story: str
    ) -> None:
        with new_stage(workers, tmp_path, empty_journal, resumes=True) as stage:
            deferred(stage, story)
            code, points = stage.work(LONG_AGO, **DELIVER)
            assert code == 0
            resume_until_final(stage)
        assert "before put" in points
        for number in deaths_of(points, stage.environment["RESUME_STORAGE"]):
            with new_stage(workers, tmp_path, empty_journal, resumes=True) as stage:
                deferred(stage, story)
                code, passed = stage.work(LONG_AGO, crash_at=number, **DELIVER)
                assert (code, passed[-1]) == (DIED, points[number])
                assert len(stage.messages()) == ("after put" in passed)
                assert stage.work(EARLIER, **DELIVER)[0] == 0  # Event Grid delivers again
                resume_until_final(stage)

    @pytest.mark.parametrize(
        ("empty_journal", "story"),
        amount([("sqlite", "throttled"), ("queues", "answer-lost-after-queuing")], long=every_queue),
        indirect=["empty_journal"],
    )
    def test_a_worker_may_be_killed_at_any_point_of_a_resume(
        self, workers: Workers, tmp_path: Path, empty_journal: EmptyJournal, story: str
    ) -> None:
        """Event Grid never delivers again, because the delivery was acknowledged."""

        @contextmanager
        def acknowledged() -> Iterator[Stage]:
            with new_stage(workers, tmp_path, empty_journal, resumes=True) as stage:
                deferred(stage, story)
                assert stage.work(LONG_AGO, **DELIVER)[0] == 0
                yield stage

        with acknowledged() as stage:
            code, points = stage.work(EARLIER, action="resume")
            assert code == 0
            resume_until_final(stage)
        assert "after drop" in points
        for number in deaths_of(points, stage.environment["RESUME_STORAGE"]):
            with acknowledged() as stage:
                code, passed = stage.work(EARLIER, crash_at=number, action="resume")
                assert (code, passed[-1]) == (DIED, points[number])
                resume_until_final(stage)
