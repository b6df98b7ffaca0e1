"""Events that are made to match a route: they do match, and they can be made for the conditions that people write."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import NAMES
from shared.composition import load_configuration
from shared.events.event import parse_event
from shared.events.keys import look_up
from shared.routing.templates import Expression
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, routes
from tests.tools.conftest import occurrence_of
from tools.events.documents import Schema, in_schema
from tools.events.samples import SAMPLE_NAMES, sample_event
from tools.routes.conditions import Known, may_be_true
from tools.routes.matching_events import MatchingEvent, NoEvent, matching_event


def made(event: str, *lines: str, when: str = "") -> MatchingEvent | NoEvent:
    entry = [f"name: route\nevent: {event}\npipeline: 1", *lines]
    if when:
        entry.append(f"when: {json.dumps(when)}")
    return matching_event(routes("\n".join(entry)).routes[0])


def data_of(event: MatchingEvent | NoEvent) -> dict[str, Any]:
    assert isinstance(event, MatchingEvent), event
    found = occurrence_of(event.text)
    assert found is not None
    return dict(found[0].data)


@pytest.mark.parametrize("name", SAMPLE_NAMES)
def test_samples_are_occurrences_in_either_schema_and_differ_by_number(name: str) -> None:
    identities = []
    for event in (sample_event(name), in_schema(sample_event(name), Schema.CLOUD), sample_event(name, 2)):
        found = occurrence_of(json.dumps(event))
        assert found is not None
        identities.append(found[1].identity)
    assert identities[0] == identities[1] != identities[2]


@pytest.mark.parametrize(
    "when",
    [
        "account == 'contoso' && container == 'raw' && path == 'a/b c.csv'",
        "folder == 'a/b' && name == 'c.csv'",
        "folder == '' && extension == 'json'",
        "extension == '' && name == '_SUCCESS'",
        "starts_with(path, 'in/') && ends_with(path, '.csv')",
        "size == `17` && content_type == 'text/csv' && api == 'CopyBlob'",
        "contains(url, 'samplestorage') && etag == '0x1'",
        "event.resource_group == 'mine' && data.blobType == 'AppendBlob'",
    ],
)
def test_conditions_on_blobs(when: str) -> None:
    assert isinstance(made("Microsoft.Storage.BlobCreated", when=when), MatchingEvent)


def test_an_event_of_any_type_has_the_data_that_the_route_needs() -> None:
    lines = "parameters: { batch: '{{ data.batch.id }}', group: '{{ event.resource_group }}' }"
    event = made("com.example.landed", lines, when="data.region == 'west' && data.orders > `1000`")
    assert isinstance(event, MatchingEvent)
    data = parse_event(event.text).data
    assert data == {"number": 1, "region": "west", "orders": 1001, "batch": {"id": "sample"}}


STAGE = {"stage": "candidate"}
AUC = {"modelTags": {**STAGE, "auc": "0.9"}}


class TestConditions:
    @pytest.mark.parametrize(
        ("event", "when", "expected"),
        [
            ("RunCompleted", "experiment_name == 'score'", {"experimentName": "score"}),
            ("RunCompleted", "run_type == `null`", {}),
            ("RunCompleted", "run_properties.\"azureml.git.branch\" == 'main'", {}),
            ("RunCompleted", "starts_with(experiment_name, 'train-')", {"experimentName": "train-"}),
            ("RunCompleted", "run_tags.team && contains(run_tags.team, 'ml')", {"runTags": {"team": "ml"}}),
            ("RunCompleted", "contains(['a', 'b'], experiment_name)", {"experimentName": "a"}),
            ("RunCompleted", "!contains(['train'], experiment_name)", {"experimentName": "sample"}),
            ("RunCompleted", "event.workspace == 'prod' && event.resource_group == 'rg'", {}),
            ("RunCompleted", "data.experimentName == 'score'", {"experimentName": "score"}),
            ("RunCompleted", "root_run_id == 'r'", {"runId": "r"}),
            ("RunCompleted", "length(run_id) > `3`", {}),
            ("RunCompleted", "length(run_id) == `8`", {"runId": "samplesa"}),
            ("RunCompleted", "starts_with(run_id, 'a-') && ends_with(run_id, '-b')", {"runId": "a--b"}),
            ("RunCompleted", "run_id == experiment_id", {"runId": "sample", "experimentId": "sample"}),
            ("RunCompleted", "contains(run_tags.a, run_id)", {"runId": "sample", "runTags": {"a": "sample"}}),
            ("RunStatusChanged", "monitor_threshold_breached", {"runStatus": "Failed"}),
            ("RunStatusChanged", "!monitor_threshold_breached", {"runTags": {}}),
            ("RunStatusChanged", "monitor_threshold_breached == `true`", {}),
            ("RunStatusChanged", "monitor_message && contains(monitor_message, 'drift')", {}),
            ("RunStatusChanged", "monitor_message == 'drift' && monitor_threshold_breached", {}),
            ("ModelRegistered", "model_tags.stage == 'candidate' && model_name == 'm'", {"modelName": "m"}),
            ("ModelRegistered", "to_number(model_tags.auc) >= `0.9`", AUC),
            ("ModelRegistered", "abs(to_number(model_tags.bias)) < `0.1`", {"modelTags": {**STAGE, "bias": "0"}}),
            ("ModelRegistered", "model_id == 'm:7'", {"modelName": "m", "modelVersion": "7"}),
            ("ModelRegistered", "ends_with(model_name, '-prod')", {"modelName": "-prod"}),
            ("ModelRegistered", "model_tags.Stage == 'x' && data.ModelName == 'm'", {"modelTags": {"stage": "x"}}),
            ("ModelRegistered", "model_tags.Stage == `null`", {"modelTags": {}}),
            ("ModelDeployed", "contains(model_ids, 'm:7')", {"modelIds": "m:7"}),
            ("DatasetDriftDetected", "drift_coefficient > `0.7`", {"driftCoefficient": 1.7}),
            ("DatasetDriftDetected", "`0.1` > drift_coefficient", {"driftCoefficient": -0.9}),
            ("DatasetDriftDetected", "!(drift_coefficient >= `0.3`)", {"driftCoefficient": -0.7}),
        ],
    )
    def test_usual_conditions_are_solved(self, event: str, when: str, expected: dict[str, Any]) -> None:
        data = data_of(made(event, when=when))
        assert {key: look_up(data, key) for key in expected} == expected

    def test_every_route_of_the_default_table(self) -> None:
        for route in load_configuration(ENVIRONMENT, ROOT, NAMES).routes.routes:
            assert isinstance(matching_event(route._replace(enabled=True)), MatchingEvent), route.name

    @pytest.mark.parametrize(
        ("event", "when", "reason"),
        [
            ("RunCompleted", "join('-', [run_id, experiment_id]) == 'a-b'", "when is not true: join("),
            ("RunCompleted", "run_id == 'a' && run_id == 'b'", "when is not true"),
            ("RunStatusChanged", "run_status == 'Running'", "when is not true"),
            ("RunCompleted", "run_type == 'azureml.StepRun'", "set include_child_runs: true to include it"),
            ("RunCompleted", "contains(run_tags.a[0], 'x')", "cannot be evaluated on this event"),
            ("RunCompleted", "data.runId == `null`", "'runId' is missing"),
        ],
    )
    def test_the_reason_why_no_event_can_be_made(self, event: str, when: str, reason: str) -> None:
        none = made(event, when=when)
        assert isinstance(none, NoEvent)
        assert reason in none.reason

    def test_other_keys_of_the_route_count(self) -> None:
        assert data_of(made("RunCompleted", "include_child_runs: true", when="run_type == 'azureml.StepRun'"))
        assert made("RunCompleted", "enabled: false") == NoEvent("it is disabled")
        none = made("RunCompleted", "parameters: { id: '{{ run_id }}' }", "allow: '[0-9]+'")
        assert isinstance(none, NoEvent)
        assert "which does not match [0-9]+" in none.reason

    NAME = st.sampled_from(["experiment_name", "run_tags.a", "run_tags.b", "data.runProperties.c"])
    TEXT = st.sampled_from(["x", "train", "a-b", "7"])

    @given(
        st.recursive(
            st.builds("{} {} '{}'".format, NAME, st.sampled_from(["==", "!="]), TEXT) | NAME,
            lambda inner: (
                st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner)
                | st.builds("!({})".format, inner)
            ),
            max_leaves=6,
        )
    )
    def test_every_condition_that_can_be_true_has_one(self, when: str) -> None:
        can_be_true = may_be_true(Expression(when, None).tree, Known("RunCompleted"))
        assert isinstance(made("RunCompleted", when=when), MatchingEvent) is can_be_true


class TestPlaceholders:
    def test_values_that_the_sample_lacks_are_added(self) -> None:
        lines = [
            "parameters: { team: '{{ run_tags.team }}', branch: 'x {{ data.runProperties.\"azureml.git.branch\" }}' }",
            "once_per: '{{ run_tags.batch }}'",
        ]
        found = made("RunCompleted", *lines)
        assert isinstance(found, MatchingEvent)
        assert found.match.request.parameters == {"team": "sample", "branch": "x sample"}
        assert data_of(found)["runTags"] == {"team": "sample", "batch": "sample"}

    def test_values_that_come_only_from_the_sample(self) -> None:
        lines = [
            "parameters: { id: '{{ run_id }}', experiment: '{{ experiment_name }}', fixed: literal }",
            "variables: { both: '{{ experiment_name }} {{ run_id }}', name: 'x{{ experiment_name }}' }",
        ]
        found = made("RunCompleted", *lines, when="experiment_name == 'score'")
        assert isinstance(found, MatchingEvent)
        assert found.sampled == {"id", "both"}

    def test_without_a_condition(self) -> None:
        found = made("ModelDeployed", "parameters: { models: \"{{ join(',', model_ids) }}\" }")
        assert isinstance(found, MatchingEvent)
        assert found.match.request.parameters == {"models": "sample-model:1"}
