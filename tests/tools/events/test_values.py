"""The values that an analysis reckons with are all that the handlers make."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings

from handlers import DISPATCH, NAMES
from shared.errors import IncompleteEvent, UnreadableEvent
from shared.events.event import AML_PREFIX, ENVELOPE_NAMES, AmlEvent, Occurrence, parse_event
from tests.support.payloads import payloads
from tools.events.values import options
from tools.routes.possible_values import fits


def meaning(raw: str) -> tuple[AmlEvent, Occurrence] | None:
    try:
        event = parse_event(raw)
        found = DISPATCH[event.type](event) if event.type in DISPATCH else None
    except (UnreadableEvent, IncompleteEvent):
        return None
    return (event, found) if isinstance(found, Occurrence) else None


def test_whatever_handlers_make_is_described() -> None:
    seen: set[str] = set()

    @settings(max_examples=2_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(payloads)
    def check(raw: str) -> None:
        if (found := meaning(raw)) is None:
            return
        event, occurrence = found
        seen.add(event.name)
        for name, value in occurrence.names.items():
            assert_described(event, (name,), value)
        for name, value in event.envelope().items():
            assert_described(event, ("event", name), value)
        assert tuple(occurrence.names) == NAMES[event.name]
        for name, value in occurrence.data.items():
            assert_described(event, ("data", name), value)

    check()
    assert seen == set(NAMES)


def assert_described(event: AmlEvent, path: tuple[str, ...], value: Any) -> None:
    found = options(event.name, path, with_children=True)
    assert any(fits(option, value) for option in found), (path, value)


def test_a_key_of_data_in_another_spelling_is_never_there() -> None:
    raw = json.dumps(
        {
            "id": "1",
            "eventType": f"{AML_PREFIX}RunCompleted",
            "topic": "t",
            "data": {"RunId": "a", "Own": 1, "runtags": {}},
        }
    )
    found = meaning(raw)
    assert found is not None
    for written, there in (("RunId", False), ("runId", True), ("Own", False), ("own", True), ("runtags", False)):
        never = [option.kind.value for option in options("RunCompleted", ("data", written), with_children=True)] == [
            "null"
        ]
        assert (written in found[1].data) is there is not never


def test_the_envelope_is_described() -> None:
    for name in ENVELOPE_NAMES:
        assert len(options("RunCompleted", ("event", name), with_children=True)) <= 2


def test_nothing_is_below_what_is_no_object() -> None:
    for path in (("run_id", "x"), ("event", "id", "x"), ("run_tags", "a", "b")):
        found = options("RunCompleted", path, with_children=True)
        assert (len(found) == 1) is (path[0] != "run_tags")
