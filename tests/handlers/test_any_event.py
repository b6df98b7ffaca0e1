"""Events of any type: of other Azure services, and CloudEvents of your own."""

import json
from typing import Any

import pytest

from handlers import DISPATCH, event_type
from shared.deciding import decide
from shared.events.event import CANARY_TYPE, Occurrence, parse_event
from shared.routing.table import Match, Refusal, RouteTable, journal_key
from tests.support.builders import event_text, routes, run_completed

LANDED = "com.example.orders.landed"
ROUTE = f"name: landed\nevent: {LANDED}\npipeline: p\nparameters: {{ region: '{{{{ data.region }}}}' }}"


def own(type_: str = LANDED, data: Any = None, **attributes: Any) -> str:
    """Return a CloudEvent. ``attributes`` replaces or adds some."""
    document = {"specversion": "1.0", "id": "1", "source": "/orders", "type": type_, "data": data}
    return json.dumps(document | attributes)


def request(raw: str, table: RouteTable) -> dict[str, str]:
    (match,) = decide(raw, DISPATCH, table).decisions
    assert isinstance(match, Match), match
    return dict(match.request.parameters)


def key(raw: str, table: RouteTable) -> str:
    (decision,) = decide(raw, DISPATCH, table).decisions
    return decision.key.key


def test_a_cloud_event_of_your_own_queues_a_run() -> None:
    assert request(own(data={"Region": "west"}), routes(ROUTE)) == {"region": "west"}


def test_the_event_of_another_service_in_event_grids_schema() -> None:
    source = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v"
    expired = "Microsoft.KeyVault.SecretNearExpiry"
    raw = event_text("", {"ObjectName": "pat", "EXP": 1790000000.5}, eventType=expired, topic=source)
    table = routes(
        f"name: r\nevent: {expired}\npipeline: p\nwhen: data.objectName == 'pat'\n"
        "parameters: { g: '{{ event.resource_group }}', at: '{{ data.exp }}', type: '{{ event.type }}' }"
    )
    assert request(raw, table) == {"g": "g", "at": "1790000000.5", "type": expired}


@pytest.mark.parametrize("data", [None, "text", 7, True, [1, {"region": "x"}], {}, {"region": None}, {"region": ["x"]}])
def test_the_data_may_be_anything(data: object) -> None:
    """CloudEvents requires no object. What a placeholder does not find parks the event."""
    raw = own(data=data)
    (refusal,) = decide(raw, DISPATCH, routes(ROUTE)).decisions
    assert isinstance(refusal, Refusal)
    assert refusal.cause == "MissingValue"
    plain = "name: r\nevent: com.example.orders.landed\npipeline: p\nparameters: { id: '{{ event.id }}' }"
    assert request(raw, routes(plain)) == {"id": "1"}


def test_the_data_itself_may_be_the_value() -> None:
    assert request(own(data="west"), routes(ROUTE.replace("data.region", "data"))) == {"region": "west"}


def test_an_event_without_data_and_subject() -> None:
    raw = json.dumps({"specversion": "1.0", "id": "1", "source": "x", "type": LANDED})
    event = parse_event(raw)
    assert (event.data, event.subject, event.time) == (None, "", None)
    assert len(decide(raw, DISPATCH, routes(ROUTE.partition("\nparameters")[0])).decisions) == 1


def test_source_and_id_identify_an_occurrence() -> None:
    table = routes(ROUTE)
    first = own(data={"region": "west"})
    assert key(first, table) == key(own(data={"region": "east"}, time="2026-11-20T10:00:00Z"), table)
    others = [own(id="2"), own(source="/Orders"), own(source="/orders:1"), own(source="/ORDERS")]
    assert len({key(raw, table) for raw in (first, *others)}) == 1 + len(others)


def test_once_per_replaces_the_identity() -> None:
    table = routes(f"{ROUTE}\nonce_per: '{{{{ data.region }}}}'")
    assert key(own(id="1", data={"region": "w"}), table) == key(own(id="2", data={"region": "w"}), table)


@pytest.mark.parametrize("type_", ["landed", "orders.landed", "com.example.orders.Landed", f"{LANDED}.v2"])
def test_another_type_is_ignored(type_: str) -> None:
    verdict = decide(own(type_), DISPATCH, routes(ROUTE))
    assert (verdict.decisions, verdict.why_nothing) == ((), f"no route handles {type_} events")


@pytest.mark.parametrize(
    "event", ["RunCompleted", "microsoft.machinelearningservices.RunCompleted", "RunCompleted.x", "*", "", "Microsoft"]
)
def test_only_the_full_type_of_azure_ml_reaches_its_routes(event: str) -> None:
    """A CloudEvent of the type ``RunCompleted`` is not one of Azure ML."""
    table = routes("name: r\nevent: RunCompleted\npipeline: p")
    raw = own(event, data={"runId": "r"})
    assert not [each for each in decide(raw, DISPATCH, table).decisions if isinstance(each, Match)]
    assert len(decide(run_completed(), DISPATCH, table).decisions) == 1


def test_a_type_of_azure_ml_stays_with_its_handler() -> None:
    full = routes("name: r\nevent: Microsoft.MachineLearningServices.RunCompleted\npipeline: p\nwhen: run_id == 'r-1'")
    assert full.routes[0].event == "RunCompleted"
    (match,) = decide(run_completed("r-1"), DISPATCH, full).decisions
    assert match.key == journal_key("r", parse_event(run_completed()).source, "r-1")


def test_a_type_that_azure_ml_may_add() -> None:
    new = "Microsoft.MachineLearningServices.JobPaused"
    raw = event_text("JobPaused", {"jobName": "j"})
    table = routes(f"name: r\nevent: {new}\npipeline: p\nparameters: {{ job: '{{{{ data.jobName }}}}' }}")
    assert (table.routes[0].event, request(raw, table)) == (new, {"job": "j"})


def test_the_test_event_of_doctor_stays_a_test_event() -> None:
    verdict = decide(own(CANARY_TYPE), DISPATCH, routes(ROUTE))
    assert (verdict.decisions, "only tests the deployment" in verdict.why_nothing) == ((), True)


@pytest.mark.parametrize(
    "value",
    ["$(x)", "${{ x }}", "$[x]", "##vso[x]", "##[x]", "a\nb", "x" * 10_000, "a;b", "\u202e", "$(x", "ü"],
)
@pytest.mark.parametrize("place", ["data", "subject", "source", "id"])
def test_a_hostile_value_parks_the_event(value: str, place: str) -> None:
    template = "data" if place == "data" else f"event.{place}"
    table = routes(f"name: r\nevent: {LANDED}\npipeline: p\nparameters: {{ x: '{{{{ {template} }}}}' }}")
    (refusal,) = decide(own(**{place: value}), DISPATCH, table).decisions
    assert isinstance(refusal, Refusal)
    assert refusal.cause == "UnsafeValue"


def test_the_declaration_of_any_type() -> None:
    declared = event_type(LANDED)
    assert (declared.type, dict(declared.names)) == (LANDED, {})
    assert event_type("RunCompleted").names
    for name in ("RunComplete", "", ".x", "a b.c"):
        with pytest.raises(KeyError):
            event_type(name)


def test_any_event_is_an_occurrence() -> None:
    for raw in (own("x", data=[1]), event_text("", 7, eventType="a.b")):
        event = parse_event(raw)
        assert isinstance(DISPATCH["*"](event), Occurrence)
