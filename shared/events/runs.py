"""What RunCompleted and RunStatusChanged have in common: a run, and whether it is a part of another run."""

import re
from collections.abc import Mapping
from typing import Any, Final

from shared.events.data import EventData

RUN_NAMES: Final = (
    "experiment_id",
    "experiment_name",
    "run_id",
    "run_type",
    "run_tags",
    "run_properties",
    "root_run_id",
)

STEP_RUN_TYPE: Final = "azureml.StepRun"
COMPLETED: Final = "Completed"
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


def read_run(data: EventData) -> dict[str, Any]:
    """Read the names that every run event offers (``RUN_NAMES``); run type and experiment may be None."""
    run_id = data.text("runId")
    tags = data.mapping("runTags")
    properties = data.mapping("runProperties")
    return {
        "experiment_id": data.optional_text("experimentId"),
        "experiment_name": data.optional_text("experimentName"),
        "run_id": run_id,
        "run_type": data.optional_text("runType"),
        "run_tags": tags,
        "run_properties": properties,
        "root_run_id": _ancestor(tags, properties) or run_id,
    }


def final_status(status: str) -> str | None:
    """A status in its one spelling if no other will follow it; else None."""
    return _FINAL_STATUSES.get(status.lower())


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


def _ancestor(tags: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    """The run that this one is a part of, as far as the event tells."""
    marks = (
        properties.get("azureml.pipelinerunid"),
        tags.get("mlflow.rootRunId"),
        tags.get("mlflow.parentRunId"),
    )
    return next((mark for mark in marks if isinstance(mark, str) and mark), None)
