"""Every string that is delivered ends in a decision: no unexpected exceptions, no endless retries."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from handlers import NAMES
from shared.clock import utc_now
from shared.deciding import MAX_UNREADABLE_BYTES
from shared.errors import UnreadableEvent
from shared.events.event import parse_event
from shared.journal.records import UNROUTED, JournalKey, State, Store
from shared.journal.sqlite import SqliteStore
from shared.routing.routes_file import load_routes
from shared.telemetry import Outcome
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT
from tests.support.effort import amount
from tests.support.fakes import FakePipelines, Reports
from tests.support.journal.memory_store import MemoryStore
from tests.support.payloads import payloads
from tests.support.relays import relay_over

ROUTES = (ROOT / "routes.yaml").read_text()


def deliver_payloads(examples: int, journal_store: Callable[[], Store]) -> None:
    """Deliver this many generated payloads, each to a relay with a store from ``journal_store``."""
    table = load_routes(ROUTES, source="routes.yaml", names=NAMES, environment=ENVIRONMENT)
    pipelines = FakePipelines(utc_now)
    seen = dict.fromkeys(Outcome, 0)

    @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
    @given(payloads)
    def deliver(raw: str) -> None:
        store = journal_store()
        relay = relay_over(store, pipelines, table, report=Reports())
        decisions = relay.deliver(raw).decisions
        assert decisions
        for decision in decisions:
            seen[decision.outcome] += 1
            assert decision.outcome is not Outcome.DEFERRED
            if decision.outcome is Outcome.PARKED:
                record = store.get(JournalKey(decision.route or UNROUTED, decision.key))
                assert record is not None
                assert record.state is State.PARKED
                assert record.reason
                kept = raw.encode(errors="backslashreplace")
                assert record.entry.event.encode() == (kept if is_event(raw) else kept[:MAX_UNREADABLE_BYTES])
        assert all(again.outcome in {Outcome.DUPLICATE, Outcome.IGNORED} for again in relay.deliver(raw).decisions)

    deliver()
    assert min(seen[outcome] for outcome in (Outcome.QUEUED, Outcome.PARKED, Outcome.IGNORED)) > examples / 100, seen


def test_payloads_end_in_a_decision() -> None:
    deliver_payloads(amount(500, long=10_000), MemoryStore)


def test_payloads_are_stored_in_a_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "journal.sqlite3")
    deliver_payloads(amount(200, long=10_000), lambda: store)
    store.close()


def is_event(raw: str) -> bool:
    try:
        parse_event(raw)
    except UnreadableEvent:
        return False
    return True
