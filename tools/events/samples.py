"""A sample event of each type, spelt as Azure ML spells it: what ``send`` sends and ``preview --all`` starts from.

Azure ML writes the data's keys in camelCase for runs, and in PascalCase for models and drift.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from shared.events.event import AML_PREFIX

WORKSPACE: Final = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/sample-group"
    "/providers/Microsoft.MachineLearningServices/workspaces/sample-workspace"
)
_EXPERIMENT_ID: Final = "11111111-1111-1111-1111-111111111111"
_TIME: Final = "2026-11-20T10:00:00.0000000Z"


def sample_event(name: str, number: int = 1) -> dict[str, Any]:
    """One event in the Event Grid schema.

    :param name: the type as routes.yaml names it, for example ``RunCompleted``.
    :param number: goes into what identifies the occurrence, so that events with other numbers are other occurrences.
    :raises KeyError: there is no such type.
    """
    subject, data = _SAMPLES[name](number)
    return {
        "topic": WORKSPACE,
        "eventType": AML_PREFIX + name,
        "subject": subject,
        "eventTime": _TIME,
        "id": f"00000000-0000-0000-0000-{number:012x}",
        "data": data,
        "dataVersion": "2",
        "metadataVersion": "1",
    }


def sample_run_id(number: int) -> str:
    """The id of the run that a sample tells of."""
    return f"sample_run_{number:08x}"


_Sample = tuple[str, dict[str, Any]]


def _run(number: int) -> _Sample:
    run_id = sample_run_id(number)
    return f"experiments/{_EXPERIMENT_ID}/runs/{run_id}", {
        "experimentId": _EXPERIMENT_ID,
        "experimentName": "train",
        "runId": run_id,
        "runType": "azureml.scriptrun",
        "runTags": {},
        "runProperties": {},
    }


def _run_failed(number: int) -> _Sample:
    subject, data = _run(number)
    return subject, {**data, "runStatus": "Failed"}


def _model_registered(number: int) -> _Sample:
    return f"models/sample-model:{number}", {
        "ModelName": "sample-model",
        "ModelVersion": str(number),
        "ModelTags": {"stage": "candidate"},
        "ModelProperties": {},
    }


def _model_deployed(number: int) -> _Sample:
    return "endpoints/sample-service", {
        "ServiceName": "sample-service",
        "ServiceComputeType": "AKS",
        "ModelIds": f"sample-model:{number}",
        "ServiceTags": {},
        "ServiceProperties": {},
    }


def _drift_detected(number: int) -> _Sample:
    monitor_id = "22222222-2222-2222-2222-222222222222"
    run_id = sample_run_id(number)
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


_SAMPLES: Final[Mapping[str, Callable[[int], _Sample]]] = {
    "RunCompleted": _run,
    "RunStatusChanged": _run_failed,
    "ModelRegistered": _model_registered,
    "ModelDeployed": _model_deployed,
    "DatasetDriftDetected": _drift_detected,
}

SAMPLE_NAMES: Final = tuple(_SAMPLES)
"""The types there are samples of; a test holds them equal to the types that the app handles."""
