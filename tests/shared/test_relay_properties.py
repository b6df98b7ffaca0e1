"""Whatever text arrives, a delivery ends in a decision: never an unexpected exception, never a retry without end."""

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.events import sample_names, sample_text
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

ROUTES = (ROOT / "routes.yaml").read_text()
SAMPLES = [sample_text(name) for name in sample_names()]

any_text = st.text(st.characters(codec=None), max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in inner for found in paths_of(child, (*path, key)))]


@st.composite
def events_with_a_value_replaced(draw: st.DrawFn) -> str:
    """A sample in which one value, key or branch is another one, or gone."""
    document = json.loads(draw(st.sampled_from(SAMPLES)))
    path = draw(st.sampled_from(paths_of(document)[1:]))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if draw(st.booleans()):
        parent[path[-1]] = draw(json_values)
    else:
        del parent[path[-1]]
    return json.dumps(document)


@st.composite
def events_with_text_damaged(draw: st.DrawFn) -> str:
    """A sample whose text has a piece cut out and something else put in."""
    text = draw(st.sampled_from(SAMPLES))
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(any_text) + text[start + draw(st.integers(0, 30)) :]


payloads = any_text | json_values.map(json.dumps) | events_with_a_value_replaced() | events_with_text_damaged()


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
