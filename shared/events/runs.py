"""What RunCompleted and RunStatusChanged have in common: a run, and whether it is a part of another run."""

import re
from collections.abc import Mapping
from typing import Any, Final

from shared.events.event_type import Name, Names, Sample

RUN_NAMES: Final[Mapping[str, Name]] = {
    "experiment_id": Name("text", "experimentId", may_be_null=True),
    "experiment_name": Name("text", "experimentName", may_be_null=True),
    "run_id": Name("text", "runId"),
    "run_type": Name("text", "runType", may_be_null=True),
    "run_tags": Name("mapping", "runTags"),
    "run_properties": Name("mapping", "runProperties"),
    "root_run_id": Name("text"),
}

STEP_RUN_TYPE: Final = "azureml.StepRun"
COMPLETED: Final = "Completed"
MONITOR_BREACH_TAG: Final = "azureml_modelmonitor_threshold_breached"
"""The tag of a model monitor's step that has found a breached threshold."""
# Azure ML writes a status in any case, and Canceled with one l or two.
_FINAL_STATUSES: Final = {
    "completed": COMPLETED,
    "failed": "Failed",
    "canceled": "Canceled",
    "cancelled": "Canceled",
}
STATUSES: Final = tuple(dict.fromkeys(_FINAL_STATUSES.values()))
"""What ``run_status`` may be."""

# AutoML and HyperDrive name their children after themselves: AutoML_<guid>_<iteration>, HD_<guid>_<trial>.
_CHILD_RUN_ID: Final = re.compile(r"(AutoML|HD)_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_.+", re.IGNORECASE)


def final_status(status: str) -> str | None:
    """A status in its one spelling if no other will follow it; else None."""
    return _FINAL_STATUSES.get(status.lower())


def root_run_id(run: Names) -> str:
    """Return the id of the run that this one is a part of, as far as the event tells; else its own id."""
    tags, properties = run["run_tags"], run["run_properties"]
    marks = (
        properties.get("azureml.pipelinerunid"),
        tags.get("mlflow.rootRunId"),
        tags.get("mlflow.parentRunId"),
        run["run_id"],
    )
    return next(mark for mark in marks if isinstance(mark, str) and mark)


def is_child_run(run: Mapping[str, Any]) -> bool:
    """Tell a child (AutoML or sweep trial, pipeline step, nested run) from the run that a person started.

    Azure ML's event data names no parent, so this goes by the marks that each kind of parent leaves on its
    children: ``azureml.pipelinerunid`` on a pipeline's steps, ``runTemplate`` on AutoML's iterations, MLflow's
    parent tag on nested runs, and the run id's form.
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
