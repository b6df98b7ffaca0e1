"""The soak's events: as many as wanted, each with the one run that has to come of it."""

import json
import random
import uuid
from dataclasses import dataclass

from devstack.demo.books import Wanted
from shared.azure_devops.runs import RunRequest

_SOURCE = (
    "/subscriptions/5f6d3c1e-8a1b-4c7d-9e2f-0a1b2c3d4e5f/resourceGroups/rg-soak"
    "/providers/Microsoft.MachineLearningServices/workspaces/soak"
)


@dataclass
class SoakEvent:
    """One event.

    :param text: as Event Grid delivers it.
    :param wanted: the run that the default routes.yaml queues for it.
    :param copies: how many deliveries are to be acknowledged; all but one are duplicates.
    :param last_answer: the text of the last answer to any of them.
    """

    text: str
    wanted: Wanted
    copies: int
    last_answer: str = ""


def make_events(count: int, chance: random.Random) -> list[SoakEvent]:
    """Trainings that complete and models that are registered, in either schema; one in five comes more than once."""
    return [_event(number, chance) for number in range(count)]


def _event(number: int, chance: random.Random) -> SoakEvent:
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
    if chance.random() < 0.5:
        document = common | {"topic": _SOURCE, "eventType": event_type, "eventTime": "2026-11-20T10:00:00Z"}
    else:
        document = common | {
            "source": _SOURCE,
            "type": event_type,
            "time": "2026-11-20T10:00:00Z",
            "specversion": "1.0",
        }
    request = RunRequest("", "mlops", pipeline, parameters=parameters)
    copies = chance.choice([2, 2, 3]) if chance.random() < 0.2 else 1
    return SoakEvent(json.dumps(document), [request], copies)
