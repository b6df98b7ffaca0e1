"""Tests of what each event type means, with its special cases."""

from typing import Any

import pytest
from azure.eventgrid import SystemEventNames
from hypothesis import given
from hypothesis import strategies as st

from handlers import DISPATCH
from shared.errors import IncompleteEvent
from shared.events.event import Ignored, Occurrence, RunEnd, joined_identity, parse_event
from shared.events.event_type import Name
from shared.routing.table import journal_key
from tests.support.builders import WORKSPACE, event_text

PART = st.text(':ab["], ', max_size=12)


def meaning(name: str, data: Any, **envelope: Any) -> Occurrence | Ignored:
    event = parse_event(event_text(name, data, **envelope))
    return DISPATCH[event.type](event)


def occurrence(name: str, data: dict[str, Any], **envelope: Any) -> Occurrence:
    result = meaning(name, data, **envelope)
    assert isinstance(result, Occurrence)
    return result


def test_every_azure_ml_event_type_that_event_grid_knows_is_handled() -> None:
    known = {name.value for name in SystemEventNames if name.value.startswith("Microsoft.MachineLearningServices.")}
    assert len(known) == 5
    assert known <= set(DISPATCH)


def test_keys_of_the_data_are_read_in_any_case() -> None:
    names = occurrence("RunCompleted", {"RunId": "r", "RUNTAGS": {"Team Name": "x"}, "": 3}).names
    assert (names["run_id"], names["run_tags"]) == ("r", {"Team Name": "x"})


@pytest.mark.parametrize("data", [{"RunId": "wrong", "runId": "right"}, {"runId": "right", "RunId": "wrong"}])
def test_of_two_spellings_of_a_key_camel_case_wins(data: dict[str, str]) -> None:
    assert occurrence("RunCompleted", data).identity == "right"


def test_the_values_of_an_object_are_strings() -> None:
    """Azure ML sends strings. 'check' relies on it, so the values of other publishers become strings."""
    given = {"a": "x", "b": True, "c": 3, "d": 0.5, "e": None, "f": ["x"], "g": {"é": 1}}
    read = {"a": "x", "b": "true", "c": "3", "d": "0.5", "e": None, "f": '["x"]', "g": '{"é": 1}'}
    assert Name("object", "runTags").read(given) == read
    assert Name("object", "runTags").read(None) == {}
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="is nested too deeply"):
        Name("object", "runTags").read({"a": deep})


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean(value: bool) -> None:
    assert Name("boolean", "isLast").read(value) is value


@pytest.mark.parametrize(("value", "problem"), [(None, "is missing"), ("true", "true or false"), (1, "true or false")])
def test_what_is_not_a_boolean(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Name("boolean", "isLast").read(value)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("RunCompleted", None, "must be an object, got nothing"),
        ("RunCompleted", [1], "must be an object, got a list"),
        ("RunCompleted", {}, "'runId' is missing"),
        ("RunCompleted", {"runId": ""}, "'runId' is missing"),
        ("RunCompleted", {"runId": ["r"]}, "'runId' must be a string"),
        ("RunCompleted", {"runId": "r", "runTags": "x"}, "'runTags' must be an object"),
        ("RunStatusChanged", {}, "a RunStatusChanged event is incomplete: 'runId' is missing; 'runStatus'"),
        ("ModelRegistered", {"modelName": "m", "modelVersion": None}, "'modelVersion' is missing"),
        *(
            ("ModelRegistered", {"modelName": "m", "modelVersion": value}, "'modelVersion' must be a string")
            for value in (1.5, True, [3])
        ),
        *(
            ("DatasetDriftDetected", {"runId": "r", "driftCoefficient": value}, "'driftCoefficient'")
            for value in (None, "much", True, [1], 10**400)
        ),
    ],
)
def test_incomplete_data(name: str, data: Any, problem: str) -> None:
    with pytest.raises(IncompleteEvent, match=problem):
        meaning(name, data)


class TestRunCompleted:
    def test_a_root_run(self) -> None:
        data = {"experimentId": "e", "experimentName": "train", "runId": "r", "runType": None, "runTags": {"a": "b"}}
        result = occurrence("RunCompleted", data)
        assert result.identity == "r"
        assert result.run_end == RunEnd(WORKSPACE, "r", "Completed")
        assert not result.is_child_run
        assert result.names == {
            "experiment_id": "e",
            "experiment_name": "train",
            "run_id": "r",
            "run_type": None,
            "run_tags": {"a": "b"},
            "run_properties": {},
            "root_run_id": "r",
        }


