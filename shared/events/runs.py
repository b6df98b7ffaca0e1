"""The common part of RunCompleted and RunStatusChanged: a run, and whether it is a child of another run. Pure."""

import re
from collections.abc import Mapping
from typing import Final

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

# The first one that names another run names the root. Keys are in lower case.
_ROOT_MARKS: Final = ("azureml.rootpipelinerunid", "azureml.pipelinerunid", "mlflow.rootrunid", "mlflow.parentrunid")
# The id of a child that is named after its parent, for example <parent>_3 or <parent>_setup. Only generated ids are
# parents, since users choose names such as train_2026_1: AutoML_<guid>, HD_<guid>, and two words with ten characters
# that are neither a number nor a word. Source: azure-ai-ml, job_name_generator.py
_NAMED_CHILD: Final = re.compile(
    r"((?i:(?:AutoML|HD)_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|[a-z]+_[a-z]+_(?=[a-z0-9]{10}_)(?!\d+_|[a-z]*[aeiou][a-z]*_)[a-z0-9]+)_.+"
)


def final_status(status: str) -> str | None:
    """Return the uniform spelling of a final status; None if the status is not final."""
    return _FINAL_STATUSES.get(status.lower())


def spellings(status: str) -> list[str]:
    """Return how Azure ML spells a final status, apart from the case."""
    return [spelling.capitalize() for spelling, uniform in _FINAL_STATUSES.items() if uniform == status]


def family(run: Names) -> tuple[str, bool]:
    """Return the id of a run's root, and whether the run is a child: an iteration, a trial, a step or a nested run.

    The event's data has no field for the parent. But each kind of parent leaves a mark on its children: a tag or a
    property with the id of the pipeline's run or of MLflow's parent, ``runTemplate`` on the iterations of AutoML, and
    the form of the run id. The root is the run itself if the event names no other.
    """
    run_id = run["run_id"]
    places = (run["run_tags"], run["run_properties"])
    marks = {key.lower(): value for place in places for key, value in place.items() if value}
    root = run_id
    for mark in _ROOT_MARKS:
        if root == run_id and isinstance(marks.get(mark), str):
            root = marks[mark]
    if (named := _NAMED_CHILD.fullmatch(root)) is not None:
        root = named[1]
    is_iteration = "automl_child" in (marks.get("runtemplate"), marks.get("run_template"))
    return root, root != run_id or is_iteration or run["run_type"] == STEP_RUN_TYPE


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
