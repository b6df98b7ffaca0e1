"""Whatever text arrives, a delivery ends in a decision: never an unexpected exception, never a retry without end."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings

from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.deciding import MAX_UNREADABLE_BYTES
from shared.errors import UnreadableEvent
from shared.events.event import parse_event
from shared.journal.cooldown import Cooldowns
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, JournalKey, State
from shared.journal.sqlite import SqliteStore
from shared.queueing import Queueing
from shared.relay import Relay
from shared.routing.routes_file import load_routes
from shared.telemetry import Outcome
from tests.support import ROOT
from tests.support.building import ENVIRONMENT
from tests.support.fakes import FakePipelines, Reports
from tests.support.payloads import payloads

ROUTES = (ROOT / "routes.yaml").read_text()


def test_ten_thousand_payloads(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "journal.sqlite3")
    journal = Journal(store)
    relay = Relay(
        dispatch=DISPATCH,
        routes=load_routes(ROUTES, source="routes.yaml", names=NAMES, environment=ENVIRONMENT),
        journal=journal,
        queueing=Queueing(journal, FakePipelines(utc_now), Cooldowns(store)),
        report=Reports(),
    )
    seen = dict.fromkeys(Outcome, 0)

    @settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(payloads)
    def deliver(raw: str) -> None:
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
    store.close()
    assert min(seen[outcome] for outcome in (Outcome.QUEUED, Outcome.PARKED, Outcome.IGNORED)) > 100, seen


def is_event(raw: str) -> bool:
    try:
        parse_event(raw)
    except UnreadableEvent:
        return False
    return True
