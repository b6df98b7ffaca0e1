"""Tests of parse_event: both schemas, every spelling, and what is not an event."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from devstack.events import sample_names, sample_text
from shared.errors import UnreadableEvent
from shared.events.event import CLOUD_EVENTS_SCHEMA, ENVELOPE_NAMES, EVENT_GRID_SCHEMA, parse_event
from tests.support.builders import WORKSPACE, cloud_event_text, event_text


def test_both_schemas_give_the_same_event() -> None:
    data = {"runId": "run-1", "runTags": {"Stage": "Candidate"}}
    event_grid = parse_event(event_text("RunCompleted", data))
    cloud_event = parse_event(cloud_event_text("RunCompleted", data))

    assert (event_grid.schema, cloud_event.schema) == (EVENT_GRID_SCHEMA, CLOUD_EVENTS_SCHEMA)
    assert event_grid._replace(schema=CLOUD_EVENTS_SCHEMA, raw=cloud_event.raw) == cloud_event
    assert (event_grid.id, event_grid.source, event_grid.subject) == ("event-1", WORKSPACE, "subject")
    assert (event_grid.type, event_grid.name) == ("Microsoft.MachineLearningServices.RunCompleted", "RunCompleted")
    assert (event_grid.time, event_grid.data) == (datetime(2026, 11, 20, 10, 0, 0, 123456, UTC), data)


@pytest.mark.parametrize("key", ["specversion", "specVersion", "SPECVERSION"])
def test_cloud_events_are_recognized_by_specversion_in_any_spelling(key: str) -> None:
    document = json.loads(cloud_event_text("RunCompleted", {}))
    del document["specversion"]
    assert parse_event(json.dumps(document | {key: "1.0"})).schema == CLOUD_EVENTS_SCHEMA


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-06-26T18:41:00.9584103Z", datetime(2017, 6, 26, 18, 41, 0, 958410, UTC)),
        ("2019-10-18T19:29:55+02:00", datetime(2019, 10, 18, 19, 29, 55, tzinfo=timezone(timedelta(hours=2)))),
        ("2019-10-18T19:29:55", None),  # without an offset, the moment is unknown
        ("yesterday", None),
        (None, None),
        (5, None),
    ],
)
def test_times(text: object, expected: datetime | None) -> None:
    assert parse_event(event_text("RunCompleted", {}, eventTime=text)).time == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            {
                "workspace": "ws",
                "resource_group": "rg",
                "subscription_id": "0f0f0f0f-1111-2222-3333-444444444444",
                "time": "2026-11-20T10:00:00.123456+00:00",
            },
        ),
        (
            {"topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a"},
            {"subscription_id": "s", "resource_group": "g", "workspace": None},
        ),
        (
            {"topic": "my-topic", "eventTime": None},
            {"source": "my-topic", "resource_group": None, "workspace": None, "time": None},
        ),
    ],
)
def test_the_envelope_contains_the_parts_of_the_source(changes: dict[str, object], expected: dict[str, object]) -> None:
    envelope = parse_event(event_text("RunCompleted", {}, **changes)).envelope()
    assert tuple(envelope) == ENVELOPE_NAMES
    assert {name: envelope[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "one JSON object, got a list"),
        ('"text"', "one JSON object, got a string"),
        ('""', "got an empty string"),
        ("true", "got a boolean"),
        ("1", "got a number"),
        ("null", "got nothing"),
        ('{"a": NaN}', "NaN is not a JSON value"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a": "\ud800"}', "surrogate"),
        ("{}", "'id' must be a string that is not empty, got nothing"),
        (event_text("RunCompleted", {}, id=" "), "'id' must be a string that is not empty, got an empty string"),
        (event_text("RunCompleted", {}, topic=7), "'topic' must be a string that is not empty, got a number"),
        (cloud_event_text("RunCompleted", {}, source={}), "'source' must be a string that is not empty, got an object"),
        ('{"eventType": "x"}', "'id' .*'topic' "),  # every missing key is reported at once
    ],
)
def test_what_is_not_an_event(raw: str, reason: str) -> None:
    with pytest.raises(UnreadableEvent, match=reason):
        parse_event(raw)


def test_samples_are_different_events_in_the_schema_of_their_file_name() -> None:
    events = {name: parse_event(sample_text(name)) for name in sample_names()}
    for name, event in events.items():
        assert event.schema == (CLOUD_EVENTS_SCHEMA if name.endswith(".cloud") else EVENT_GRID_SCHEMA), name
        assert event.time is not None, name
        assert event.envelope()["resource_group"] == "sample-group", name
    assert len({event.id for event in events.values()}) == len(events)