class TestRunStatusChanged:
    @pytest.mark.parametrize(
        ("spelling", "status"),
        [
            ("failed", "Failed"),
            ("FAILED", "Failed"),
            ("Completed", "Completed"),
            ("canceled", "Canceled"),
            ("Cancelled", "Canceled"),
        ],
    )
    def test_final_statuses_in_any_spelling(self, spelling: str, status: str) -> None:
        result = occurrence("RunStatusChanged", {"runId": "r", "runStatus": spelling})
        assert result.names["run_status"] == status
        assert result.identity == f"r:{status}"
        assert result.run_end == RunEnd(WORKSPACE, "r", status)

    @pytest.mark.parametrize(
        "status", ["Running", "NotResponding", "Queued", "CancelRequested", "Finalizing", "nonsense"]
    )
    def test_other_statuses_are_ignored_with_a_reason(self, status: str) -> None:
        result = meaning("RunStatusChanged", {"runId": "r", "runStatus": status})
        assert result == Ignored(f"run r is {status}, which is not final; another event will report the final status")

    @pytest.mark.parametrize(
        "tag", ["azureml_modelmonitor_threshold_breached", "AzureML_ModelMonitor_Threshold_Breached"]
    )
    def test_a_monitor_breach_counts_although_a_child_run_reports_it(self, tag: str) -> None:
        data = {
            "RunId": "step",
            "RunStatus": "completed",
            "RunProperties": {"azureml.pipelinerunid": "monitor"},
            "RunTags": {tag: "signal x has failed"},
        }
        result = occurrence("RunStatusChanged", data)
        assert not result.is_child_run
        assert result.names["monitor_threshold_breached"] is True
        assert result.names["monitor_message"] == "signal x has failed"
        assert result.names["root_run_id"] == "monitor"

    @pytest.mark.parametrize("value", [None, "", "false", " None ", False])
    def test_an_empty_breach_tag_is_not_a_breach(self, value: object) -> None:
        data = {
            "runId": "step",
            "runStatus": "Completed",
            "runType": "azureml.StepRun",
            "runTags": {"azureml_modelmonitor_threshold_breached": value},
        }
        result = occurrence("RunStatusChanged", data)
        assert result.is_child_run
        assert result.names["monitor_threshold_breached"] is False
        assert result.names["monitor_message"] is None


@pytest.mark.parametrize(
    ("name", "data", "key"),
    [
        ("RunCompleted", {"runId": "run:1"}, "96954cf6b6da9b67"),
        ("RunStatusChanged", {"runId": "run:1", "runStatus": "Failed"}, "4f4033569c7ec9b7"),
        ("ModelRegistered", {"ModelName": "fraud", "ModelVersion": "7"}, "53f9f744d7a93661"),
        ("ModelDeployed", {"ServiceName": "endpoint", "ModelIds": "m:1"}, "b8e80bf2d6e774fc"),
    ],
)
def test_the_keys_are_those_of_version_0_1_0(name: str, data: dict[str, Any], key: str) -> None:
    """An event that was delivered before an upgrade, and is delivered again after it, is a duplicate."""
    assert journal_key("r", WORKSPACE, occurrence(name, data).identity).key.startswith(key)


@given(st.lists(st.tuples(PART, PART), min_size=2, max_size=2, unique=True))
def test_different_values_have_different_identities(pairs: list[tuple[str, str]]) -> None:
    first, second = pairs
    assert joined_identity(*first) != joined_identity(*second)


class TestModelRegistered:
    def test_a_colon_belongs_to_the_name_or_to_the_version(self) -> None:
        """Found by a security test: (a:b, c) and (a, b:c) had one key, so the second was taken for a duplicate."""
        first, second = (
            occurrence("ModelRegistered", {"ModelName": name, "ModelVersion": version})
            for name, version in (("a:b", "c"), ("a", "b:c"))
        )
        assert first.identity != second.identity
        assert first.names["model_id"] == second.names["model_id"] == "a:b:c"

    @pytest.mark.parametrize("version", [20, "20", 20.0])
    def test_the_version_is_always_a_string(self, version: object) -> None:
        data = {"ModelName": "m", "ModelVersion": version, "ModelTags": {"stage": "candidate"}}
        result = occurrence("ModelRegistered", data)
        assert (result.identity, result.run_end) == ("m:20", None)
        names = [result.names[name] for name in ("model_version", "model_id", "model_tags")]
        assert names == ["20", "m:20", {"stage": "candidate"}]


class TestModelDeployed:
    def test_model_ids_are_a_list(self) -> None:
        data = {"ServiceName": "s", "ServiceComputeType": "ACI", "ModelIds": "a:1, b:2,"}
        result = occurrence("ModelDeployed", data)
        assert result.names["model_ids"] == ["a:1", "b:2"]
        assert result.names["service_compute_type"] == "ACI"

    def test_a_second_deployment_of_the_same_models_is_another_occurrence(self) -> None:
        data = {"serviceName": "s", "modelIds": "a:1"}
        first = occurrence("ModelDeployed", data, id="event-1")
        again = occurrence("ModelDeployed", data, id="event-2")
        assert first.identity != again.identity

    def test_no_models(self) -> None:
        assert occurrence("ModelDeployed", {"serviceName": "s"}).names["model_ids"] == []


class TestDatasetDriftDetected:
    @pytest.mark.parametrize(("value", "coefficient"), [(0.835, 0.835), ("0.835", 0.835), (1, 1.0)])
    def test_the_coefficient_is_a_number(self, value: object, coefficient: float) -> None:
        result = occurrence("DatasetDriftDetected", {"RunId": "r", "DriftCoefficient": value})
        assert (result.identity, result.names["drift_coefficient"]) == ("r", coefficient)
