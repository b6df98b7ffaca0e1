"""Orphans: which runs are canceled, which are not, and what is logged about those that stay."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.azure_devops.runs import Run, RunRequest
from shared.errors import PermissionDenied
from shared.journal.journal import Journal
from shared.journal.records import ORPHANS, JournalKey, Record, State, Store
from shared.queueing.orphans import Orphan
from shared.queueing.search import LostRequest
from tests.support.builders import run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import LOST
from tests.support.relays import SETTLE, Bench, deferred

PLAIN = "name: plain\nevent: RunCompleted\npipeline: p\nparameters: { run: '{{ run_id }}' }"
SECONDS = 10


@pytest.fixture
def bench(store: Store, clock: ManualClock) -> Iterator[Bench]:
    with Bench.with_neighbor(store, clock) as bench:
        yield bench


def second_run(bench: Bench, *, known: bool = True) -> Run:
    """Queue an event, and a second run for it that a worker has written down."""
    bench.relay(PLAIN).deliver(run_completed())
    record = bench.record()
    request = RunRequest.from_json(record.entry.request)
    run = bench.pipelines.queue(request)
    lost = LostRequest(record.key, request, record.sender, record.claimed_at, until=bench.clock())
    bench.queueing.recovery.orphans.write_down(Orphan(lost, run if known else None))
    return run


def change(bench: Bench, record: Record, **changes: object) -> None:
    assert bench.store.replace(record._replace(**changes)) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("known", [True, False])
def test_a_second_run_is_canceled_once(bench: Bench, known: bool) -> None:
    run = second_run(bench, known=known)
    for _ in range(2):
        bench.queueing.recovery.orphans.settle(SECONDS)
    assert bench.pipelines.canceled == [run.id]
    assert [orphan.state for orphan in bench.orphans] == [State.COMPLETED]


def test_deliveries_look_for_orphans_every_ten_minutes(bench: Bench) -> None:
    queueing = bench.queueing
    seen = []
    runs: list[Run] = []
    for minutes in (9, 2, 9, 2):
        runs.append(second_run(bench))
        bench.clock.advance(minutes * 60)
        queueing.settle_orphans_sometimes(SECONDS)
        seen.append(len(bench.pipelines.canceled))
    assert seen == [0, 2, 2, 4]
    assert sorted(bench.pipelines.canceled) == sorted(run.id for run in runs)


@pytest.mark.parametrize("state", [State.SUPPRESSED, State.GATHERED])
def test_the_second_run_of_an_event_that_needs_none_is_canceled(bench: Bench, state: State) -> None:
    run = second_run(bench)
    change(bench, bench.record(), state=state, run_id=None)
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert bench.pipelines.canceled == [run.id]
    assert bench.orphans[0].reason.endswith("its event needs no run")
    bench.pipelines.books.pop(0)  # the bench expects each run to belong to a record


@pytest.mark.parametrize("state", [State.PARKED, State.RELEASED, State.UNCERTAIN, State.CLAIMED])
def test_a_run_that_may_still_become_the_events_is_left(bench: Bench, state: State) -> None:
    second_run(bench)
    record = bench.record()
    change(bench, record, state=state, run_id=None)
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert bench.pipelines.canceled == []
    assert [orphan.state for orphan in bench.orphans] == [State.WAITING]
    bench.pipelines.canceled.extend([100, 101])  # the bench expects each run to belong to a record


def test_the_run_of_an_event_without_a_record_is_said(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    second_run(bench)
    assert bench.store.delete(bench.record())
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert [orphan.state for orphan in bench.orphans] == [State.CLOSED]
    assert [level for _, level, _ in caplog.record_tuples] == [logging.CRITICAL]
    bench.pipelines.books.clear()


def test_an_altered_record_does_not_stop_the_others(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    run = second_run(bench)
    journal = Journal(bench.store, clock=bench.clock)
    for number, document in enumerate(["{", "[]", '{"key": ["a", "b"]}', "[" * 100_000]):
        journal.write_once(JournalKey(ORPHANS, f"{number:064x}"), State.WAITING, document)
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert bench.pipelines.canceled == [run.id]
    assert sum("cannot be read" in text for _, _, text in caplog.record_tuples) == 4


def test_an_unknown_run_is_not_searched_for_before_its_request_has_settled(bench: Bench) -> None:
    bench.relay(PLAIN).deliver(run_completed())
    record = bench.record()
    request = RunRequest.from_json(record.entry.request)
    lost = LostRequest(record.key, request, "", record.claimed_at, record.settled_at)
    bench.queueing.recovery.orphans.write_down(Orphan(lost, None))
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert [orphan.state for orphan in bench.orphans] == [State.RELEASED]
    bench.clock.advance(SETTLE * 2)
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert [(orphan.state, orphan.reason) for orphan in bench.orphans] == [(State.CLOSED, "there is no second run")]


def test_a_second_run_that_has_finished_is_said(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    run = second_run(bench)
    bench.pipelines.books[-1] = replace(bench.pipelines.books[-1], is_finished=True)
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert bench.pipelines.canceled == []
    assert [orphan.state for orphan in bench.orphans] == [State.CLOSED]
    (text,) = [text for _, level, text in caplog.record_tuples if level == logging.CRITICAL]
    assert f"run {run.id} was queued too late and has already finished" in text
    bench.pipelines.books.pop()


def test_a_second_run_that_was_canceled_before_is_done(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The answer to the first attempt was lost, or a person has canceled it."""
    run = second_run(bench)
    bench.pipelines.books[-1] = replace(bench.pipelines.books[-1], is_finished=True)
    bench.pipelines.canceled.append(run.id)
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert bench.pipelines.canceled == [run.id]
    assert [(orphan.state, orphan.reason) for orphan in bench.orphans] == [
        (State.COMPLETED, f"run {run.id} was queued too late and is canceled: its event has run {run.id - 1}")
    ]
    assert caplog.record_tuples == []


def test_a_run_that_an_equal_event_may_need_is_left(bench: Bench) -> None:
    """The request of a worker that had lost its claim was never carried out. An equal event has lost its answer."""
    same = "name: same\nevent: RunCompleted\npipeline: p\nparameters: { what: anything }"
    relay = bench.relay(same)
    relay.deliver(run_completed("a"))
    record = bench.record()
    request = RunRequest.from_json(record.entry.request)
    lost = LostRequest(record.key, request, record.sender, record.claimed_at, record.settled_at)
    bench.queueing.recovery.orphans.write_down(Orphan(lost, None))
    bench.pipelines.plan.append(LOST)
    deferred(relay, run_completed("b"))
    bench.clock.advance(SETTLE * 2)
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert bench.pipelines.canceled == []
    (decision,) = relay.deliver(run_completed("b")).decisions
    assert decision.run_id == 101
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert [(orphan.state, orphan.reason) for orphan in bench.orphans] == [(State.CLOSED, "there is no second run")]


def test_a_run_that_was_found_and_cannot_be_canceled_is_named(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    run = second_run(bench, known=False)
    bench.pipelines.cancel_error = PermissionDenied("HTTP 403: needs Stop builds")
    bench.queueing.recovery.orphans.settle(SECONDS)
    (orphan,) = bench.orphans
    words = f"run {run.id} ({run.url}) could not be canceled: HTTP 403: needs Stop builds"
    assert (orphan.state, orphan.reason) == (State.RELEASED, words)
    assert [(level, words in text) for _, level, text in caplog.record_tuples] == [(logging.CRITICAL, True)]
    bench.pipelines.cancel_error = None
    bench.queueing.recovery.orphans.settle(SECONDS)
    assert bench.pipelines.canceled == [run.id]
