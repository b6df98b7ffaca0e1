"""docs/security.md agrees with the code. Each claim that can be tested has a test."""

import re

import pytest

from handlers import DISPATCH
from shared.deciding import decide
from shared.errors import UnsafeValue
from shared.journal.records import Entry, Record, State
from shared.journal.sqlite import SqliteStore
from shared.routing import templates
from shared.routing.lineage import MAX_TAG_LENGTH
from shared.routing.table import Match
from shared.routing.templates import MAX_VALUE_LENGTH, SAFE_VALUE, parse_template
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, WORKSPACE, event_text, routes, run_completed
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.docs import codes
from tests.support.fakes import FakePipelines, Reports
from tests.support.relays import PLAIN, relay_over

PAGE = (ROOT / "docs" / "security.md").read_text()


def values() -> list[tuple[str, str]]:
    """Return the table of values, each with its result."""
    found = re.findall(r"^\| `(.*)` \| (passes|parked) \|$", PAGE, re.MULTILINE)
    return [(value.replace("\\|", "|"), result) for value, result in found]


@pytest.mark.parametrize(("value", "result"), values())
def test_each_value_has_the_documented_result(value: str, result: str) -> None:
    template = parse_template("{{ run_id }}", None)
    if result == "passes":
        assert template.render({"run_id": value}) == value
    else:
        with pytest.raises(UnsafeValue):
            template.render({"run_id": value})


def test_allowed_characters_and_forbidden_sequences_are_documented() -> None:
    assert len(values()) == 12
    assert {SAFE_VALUE.pattern, *templates._NEVER} <= set(codes(PAGE))
    assert f"{MAX_VALUE_LENGTH:,}" in PAGE


def test_an_environment_value_in_a_parameter_is_stored_in_the_journal() -> None:
    table = routes(
        "name: leaky\nevent: RunCompleted\npipeline: p\nparameters: { token: '${TOKEN}' }",
        environment={**ENVIRONMENT, "TOKEN": secret("token")},
    )
    (decided,) = decide(run_completed(), DISPATCH, table).decisions
    assert isinstance(decided, Match)
    assert secret("token") in decided.request.to_json()


def test_an_event_may_name_any_workspace_and_a_route_can_filter_by_workspace() -> None:
    foreign = event_text(
        "RunCompleted", {"experimentName": "train", "runId": "r"}, topic=WORKSPACE.replace("/ws", "/elsewhere")
    )
    assert len(decide(foreign, DISPATCH, routes(PLAIN)).decisions) == 1
    filtered = routes(PLAIN + "\nwhen: event.workspace == 'ws'")
    assert decide(foreign, DISPATCH, filtered).decisions == ()
    assert len(decide(run_completed(), DISPATCH, filtered).decisions) == 1


def test_tags_may_contain_characters_that_parameters_may_not() -> None:
    table = routes("name: plain\nevent: ModelRegistered\npipeline: p")
    raw = event_text("ModelRegistered", {"modelName": "a$(b);c,d\u202e" + "x" * 500, "modelVersion": "1"})
    (decided,) = decide(raw, DISPATCH, table).decisions
    assert isinstance(decided, Match)
    assert decided.tags[0].startswith("model:a$(b)_c_d_x")
    assert {len(tag) <= MAX_TAG_LENGTH for tag in decided.tags} == {True}
    assert f"{MAX_TAG_LENGTH}" in PAGE


def test_the_request_in_an_uncertain_record_is_sent_so_the_table_must_be_trusted(
    store: SqliteStore, clock: ManualClock
) -> None:
    (decided,) = decide(run_completed(), DISPATCH, routes(PLAIN)).decisions
    assert isinstance(decided, Match)
    forged = decided.request._replace(organization_url="https://elsewhere.example", pipeline=666)
    entry = Entry("id", "type", "subject", run_completed(), forged.to_json())
    store.insert(Record(decided.key, State.UNCERTAIN, entry, clock(), clock(), clock()))
    pipelines = FakePipelines(clock)
    relay_over(store, pipelines, routes(PLAIN), clock, report=Reports()).deliver(run_completed())
    assert [queued.request for queued in pipelines.books] == [forged]
