"""The event types of Azure ML, one module each."""

from collections.abc import Mapping
from typing import Final

from handlers import (
    dataset_drift_detected,
    model_deployed,
    model_registered,
    run_completed,
    run_status_changed,
)
from shared.events.event import Handler
from shared.events.event_type import EventType

_MODULES = (run_completed, run_status_changed, model_registered, model_deployed, dataset_drift_detected)

EVENT_TYPES: Final[Mapping[str, EventType]] = {module.EVENT_TYPE.name: module.EVENT_TYPE for module in _MODULES}
"""Maps the name of an event type in routes.yaml to its declaration."""

DISPATCH: Final[Mapping[str, Handler]] = {declared.type: declared.handle for declared in EVENT_TYPES.values()}
"""Maps the name of an event type in Event Grid to its handler."""

NAMES: Final[Mapping[str, tuple[str, ...]]] = {name: tuple(declared.names) for name, declared in EVENT_TYPES.items()}
"""Maps the name of an event type in routes.yaml to the names that its conditions and placeholders can use."""
