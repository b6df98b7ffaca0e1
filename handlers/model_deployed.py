"""ModelDeployed: one or more models have been deployed to a service.

Azure ML describes it for web services on ACI and AKS. No such event of a managed online endpoint is known.
"""

from typing import Final

from shared.events.event import AmlEvent, Occurrence, joined_identity
from shared.events.event_type import EventType, Name, Names, Sample


def _meaning(event: AmlEvent, names: Names) -> Occurrence:
    return Occurrence(identity=joined_identity(names["service_name"], event.id), names=names)


def _sample(number: int) -> Sample:
    return "endpoints/sample-service", {
        "ServiceName": "sample-service",
        "ServiceComputeType": "AKS",
        "ModelIds": f"sample-model:{number}",
        "ServiceTags": {},
        "ServiceProperties": {},
    }


EVENT_TYPE: Final = EventType(
    "ModelDeployed",
    names={
        "service_name": Name("string", "serviceName"),
        "service_compute_type": Name("string", "serviceComputeType", may_be_null=True),
        "model_ids": Name("list", "modelIds"),
        "service_tags": Name("object", "serviceTags"),
        "service_properties": Name("object", "serviceProperties"),
    },
    identified_by="service and event id, since the same models may be deployed again",
    meaning=_meaning,
    sample=_sample,
)
