"""ModelRegistered: a model, or a new version of one, has been registered."""

from typing import Final

from shared.events.data import EventData
from shared.events.event import AmlEvent, Occurrence

EVENT_TYPE: Final = "Microsoft.MachineLearningServices.ModelRegistered"
NAMES: Final = ("model_name", "model_version", "model_id", "model_tags", "model_properties")


def handle(event: AmlEvent) -> Occurrence:
    """A version is registered once, so ``name:version`` identifies the occurrence.

    ``modelVersion`` is an int or a string on the wire and always text here.

    :raises IncompleteEvent: the data names no model or no version.
    """
    data = EventData(event)
    name = data.text("modelName")
    version = data.text("modelVersion")
    names = {
        "model_name": name,
        "model_version": version,
        "model_id": f"{name}:{version}",
        "model_tags": data.mapping("modelTags"),
        "model_properties": data.mapping("modelProperties"),
    }
    data.check()
    return Occurrence(identity=f"{name}:{version}", names=names)
