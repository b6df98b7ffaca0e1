"""ModelDeployed: one or more models have been deployed to a service."""

from typing import Final

from shared.events.data import EventData
from shared.events.event import AmlEvent, Occurrence

EVENT_TYPE: Final = "Microsoft.MachineLearningServices.ModelDeployed"
NAMES: Final = ("service_name", "service_compute_type", "model_ids", "service_tags", "service_properties")


def handle(event: AmlEvent) -> Occurrence:
    """The same models may be deployed to the same service again, so the event's own id belongs to the identity.

    ``modelIds`` is one comma-separated text on the wire and a list here.

    :raises IncompleteEvent: the data names no service.
    """
    data = EventData(event)
    service = data.text("serviceName")
    names = {
        "service_name": service,
        "service_compute_type": data.optional_text("serviceComputeType"),
        "model_ids": [part.strip() for part in (data.optional_text("modelIds") or "").split(",") if part.strip()],
        "service_tags": data.mapping("serviceTags"),
        "service_properties": data.mapping("serviceProperties"),
    }
    data.check()
    return Occurrence(identity=f"{service}:{event.id}", names=names)
