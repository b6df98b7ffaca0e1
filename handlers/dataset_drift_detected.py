"""DatasetDriftDetected: a dataset monitor has detected drift.

Azure ML retired dataset monitors on 2025-09-01. Model monitoring reports drift through RunStatusChanged.
"""

from typing import Final

from shared.events.event import AmlEvent, Occurrence
from shared.events.event_type import EventType, Name, Names, Sample
from shared.events.runs import sample_run_id


def _meaning(event: AmlEvent, names: Names) -> Occurrence:  # noqa: ARG001 - the data is enough, and the subject has two spellings
    for name in ("start_time", "end_time"):
        if names[name] == "null":  # instead of null, as in some published events
            names[name] = None
    return Occurrence(identity=names["run_id"], names=names)


def _sample(number: int) -> Sample:
    monitor_id, run_id = "22222222-2222-2222-2222-222222222222", sample_run_id(number)
    return f"datadrifts/{monitor_id}/runs/{run_id}", {
        "DataDriftId": monitor_id,
        "DataDriftName": "sample-monitor",
        "RunId": run_id,
        "BaseDatasetId": "33333333-3333-3333-3333-333333333333",
        "TargetDatasetId": "44444444-4444-4444-4444-444444444444",
        "DriftCoefficient": 0.5,
        "StartTime": "2026-11-13T00:00:00Z",
        "EndTime": "2026-11-20T00:00:00Z",
    }


EVENT_TYPE: Final = EventType(
    "DatasetDriftDetected",
    names={
        "data_drift_id": Name("string", "dataDriftId", may_be_null=True),
        "data_drift_name": Name("string", "dataDriftName", may_be_null=True),
        "run_id": Name("string", "runId"),
        "base_dataset_id": Name("string", "baseDatasetId", may_be_null=True),
        "target_dataset_id": Name("string", "targetDatasetId", may_be_null=True),
        "drift_coefficient": Name("number", "driftCoefficient"),
        "start_time": Name("string", "startTime", may_be_null=True),
        "end_time": Name("string", "endTime", may_be_null=True),
    },
    identified_by="the monitor's run id",
    meaning=_meaning,
    sample=_sample,
)
