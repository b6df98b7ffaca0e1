"""The possible values of each name of an event, derived from the declarations of the event types.

Values are only as narrow as a declaration guarantees. If the publisher may send any string, any string is possible.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from handlers import event_type
from shared.events.event import CLOUD_EVENTS_SCHEMA, EVENT_GRID_SCHEMA
from shared.events.event_type import Form, Name
from shared.events.runs import STEP_RUN_TYPE
from tools.routes.possible_values import ANYTHING, BOOLEANS, NULL, Exactly, Kind, Option, Some

Options = tuple[Option, ...]
Path = tuple[str, ...]

_STRING: Final[Options] = (Some(Kind.STRING, excluded=("",)),)
_ANY_STRING: Final[Options] = (Some(Kind.STRING),)
_OBJECT: Final[Options] = (Some(Kind.OBJECT),)
_TAG: Final[Options] = (*_ANY_STRING, NULL)
_OF_KIND: Final[Mapping[str, Options]] = {
    "object": _OBJECT,
    "number": (Some(Kind.NUMBER),),
    "boolean": BOOLEANS,
    "list": (Some(Kind.LIST),),
}

_ENVELOPE: Final[Mapping[str, Options]] = {
    **dict.fromkeys(("id", "source"), _STRING),
    "subject": _ANY_STRING,
    "schema": (Exactly(EVENT_GRID_SCHEMA), Exactly(CLOUD_EVENTS_SCHEMA)),
    **dict.fromkeys(("time", "subscription_id", "resource_group", "workspace"), _TAG),
}
_ENVELOPE_FORMS: Final = dict.fromkeys(
    ("subscription_id", "resource_group", "workspace"), Form("as a name alone", lambda text: text.rpartition("/")[2])
)


def options(event: str, path: Path, *, with_children: bool) -> Options:
    """Return the values that a condition or placeholder may find at a path such as ``("run_tags", "team")``.

    :param with_children: whether the route includes child runs.
    """
    top, *below = path
    declaration = event_type(event)
    if top == "data":
        return _OBJECT if declaration.names and not below else ANYTHING  # the publisher may send any value
    if top == "event":
        envelope = {**_ENVELOPE, "type": (Exactly(declaration.type),)}
        found = _below(envelope.get(below[0], ANYTHING), below[1:]) if below else _OBJECT
    else:
        declared = declaration.names.get(top)
        found = _declared_options(declared) if declared is not None else ANYTHING
        if declared is not None and declared.kind == "object" and below:
            found, below = _TAG, below[1:]
        found = _below(found, below)
    if path == ("run_type",) and event == "RunCompleted" and not with_children:
        steps = (STEP_RUN_TYPE,)
        return tuple(replace(one, excluded=one.excluded + steps) if isinstance(one, Some) else one for one in found)
    return found


def form_of(event: str, path: Path) -> Form | None:
    """Return how the strings at a path are written; None if in any way."""
    if path[0] == "event":
        return _ENVELOPE_FORMS.get(".".join(path[1:]))
    declared = event_type(event).names.get(path[0])
    return None if declared is None or path[1:] else declared.form


def _declared_options(name: Name) -> Options:
    if name.kind != "string":
        return _OF_KIND[name.kind]
    strings = tuple(Exactly(text) for text in name.one_of) or (_ANY_STRING if name.may_be_empty else _STRING)
    return (*strings, NULL) if name.may_be_null else strings


def _below(found: Options, names: list[str]) -> Options:
    """Return the values below a value: anything in an object, null in anything else."""
    for _ in names:
        found = ANYTHING if any(option.kind is Kind.OBJECT for option in found) else (NULL,)
    return found
