"""The event types, one module each, and any other event."""

from collections.abc import Mapping
from typing import Final

from handlers import (
    blob_created,
    dataset_drift_detected,
    model_deployed,
    model_registered,
    run_completed,
    run_status_changed,
)
from handlers.any_event import any_event
from shared.events.event import ANY_TYPE, FULL_TYPE, Handler
from shared.events.event_type import EventType

_MODULES = (run_completed, run_status_changed, model_registered, model_deployed, dataset_drift_detected, blob_created)

EVENT_TYPES: Final[Mapping[str, EventType]] = {module.EVENT_TYPE.name: module.EVENT_TYPE for module in _MODULES}
"""Maps the name of an event type in routes.yaml to its declaration."""

DISPATCH: Final[Mapping[str, Handler]] = {
    **{declared.type: declared.handle for declared in EVENT_TYPES.values()},
    ANY_TYPE: any_event(ANY_TYPE).handle,
}
"""Maps the name of an event type in Event Grid to its handler, and ``ANY_TYPE`` to that of all other types."""

NAMES: Final[Mapping[str, tuple[str, ...]]] = {name: tuple(declared.names) for name, declared in EVENT_TYPES.items()}
"""Maps the name of an event type in routes.yaml to the names that its conditions and placeholders can use."""


def event_type(name: str) -> EventType:
    """Return the declaration of a type as routes.yaml names it: one of ``EVENT_TYPES``, or of any event.

    :raises KeyError: there is no such type of Azure ML, and the name is not a full one.
    """
    return any_event(name) if name not in EVENT_TYPES and FULL_TYPE.fullmatch(name) else EVENT_TYPES[name]
