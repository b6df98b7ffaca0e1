"""What each name of an event may hold, derived from the event types' declarations.

Only what a declaration promises is in here: a text that Azure ML may send in any form is any text.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from handlers import EVENT_TYPES
from shared.events.event import CLOUD_EVENTS_SCHEMA, EVENT_GRID_SCHEMA
from shared.events.event_type import Name
from shared.events.runs import STEP_RUN_TYPE
from tools.routes.possible_values import ANYTHING, BOOLEANS, NULL, SOME_NUMBER, Exactly, Kind, Option, Some

Options = tuple[Option, ...]
Path = tuple[str, ...]

_TEXT: Final[Options] = (Some(Kind.TEXT, besides=("",)),)
_OBJECT: Final[Options] = (Some(Kind.OBJECT),)
_OF_KIND: Final[Mapping[str, Options]] = {
    "object": _OBJECT,
    "number": SOME_NUMBER,
    "boolean": BOOLEANS,
    "list": (Some(Kind.LIST),),
}

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
        if not below:
            return _OBJECT
        # Azure ML may send anything; but keys are in camelCase here, so that others are never there.
        return ANYTHING if data_key(event, below[0]) == below[0] else (NULL,)
    if top == "event":
        envelope = {**_ENVELOPE, "type": (Exactly(EVENT_TYPES[event].type),)}
        found = _below(envelope.get(below[0], ANYTHING), below[1:]) if below else _OBJECT
    else:
        declared = EVENT_TYPES[event].names.get(top)
        found = _below(_declared_options(declared) if declared is not None else ANYTHING, below)
    if path == ("run_type",) and event == "RunCompleted" and not with_children:
        besides = (STEP_RUN_TYPE,)
        return tuple(replace(one, besides=one.besides + besides) if isinstance(one, Some) else one for one in found)
    return found


def data_key(event: str, key: str) -> str:
    """Return a key of the event's data as conditions see it, whatever its spelling."""
    return EVENT_TYPES[event].camel_case(key)


def _declared_options(name: Name) -> Options:
    if name.kind != "string":
        return _OF_KIND[name.kind]
    texts = tuple(Exactly(text) for text in name.one_of) or _TEXT
    return (*texts, NULL) if name.may_be_null else texts


def _below(found: Options, names: list[str]) -> Options:
    """What is below a value: anything in an object, nothing in anything else."""
    for _ in names:
        found = ANYTHING if any(option.kind is Kind.OBJECT for option in found) else (NULL,)
    return found
