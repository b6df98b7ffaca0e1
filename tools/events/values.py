"""What each name of an event may hold, as its handler makes it; tests/tools/events/test_values.py holds it to that.

Only what a handler promises is in here: a text that Azure ML may send in any form is any text.
"""

from collections.abc import Mapping
from typing import Final

from shared.events.event import AML_PREFIX, CLOUD_EVENTS_SCHEMA, EVENT_GRID_SCHEMA, camel_case
from shared.events.runs import STATUSES, STEP_RUN_TYPE
from tools.routes.possible_values import ANYTHING, BOOLEANS, NULL, SOME_NUMBER, Exactly, Kind, Option, Some

Options = tuple[Option, ...]
Path = tuple[str, ...]

_TEXT: Final[Options] = (Some(Kind.TEXT, besides=("",)),)
_TEXT_OR_NULL: Final[Options] = (*_TEXT, NULL)
_OBJECT: Final[Options] = (Some(Kind.OBJECT),)

_RUN: Final[Mapping[str, Options]] = {
    "experiment_id": _TEXT_OR_NULL,
    "experiment_name": _TEXT_OR_NULL,
    "run_id": _TEXT,
    "run_type": _TEXT_OR_NULL,
    "run_tags": _OBJECT,
    "run_properties": _OBJECT,
    "root_run_id": _TEXT,
}
VALUES: Final[Mapping[str, Mapping[str, Options]]] = {
    "RunCompleted": _RUN,
    "RunStatusChanged": {
        **_RUN,
        "run_status": tuple(Exactly(status) for status in STATUSES),
        "monitor_threshold_breached": BOOLEANS,
        "monitor_message": _TEXT_OR_NULL,
    },
    "ModelRegistered": {
        **dict.fromkeys(("model_name", "model_version", "model_id"), _TEXT),
        **dict.fromkeys(("model_tags", "model_properties"), _OBJECT),
    },
    "ModelDeployed": {
        "service_name": _TEXT,
        "service_compute_type": _TEXT_OR_NULL,
        "model_ids": (Some(Kind.LIST),),
        "service_tags": _OBJECT,
        "service_properties": _OBJECT,
    },
    "DatasetDriftDetected": {
        **dict.fromkeys(("data_drift_id", "data_drift_name", "base_dataset_id", "target_dataset_id"), _TEXT_OR_NULL),
        "run_id": _TEXT,
        "drift_coefficient": SOME_NUMBER,
        "start_time": _TEXT_OR_NULL,
        "end_time": _TEXT_OR_NULL,
    },
}
"""By event type and name."""

_ENVELOPE: Final[Mapping[str, Options]] = {
    **dict.fromkeys(("id", "source"), _TEXT),
    "subject": (Some(Kind.TEXT),),
    "schema": (Exactly(EVENT_GRID_SCHEMA), Exactly(CLOUD_EVENTS_SCHEMA)),
    **dict.fromkeys(("time", "subscription_id", "resource_group", "workspace"), (Some(Kind.TEXT), NULL)),
}


def options(event: str, path: Path, *, with_children: bool) -> Options:
    """What a condition or placeholder may find under a path such as ``("run_tags", "team")``.

    :param with_children: the route takes child runs too.
    """
    top, *below = path
    if top == "data":
        return _data_options(below)
    if top == "event":
        found = _below(_envelope_options(event, below[0]), below[1:]) if below else _OBJECT
    else:
        found = _below(VALUES.get(event, {}).get(top, ANYTHING), below)
    if path == ("run_type",) and event == "RunCompleted" and not with_children:
        return tuple(_without(option, STEP_RUN_TYPE) for option in found)
    return found


def _envelope_options(event: str, name: str) -> Options:
    return (Exactly(AML_PREFIX + event),) if name == "type" else _ENVELOPE.get(name, ANYTHING)


def _data_options(below: list[str]) -> Options:
    """Azure ML may send anything; but keys are in camelCase here, so that others are never there."""
    if not below:
        return _OBJECT
    return ANYTHING if camel_case(below[0]) == below[0] else (NULL,)


def _below(found: Options, names: list[str]) -> Options:
    """What is below a value: anything in an object, nothing in anything else."""
    for _ in names:
        found = ANYTHING if any(option.kind is Kind.OBJECT for option in found) else (NULL,)
    return found


def _without(option: Option, text: str) -> Option:
    return Some(Kind.TEXT, besides=(*option.besides, text)) if isinstance(option, Some) else option
