"""The common part of RunCompleted and RunStatusChanged: a run, and whether it is a child of another run. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from shared.events.event_type import Name, Names, Sample

RUN_NAMES: Final[Mapping[str, Name]] = {
    "experiment_id": Name("string", "experimentId", may_be_null=True),
    "experiment_name": Name("string", "experimentName", may_be_null=True),
    "run_id": Name("string", "runId"),
    "run_type": Name("string", "runType", may_be_null=True),
    "run_tags": Name("object", "runTags"),
    "run_properties": Name("object", "runProperties"),
    "root_run_id": Name("string"),
}

STEP_RUN_TYPE: Final = "azureml.StepRun"
COMPLETED: Final = "Completed"
MONITOR_BREACH_TAG: Final = "azureml_modelmonitor_threshold_breached"
"""The tag that a step of a model monitor puts on its own run if it finds a breached threshold."""
# Azure ML writes a status in any case, and Canceled with one or two l.
_FINAL_STATUSES: Final = {
    "completed": COMPLETED,
    "failed": "Failed",
    "canceled": "Canceled",
    "cancelled": "Canceled",
}
STATUSES: Final = tuple(dict.fromkeys(_FINAL_STATUSES.values()))
"""The possible values of ``run_status``."""

# Child runs of AutoML and HyperDrive have ids of the form AutoML_<guid>_<iteration> and HD_<guid>_<trial>.
_CHILD_RUN_ID: Final = re.compile(r"(AutoML|HD)_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_.+", re.IGNORECASE)


def final_status(status: str) -> str | None:
    """Return the uniform spelling of a final status; None if the status is not final."""
    return _FINAL_STATUSES.get(status.lower())


def root_run_id(run: Names) -> str:
    """Return the id of the root run, as far as the event names one; otherwise the run's own id."""
    tags, properties = run["run_tags"], run["run_properties"]
    marks = (
        properties.get("azureml.pipelinerunid"),
        tags.get("mlflow.rootRunId"),
        tags.get("mlflow.parentRunId"),
        run["run_id"],
    )
    return next(mark for mark in marks if isinstance(mark, str) and mark)


def is_child_run(run: Mapping[str, Any]) -> bool:
    """Return whether a run is a child: an AutoML iteration, a sweep trial, a pipeline step or a nested run.

    The event's data has no field for the parent. But each kind of parent leaves a mark on its children:
    ``azureml.pipelinerunid`` on the steps of a pipeline, ``runTemplate`` on the iterations of AutoML, MLflow's parent
    tag on nested runs, and the form of the run id.
    """
    properties = run["run_properties"]
    templates = (properties.get("runTemplate"), properties.get("run_template"))
    return (
        run["root_run_id"] != run["run_id"]
        or "automl_child" in templates
        or run["run_type"] == STEP_RUN_TYPE
        or _CHILD_RUN_ID.fullmatch(run["run_id"]) is not None
    )


def sample_run_id(number: int) -> str:
    """Return the id of the run that a sample event is about."""
    return f"sample_run_{number:08x}"


def sample_run(number: int) -> Sample:
    """Return the subject and data of a sample event about a training run."""
    experiment_id, run_id = "11111111-1111-1111-1111-111111111111", sample_run_id(number)
    return f"experiments/{experiment_id}/runs/{run_id}", {
        "experimentId": experiment_id,
        "experimentName": "train",
        "runId": run_id,
        "runType": "azureml.scriptrun",
        "runTags": {},
        "runProperties": {},
    }
