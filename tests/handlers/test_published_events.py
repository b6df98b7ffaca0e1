"""Events as Azure ML publishes them, in both schemas: children and their roots, spellings of keys, numbers, nulls."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from handlers import DISPATCH, NAMES
from shared.composition import load_configuration
from shared.deciding import decide
from shared.errors import IncompleteEvent
from shared.events.event import Occurrence, parse_event
from shared.journal.records import Store
from shared.relay import Relay
from shared.routing.table import Match
from shared.telemetry import Outcome
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT, cloud_event_text, event_text, routes
from tests.support.clock import ManualClock
from tests.support.fakes import FakePipelines, Reports
from tests.support.relays import relay_over

GUID = "3b8d5f70-6c1e-4a92-b4d7-90e2f1c8a635"
SWEEP = "brave_kiwi_7m3x9q2rtz"
BREACH = {"azureml_modelmonitor_threshold_breached": "The signal 'x' has failed due to one or more features"}

Text = Callable[..., str]

pytestmark = pytest.mark.parametrize("text", [event_text, cloud_event_text])


def occurrence(raw: str) -> Occurrence:
    event = parse_event(raw)
    found = DISPATCH[event.type](event)
    assert isinstance(found, Occurrence)
    return found


def run(run_id: str, **data: Any) -> dict[str, Any]:
    plain = {"experimentName": "train", "runType": "azureml.scriptrun", "runTags": {}, "runProperties": {}}
    return {"experimentId": "e", "runId": run_id, **plain, **data}


def step(run_id: str, tags: dict[str, str], properties: dict[str, str]) -> dict[str, Any]:
    """A step of a model monitor, whose signal has breached its threshold."""
    monitor = {"experimentName": "fraud-monitor", "runType": "azureml.StepRun", "runStatus": "Completed"}
    return run(run_id, runTags={**BREACH, **tags}, runProperties=properties, **monitor)


@pytest.mark.parametrize(
    ("data", "root"),
    [
        *((run(f"{SWEEP}_{trial}"), SWEEP) for trial in range(5)),
        *((run(f"{SWEEP}_{helper}", runType=None), SWEEP) for helper in ("setup", "featurize", "worker_0")),
        (run("icy_fig_bcdfghjklm_0"), "icy_fig_bcdfghjklm"),
        (run(f"HD_{GUID}_0"), f"HD_{GUID}"),
        (run(f"hd_{GUID.upper()}_0"), f"hd_{GUID.upper()}"),
        (run(f"AutoML_{GUID}_setup"), f"AutoML_{GUID}"),
        (run("s", runType="azureml.StepRun", runTags={"azureml.pipelinerunid": "p"}), "p"),
        (run("s", runProperties={"azureml.pipelinerunid": "p"}), "p"),
        (run("s", runTags={"azureml.pipelinerunid": "p"}, runProperties={"azureml.rootpipelinerunid": "r"}), "r"),
        (run("s", runTags={"azureml.rootpipelinerunid": "r"}, runProperties={"azureml.pipelinerunid": "p"}), "r"),
        (run("s", runTags={"azureml.pipelinerunid": "p"}, runProperties={"azureml.pipelinerunid": ""}), "p"),
        (run("s", runType="azureml.PipelineRun", runProperties={"azureml.rootpipelinerunid": "r"}), "r"),
        (run("s", runTags={"Azureml.PipelineRunId": "p"}), "p"),
        (run("s", runTags={"mlflow.parentRunId": "m", "mlflow.rootRunId": "s"}), "m"),
        (run(f"{SWEEP}_0", runProperties={"azureml.rootpipelinerunid": "r"}), "r"),
        (run(f"{SWEEP}_0", runTags={"mlflow.rootRunId": f"{SWEEP}_0"}), SWEEP),
        (run("s", runTags={"mlflow.parentRunId": "m"}), "m"),
        (run("s", runTags={"mlflow.parentRunId": "m", "mlflow.rootRunId": "r"}), "r"),
        (run("s", runTags={"mlflow.parentRunId": f"{SWEEP}_0"}), SWEEP),
        (run("i", runProperties={"RunTemplate": "automl_child"}), "i"),
        (run("i", runProperties={"run_template": "automl_child"}), "i"),
        (run("s", runType="azureml.StepRun"), "s"),
    ],
)
def test_a_child_run_names_its_root(text: Text, data: dict[str, Any], root: str) -> None:
    found = occurrence(text("RunCompleted", data))
    assert (found.names["root_run_id"], found.is_child_run) == (root, True)


@pytest.mark.parametrize(
    "data",
    [
        *(run(f"train_{name}_1") for name in ("2026", "fraud_20261120", "fraud_2026112010", "fraud_experiment")),
        *(run(f"{name}_1") for name in ("Train_Fraud_7m3x9q2rtz", "fraud_7m3x9q2rtz", f"a_{SWEEP}", f"{SWEEP}0")),
        *map(run, (SWEEP, f"{SWEEP}_", f"HD_{GUID}", f"AutoML_{GUID}", "HD_1_2")),
        run("r", runType="azureml.PipelineRun", runProperties={"azureml.pipelinerunid": "r"}),
        run("r", runTags={"mlflow.rootRunId": "r"}),
    ],
)
def test_a_job_that_its_user_named_and_a_parent_are_no_children(text: Text, data: dict[str, Any]) -> None:
    found = occurrence(text("RunCompleted", data))
    assert (found.names["root_run_id"], found.is_child_run) == (data["runId"], False)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("run_properties.stepType", "SparkStep"), ("run_properties.StepType", "SparkStep")),
        *(("run_tags.GITHUB_REPOSITORY", "a/b"), ("run_tags.githuB_REPOSITORY", "a/b"), ("run_tags.Team", "x")),
        *(("data.runTags.Team", "x"), ("data.RunTags.team", "x")),
    ],
)
def test_keys_of_tags_and_properties_are_found_in_any_case(text: Text, path: str, value: str) -> None:
    tags, properties = {"githuB_REPOSITORY": "a/b", "team": "x"}, {"stepType": "SparkStep"}
    raw = text("RunCompleted", run("kk1", runTags=tags, runProperties=properties))
    table = routes(
        f"name: r\nevent: RunCompleted\npipeline: p\nwhen: {path} == '{value}'\nparameters: {{ v: '{{{{ {path} }}}}' }}"
    )
    (match,) = decide(raw, DISPATCH, table).decisions
    assert isinstance(match, Match)
    assert match.request.parameters == {"v": value}


def test_a_version_may_be_a_whole_number_with_a_fraction(text: Text) -> None:
    data = {"modelName": "m", "modelVersion": 3.0, "modelTags": {}, "modelProperties": {}}
    found = occurrence(text("ModelRegistered", data))
    assert (found.names["model_version"], found.names["model_id"], found.identity) == ("3", "m:3", "m:3")


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        (
            "ModelRegistered",
            {"ModelName": "m", "ModelVersion": 0.5},
            "modelVersion' must be a string or a whole number",
        ),
        ("ModelRegistered", {"ModelName": "m", "ModelVersion": {}}, "modelVersion' must be a string or a whole number"),
        ("RunCompleted", {"runId": ["r"]}, "runId' must be a string or a whole number"),
        (
            "DatasetDriftDetected",
            {"RunId": "r", "DriftCoefficient": "null"},
            "driftCoefficient' must be a finite number",
        ),
    ],
)
def test_a_fault_is_reported_once(text: Text, name: str, data: dict[str, Any], problem: str) -> None:
    with pytest.raises(IncompleteEvent, match=f"^the data of a {name} event is incomplete: '{problem}$"):
        occurrence(text(name, data))


def test_drift_times_may_be_the_text_null(text: Text) -> None:
    data = {"RunId": "r", "DataDriftName": "null", "DriftCoefficient": 0.5, "StartTime": "null", "EndTime": "null"}
    names = occurrence(text("DatasetDriftDetected", data)).names
    assert [names[name] for name in ("start_time", "end_time", "data_drift_name")] == [None, None, "null"]


class TestRunsQueuedByTheDefaultTable:
    @pytest.fixture
    def relay(self, store: Store, clock: ManualClock) -> Relay:
        table = load_configuration(ENVIRONMENT, ROOT, NAMES).routes
        return relay_over(store, FakePipelines(clock), table, clock, report=Reports())

    def queued(self, relay: Relay, raws: Iterable[str]) -> list[str | None]:
        """Deliver the events and return the routes that have queued a run."""
        decisions = [decision for raw in raws for decision in relay.deliver(raw).decisions]
        return [decision.route for decision in decisions if decision.outcome is Outcome.QUEUED]

    @pytest.mark.parametrize(
        "data",
        [
            *(run(f"{SWEEP}_{trial}") for trial in range(5)),
            run(f"{SWEEP}_setup", runType=None),
            run("sub3", runType="azureml.PipelineRun", runProperties={"azureml.rootpipelinerunid": "root3"}),
        ],
    )
    def test_child_runs_queue_none(self, text: Text, relay: Relay, data: dict[str, Any]) -> None:
        assert self.queued(relay, [text("RunCompleted", data)]) == []

    def test_a_sweep_queues_one_run_and_its_trials_none(self, text: Text, relay: Relay) -> None:
        ids = [*(f"{SWEEP}_{trial}" for trial in range(5)), SWEEP]
        raws = [text("RunCompleted", run(run_id), id=run_id) for run_id in ids]
        assert self.queued(relay, raws) == ["evaluate-after-training"]

    def test_a_job_that_its_user_named_queues_one(self, text: Text, relay: Relay) -> None:
        assert self.queued(relay, [text("RunCompleted", run("train_2026_1"))]) == ["evaluate-after-training"]

    @pytest.mark.parametrize(
        ("steps", "root"),
        [
            ([step(f"step{n}", {"azureml.pipelinerunid": "monitorA"}, {"stepType": "x"}) for n in (1, 2)], "monitorA"),
            (
                [
                    step(f"deep{n}", {}, {"azureml.pipelinerunid": f"s{n}", "azureml.rootpipelinerunid": "monitorB"})
                    for n in (1, 2)
                ],
                "monitorB",
            ),
        ],
    )
    def test_two_signals_of_one_monitor_queue_one(
        self, text: Text, relay: Relay, steps: list[dict[str, Any]], root: str
    ) -> None:
        raws = [text("RunStatusChanged", data, id=data["runId"]) for data in steps]
        assert [occurrence(raw).names["root_run_id"] for raw in raws] == [root, root]
        assert self.queued(relay, raws) == ["retrain-on-monitor-breach"]
