"""Events for the measurements, all of one type. Imports nothing of the app."""

import json
import uuid
from typing import Final

_SOURCE: Final = (
    "/subscriptions/5f6d3c1e-8a1b-4c7d-9e2f-0a1b2c3d4e5f/resourceGroups/rg-bench"
    "/providers/Microsoft.MachineLearningServices/workspaces/bench"
)


def event_text(number: int) -> str:
    """Return the RunCompleted event of a training as Event Grid delivers it. Each number is a different run."""
    document = {
        "id": str(uuid.UUID(int=number + 1)),
        "topic": _SOURCE,
        "subject": f"experiments/0f0e0d0c-1111-2222-3333-444444444444/runs/olive_lamp_{number}",
        "eventType": "Microsoft.MachineLearningServices.RunCompleted",
        "eventTime": "2026-11-20T10:00:00.1234567Z",
        "data": {
            "experimentId": "0f0e0d0c-1111-2222-3333-444444444444",
            "experimentName": "train",
            "runId": f"olive_lamp_{number}",
            "runType": "azureml.scriptrun",
            "runTags": {"team": "forecasting", "commit": "5a3b1c7"},
            "runProperties": {"azureml.runsource": "azureml.PipelineRun", "runTemplate": ""},
        },
        "dataVersion": "2",
        "metadataVersion": "1",
    }
    return json.dumps(document)
