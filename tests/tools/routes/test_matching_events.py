"""Events that are made to fit a route: whatever is made does match, and what people write can be made."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DISPATCH, NAMES
from shared.composition import load_configuration
from shared.events.event import Occurrence, parse_event
from shared.routing.table import Match
from shared.routing.templates import Expression
from tests.support import ROOT
from tests.support.building import ENVIRONMENT, routes
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
    parsed = parse_event(event.text)
    meaning = DISPATCH[parsed.type](parsed)
    assert isinstance(meaning, Occurrence)
    return dict(meaning.data)


class TestSamples:
    @pytest.mark.parametrize("name", SAMPLE_NAMES)
    @pytest.mark.parametrize("schema", Schema)
    def test_each_means_something_in_either_schema(self, name: str, schema: Schema) -> None:
        event = parse_event(json.dumps(in_schema(sample_event(name), schema)))
        assert isinstance(DISPATCH[event.type](event), Occurrence)

    @pytest.mark.parametrize("name", SAMPLE_NAMES)
    def test_another_number_is_another_occurrence(self, name: str) -> None:
        identities = set()
        for number in (1, 2):
            event = parse_event(json.dumps(sample_event(name, number)))
            meaning = DISPATCH[event.type](event)
            assert isinstance(meaning, Occurrence)
            identities.add(meaning.identity)
        assert len(identities) == 2


class TestConditions:
    @pytest.mark.parametrize(
        ("event", "when", "expected"),
        [
            ("RunCompleted", "experiment_name == 'score'", {"experimentName": "score"}),
            ("RunCompleted", "'score' == experiment_name", {"experimentName": "score"}),
            ("RunCompleted", "experiment_name != 'train'", {"experimentName": "sample"}),
            ("RunCompleted", "!(experiment_name == 'train')", {"experimentName": "sample"}),
            ("RunCompleted", "run_tags.team == 'x' && experiment_name == 'a'", {"runTags": {"team": "x"}}),
            ("RunCompleted", "run_tags.team", {"runTags": {"team": "sample"}}),
            ("RunCompleted", "run_type == `null`", {}),
            ("RunCompleted", "run_properties.\"azureml.git.branch\" == 'main'", {}),
            ("RunCompleted", "starts_with(experiment_name, 'train-')", {"experimentName": "train-"}),
            ("RunCompleted", "run_tags.team && contains(run_tags.team, 'ml')", {"runTags": {"team": "ml"}}),
            ("RunCompleted", "contains(['a', 'b'], experiment_name)", {"experimentName": "a"}),
            ("RunCompleted", 'contains(`["a"]`, experiment_name)', {"experimentName": "a"}),
            ("RunCompleted", "!contains(['train'], experiment_name)", {"experimentName": "sample"}),
            ("RunCompleted", "event.workspace == 'prod' && event.resource_group == 'rg'", {}),
            ("RunCompleted", "event.subject == 's'", {}),
            ("RunCompleted", "data.experimentName == 'score'", {"experimentName": "score"}),
            ("RunCompleted", "root_run_id == 'r'", {"runId": "r"}),
            ("RunCompleted", "run_id == 'a' && run_id == 'b' || run_id == 'c'", {"runId": "c"}),
            ("RunCompleted", "length(run_id) > `3`", {}),
            ("RunCompleted", "run_id == experiment_id", {"runId": "sample", "experimentId": "sample"}),
            ("RunCompleted", "contains(run_tags.a, run_id)", {"runId": "sample", "runTags": {"a": "sample"}}),
            ("RunStatusChanged", "run_status == 'Canceled'", {"runStatus": "Canceled"}),
            ("RunStatusChanged", "monitor_threshold_breached", {"runStatus": "Failed"}),
            ("RunStatusChanged", "!monitor_threshold_breached", {"runTags": {}}),
            ("RunStatusChanged", "monitor_threshold_breached == `true`", {}),
            ("RunStatusChanged", "monitor_message && contains(monitor_message, 'drift')", {}),
            ("ModelRegistered", "model_tags.stage == 'candidate' && model_name == 'm'", {"modelName": "m"}),
            (
                "ModelRegistered",
                "to_number(model_tags.auc) >= `0.9`",
                {"modelTags": {"stage": "candidate", "auc": "0.9"}},
            ),
            ("ModelRegistered", "model_id == 'm:7'", {"modelName": "m", "modelVersion": "7"}),
            ("ModelRegistered", "ends_with(model_name, '-prod')", {"modelName": "-prod"}),
            ("ModelDeployed", "contains(model_ids, 'm:7')", {"modelIds": "m:7"}),
            ("ModelDeployed", "service_tags.team == 'x'", {"serviceTags": {"team": "x"}}),
            ("DatasetDriftDetected", "drift_coefficient > `0.7`", {"driftCoefficient": 1.7}),
            ("DatasetDriftDetected", "`0.1` > drift_coefficient", {"driftCoefficient": -0.9}),
            ("DatasetDriftDetected", "!(drift_coefficient >= `0.3`)", {"driftCoefficient": -0.7}),
        ],
    )
    def test_what_people_write_is_solved(self, event: str, when: str, expected: dict[str, Any]) -> None:
        data = data_of(made(event, when=when))
        assert {key: data[key] for key in expected} == expected

    def test_every_route_of_the_shipped_table(self) -> None:
        for route in load_configuration(ENVIRONMENT, ROOT, NAMES).routes.routes:
            assert isinstance(matching_event(route), MatchingEvent), route.name

    @pytest.mark.parametrize(
        ("event", "when", "reason"),
        [
            ("RunCompleted", "length(run_id) == `4`", "when is not true: length(run_id) == `4`"),
            ("RunCompleted", "run_id == 'a' && run_id == 'b'", "when is not true"),
            ("RunStatusChanged", "run_status == 'Running'", "when is not true"),
            ("RunCompleted", "run_type == 'azureml.StepRun'", "include_child_runs: true would take it"),
            ("RunCompleted", "contains(run_tags.a[0], 'x')", "cannot be evaluated on this event"),
            ("RunCompleted", "data.runId == `null`", "'runId' is missing"),
        ],
    )
    def test_what_cannot_be_made_says_why(self, event: str, when: str, reason: str) -> None:
        none = made(event, when=when)
        assert isinstance(none, NoEvent)
        assert reason in none.reason

    def test_children_where_the_route_asks_for_them(self) -> None:
        assert data_of(made("RunCompleted", "include_child_runs: true", when="run_type == 'azureml.StepRun'"))

    def test_a_disabled_route_has_none(self) -> None:
        none = made("RunCompleted", "enabled: false")
        assert none == NoEvent("it is disabled")

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
    def test_what_the_sample_lacks_is_put_in(self) -> None:
        lines = [
            "parameters: { team: '{{ run_tags.team }}', branch: 'x {{ data.runProperties.\"azureml.git.branch\" }}' }",
            "once_per: '{{ run_tags.batch }}'",
        ]
        found = made("RunCompleted", *lines)
        assert isinstance(found, MatchingEvent)
        assert found.match.request.parameters == {"team": "sample", "branch": "x sample"}
        assert data_of(found)["runTags"] == {"team": "sample", "batch": "sample"}

    def test_values_that_only_the_sample_gives(self) -> None:
        lines = [
            "parameters: { id: '{{ run_id }}', experiment: '{{ experiment_name }}', fixed: literal }",
            "variables: { both: '{{ experiment_name }} {{ run_id }}', name: 'x{{ experiment_name }}' }",
        ]
        found = made("RunCompleted", *lines, when="experiment_name == 'score'")
        assert isinstance(found, MatchingEvent)
        assert found.sampled == {"id", "both"}

    def test_a_value_that_may_not_pass(self) -> None:
        none = made("RunCompleted", "parameters: { id: '{{ run_id }}' }", "allow: '[0-9]+'")
        assert isinstance(none, NoEvent)
        assert "which does not match [0-9]+" in none.reason

    def test_without_a_condition(self) -> None:
        found = made("ModelDeployed", "parameters: { models: \"{{ join(',', model_ids) }}\" }")
        assert isinstance(found, MatchingEvent)
        assert isinstance(found.match, Match)
        assert found.match.request.parameters == {"models": "sample-model:1"}
