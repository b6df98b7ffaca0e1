"""DatasetDriftDetected: a dataset monitor has seen drift.

Dataset monitors belong to the retired SDK v1. Model monitoring (v2) tells drift as RunStatusChanged.
"""

from typing import Final

from shared.events.data import EventData
from shared.events.event import AmlEvent, Occurrence

EVENT_TYPE: Final = "Microsoft.MachineLearningServices.DatasetDriftDetected"
NAMES: Final = (
    "data_drift_id",
    "data_drift_name",
    "run_id",
    "base_dataset_id",
    "target_dataset_id",
    "drift_coefficient",
    "start_time",
    "end_time",
)


def handle(event: AmlEvent) -> Occurrence:
    """The monitor's run identifies the occurrence. The subject comes in two spellings and is not looked at.

    :raises IncompleteEvent: the data names no run or no coefficient.
    """
    data = EventData(event)
    run_id = data.text("runId")
    names = {
        "data_drift_id": data.optional_text("dataDriftId"),
        "data_drift_name": data.optional_text("dataDriftName"),
        "run_id": run_id,
        "base_dataset_id": data.optional_text("baseDatasetId"),
        "target_dataset_id": data.optional_text("targetDatasetId"),
        "drift_coefficient": data.number("driftCoefficient"),
        "start_time": data.optional_text("startTime"),
        "end_time": data.optional_text("endTime"),
    }
    data.check()
    return Occurrence(identity=run_id, names=names)
