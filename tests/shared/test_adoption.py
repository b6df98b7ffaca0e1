"""An operator makes an existing run that of a record."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import RequestRefused
from shared.journal.cooldown import Cooldowns
from shared.journal.journal import RESERVATIONS, Journal
from shared.journal.records import JournalKey, Record, State, Store
from shared.journal.sqlite import SqliteStore
from shared.queueing.queueing import Queueing
from tests.support.builders import run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import LOST
from tests.support.journal.records import store_with
from tests.support.relays import LEASE, SETTLE, Bench, deferred


@pytest.fixture
def bench(store: SqliteStore, clock: ManualClock) -> Iterator[Bench]:
    with Bench.with_neighbor(store, clock) as bench:
        yield bench


def adopt(bench: Bench, record: Record, run_id: int, store: Store | None = None) -> Record:
    """Adopt a run, and return the record as it is stored then."""
    store = store or bench.store
    journal = Journal(store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=bench.clock)
    queueing = Queueing(journal, bench.pipelines, Cooldowns(store, bench.clock), clock=bench.clock)
    queueing.recovery.adopt(record, run_id, bench.clock() + timedelta(seconds=25))
    current = bench.store.get(record.key)
    assert current is not None
    return current


def uncertain(bench: Bench, run_id: str) -> Record:
    """Lose the answer to a request, and return the record when it has settled."""
    bench.pipelines.plan.append(LOST)
    deferred(bench.relay(), run_completed(run_id))
    record = bench.record()
    bench.clock.advance(SETTLE)
    return record


def test_an_uncertain_record_adopts_a_run_and_is_then_a_duplicate(bench: Bench) -> None:
    adopted = adopt(bench, uncertain(bench, "a"), 100)
    assert (adopted.state, adopted.run_id, adopted.reason) == (State.QUEUED, 100, "adopted by an operator")
    (decision,) = bench.relay().deliver(run_completed("a")).decisions
    assert (decision.run_id, len(bench.pipelines.books)) == (100, 1)


def test_one_run_is_not_adopted_for_two_records(bench: Bench) -> None:
    """The other operator reserves the run after this one has looked for its owner."""
    record = uncertain(bench, "a")

    def insert(reservation: Record) -> Record | None:
        if reservation.key.route == RESERVATIONS:
            other = reservation._replace(document='["plain", "another key"]')
            assert bench.store.insert(other) is not None
        return bench.store.insert(reservation)

    with pytest.raises(RequestRefused, match="run 100 has just been adopted for another record"):
        adopt(bench, record, 100, store_with(bench.store, insert=insert))


def test_a_run_whose_id_an_earlier_record_names_too(bench: Bench) -> None:
    """The run IDs of the organization have begun again."""
    bench.relay().deliver(run_completed("old"))
    old = bench.record()
    bench.clock.advance(86_400)
    record = uncertain(bench, "new")
    (queued,) = (one for one in bench.pipelines.books if one.run.id == 101)
    bench.pipelines.books[:] = [replace(queued, run=queued.run._replace(id=100))]
    adopted = adopt(bench, record, 100)
    assert (adopted.run_id, adopted.shares_run_id, old.run_id) == (100, True, 100)
    assert bench.store.get(JournalKey(*old.key)) == old
