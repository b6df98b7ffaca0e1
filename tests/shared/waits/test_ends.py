"""Ends of runs while the keys are removed for a time: they are stored if tasks wait, and cost nothing otherwise."""

import pytest

from handlers import DISPATCH, NAMES
from shared.composition import App, compose, load_configuration
from shared.errors import DeliveryDeferred
from shared.journal.records import Selection, Store
from shared.telemetry import Outcome
from tests.support import ROOT
from tests.support.azure import Azure
from tests.support.builders import ENVIRONMENT, WORKSPACE, run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import Reports
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import Call, WrappedStore
from tests.support.waits import KEY, BrokenStore, a_task, default_headers


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def app(store: Store, azure: Azure, clock: ManualClock, **environment: str) -> App:
    settings = ENVIRONMENT | {"AML_WORKSPACE_ID": WORKSPACE} | environment
    configuration = load_configuration(settings, ROOT, NAMES)
    return compose(configuration, DISPATCH, store=store, transport=azure, report=Reports(), clock=clock)


def test_the_keys_are_removed_while_a_task_waits_and_put_back(store: MemoryStore, clock: ManualClock) -> None:
    """reliability.md: the end was acknowledged and forgotten."""
    azure = Azure()
    bridge = app(store, azure, clock, WAIT_TOKEN_KEYS=KEY).bridge
    assert bridge is not None
    assert bridge.endpoint.answer(default_headers(a_task()), b'{"run_id": "run-1"}').status == 202
    decisions = app(store, azure, clock).relay.deliver(run_completed("run-1", experimentName="no-route")).decisions
    assert Outcome.DEFERRED not in {one.outcome for one in decisions}
    assert azure.completed == []
    bridge = app(store, azure, clock, WAIT_TOKEN_KEYS=KEY).bridge
    assert bridge is not None
    bridge.sweep.run()
    assert [result for _, result in azure.completed] == ["succeeded"]


def test_without_waits_nothing_is_stored_and_one_query_is_made_every_ten_minutes(
    store: MemoryStore, clock: ManualClock
) -> None:
    calls: list[str] = []

    def note(name: str, call: Call) -> Call:
        calls.append(name)
        return call

    off = app(WrappedStore(store, note), Azure(), clock)
    for number in range(12):
        off.relay.deliver(run_completed(f"run-{number}", experimentName="no-route"))
        clock.advance(120)
    assert calls.count("select") == 3
    assert list(store.select(Selection(route_prefix="$ended."), 9)) == []


def test_a_delivery_is_deferred_if_the_end_cannot_be_stored(clock: ManualClock) -> None:
    with pytest.raises(DeliveryDeferred, match="the journal does not answer"):
        app(BrokenStore(), Azure(), clock).relay.deliver(run_completed(experimentName="no-route"))  # type: ignore[arg-type]
