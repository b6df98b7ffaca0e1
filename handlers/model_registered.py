"""ModelRegistered: a model, or a new version of one, has been registered."""

from typing import Final

from shared.events.event import AmlEvent, Occurrence, joined_identity
from shared.events.event_type import EventType, Form, Name, Names, Sample

_ID_FORM: Final = Form("with a colon and the version", lambda text: text if ":" in text else f"{text}:1")


def _meaning(event: AmlEvent, names: Names) -> Occurrence:  # noqa: ARG001 - a model's version is registered only once
    name, version = names["model_name"], names["model_version"]
    return Occurrence(identity=joined_identity(name, version), names=names | {"model_id": f"{name}:{version}"})


def _sample(number: int) -> Sample:
    return f"models/sample-model:{number}", {
        "ModelName": "sample-model",
        "ModelVersion": number,
        "ModelTags": {"stage": "candidate"},
        "ModelProperties": {},
    }


EVENT_TYPE: Final = EventType(
    "ModelRegistered",
    names={
        "model_name": Name("string", "modelName"),
        "model_version": Name("string", "modelVersion"),
        "model_id": Name("string", form=_ID_FORM),
        "model_tags": Name("object", "modelTags"),
        "model_properties": Name("object", "modelProperties"),
    },
    identified_by="name and version, which `model_id` joins with a colon",
    meaning=_meaning,
    sample=_sample,
)
