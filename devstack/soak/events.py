"""The events of the soak test, each with the one run that must result from it."""

import json
import random
import uuid
from dataclasses import dataclass

from devstack.demo.books import ExpectedRun
from shared.azure_devops.runs import RunRequest

_SOURCE = (
    "/subscriptions/5f6d3c1e-8a1b-4c7d-9e2f-0a1b2c3d4e5f/resourceGroups/rg-soak"
    "/providers/Microsoft.MachineLearningServices/workspaces/soak"
)


@dataclass
class SoakEvent:
    """One event.

    :param text: the event as Event Grid delivers it.
    :param expected_run: the run that the default routes.yaml queues for it.
    :param copies: the number of deliveries that must be acknowledged. All but one are duplicates.
    :param last_answer: the text of the last answer to any of the deliveries.
    """

    text: str
    expected_run: ExpectedRun
    copies: int
    last_answer: str = ""


def make_events(count: int, rng: random.Random) -> list[SoakEvent]:
    """Return RunCompleted and ModelRegistered events in both schemas. One event in five is delivered more than once."""
    return [_event(number, rng) for number in range(count)]


def _event(number: int, rng: random.Random) -> SoakEvent:
    if number % 2:
        name, pipeline = "RunCompleted", "model-evaluation"
        data: dict[str, object] = {"experimentName": "train", "runId": f"soak_run_{number}"}
        parameters = {"runId": f"soak_run_{number}", "experimentName": "train"}
    else:
        name, pipeline = "ModelRegistered", "model-deployment"
        data = {"ModelName": "soak-model", "ModelVersion": number, "ModelTags": {"stage": "candidate"}}
        parameters = {"modelName": "soak-model", "modelVersion": str(number)}
    event_type = f"Microsoft.MachineLearningServices.{name}"
    common = {"id": str(uuid.UUID(int=number + 1)), "subject": f"soak/{number}", "data": data}
    if rng.random() < 0.5:
        document = common | {"topic": _SOURCE, "eventType": event_type, "eventTime": "2026-11-20T10:00:00Z"}
    else:
        document = common | {
            "source": _SOURCE,
            "type": event_type,
            "time": "2026-11-20T10:00:00Z",
            "specversion": "1.0",
        }
    request = RunRequest("", "mlops", pipeline, parameters=parameters)
    copies = rng.choice([2, 2, 3]) if rng.random() < 0.2 else 1
    return SoakEvent(json.dumps(document), [request], copies)
