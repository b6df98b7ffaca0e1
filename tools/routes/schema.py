"""The JSON Schema of routes.yaml for editors, generated from the keys and defaults of the file's reader. Pure.

The schema accepts everything that the app accepts. It cannot express checks that need several values, such as a name
that an event does not have, or the parameters of a pipeline: ``manage.py check`` performs these.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from shared.events.event import FULL_TYPE
from shared.routing.routes_file import (
    CAUSE_KEYS,
    CAUSE_NAMES,
    DEFAULT_SETTINGS,
    DEFAULTS_KEYS,
    FORMAT_VERSION,
    GATHER_KEYS,
    OWN_TYPE,
    REQUIRED_GATHER_KEYS,
    REQUIRED_KEYS,
    ROUTE_KEYS,
    ROUTE_NAME,
)
from shared.routing.table import Route

FILE_NAME: Final = "routes.schema.json"

Schema = dict[str, Any]

_ENVIRONMENT: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_DURATION: Final = r"^\s*(?=\S)(\d{1,5}d)?(\d{1,5}h)?(\d{1,5}m)?(\d{1,7}s)?\s*$"
_SCALAR: Final = ["string", "number", "boolean"]
_TEXT: Final[Schema] = {"type": _SCALAR, "pattern": r"\S"}
_TEMPLATES: Final[Schema] = {"type": "object", "additionalProperties": {"type": _SCALAR}}
_PARAMETERS: Final[Schema] = {"type": "object", "additionalProperties": {"type": [*_SCALAR, "object", "array"]}}
_FLAG: Final[Schema] = {"type": "boolean"}
_FULL_TYPE: Final[Schema] = {"type": "string", "pattern": f"^{FULL_TYPE.pattern}$"}
_LENGTH: Final[Schema] = {"type": "string", "pattern": f"{_DURATION}|{_ENVIRONMENT}"}

_FORMS: Final[Mapping[str, tuple[Schema, str]]] = {
    "name": (
        {"type": _SCALAR, "pattern": f"^{ROUTE_NAME.pattern}$|{_ENVIRONMENT}"},
        "The unique name of the route in logs and journal. A renamed route is a new route.",
    ),
    "event": (
        {},
        f"The event type that the route is for, or the full type of any other event, such as {OWN_TYPE}.",
    ),
    "organization_url": (
        {"type": "string", "pattern": rf"^\s*https://|^\s*http://(127\.0\.0\.1|localhost|\[::1\])|{_ENVIRONMENT}"},
        "https://dev.azure.com/<organization>, or a collection of Azure DevOps Server.",
    ),
    "project": ({"type": _SCALAR, "pattern": r"^[^/]+$"}, "The name or id of the project."),
    "pipeline": (
        {"type": _SCALAR, "pattern": r"^[^/]*\S[^/]*$", "minimum": 1},
        "Definition id or name; \\folder\\name if the name alone is not unique.",
    ),
    "enabled": (_FLAG, "false switches the route off."),
    "when": (
        _TEXT,
        "A condition in JMESPath, as in 'az --query'. The route matches unless the result is null, false or empty.",
    ),
    "branch": (_TEXT, "main or refs/heads/main. If not set, the pipeline's default branch."),
    "parameters": (
        _PARAMETERS,
        'Template parameters of the pipeline: values, objects or lists, with "{{ JMESPath }}" placeholders.',
    ),
    "variables": (_TEMPLATES, "Variables, which must be settable at queue time."),
    "stages_to_skip": ({"type": "array", "items": _TEXT}, "The names of stages to skip."),
    "pipeline_version": (
        {"type": ["integer", "string"], "minimum": 1, "pattern": "^0*[1-9][0-9]*$"},
        "The version of the pipeline to run.",
    ),
    "once_per": (_TEXT, "A template that identifies the occurrence. It replaces the default of the event type."),
    "allow": ({"type": _SCALAR}, "A regular expression of RE2. Values may match it instead of the default pattern."),
    "correlation_parameter": (
        _TEXT,
        "The template parameter that receives the journal's key, which identifies a run exactly.",
    ),
    "include_child_runs": (_FLAG, "true also includes pipeline steps, AutoML iterations and sweep trials."),
    "cooldown": (
        _LENGTH,
        "A duration such as 30m, 6h or 1d12h, 30 days at most. The route queues at most one run within it.",
    ),
    "cooldown_key": (_TEXT, "A template. Each of its values has its own cooldown."),
    "gather": (
        {
            "type": "object",
            "additionalProperties": False,
            "required": [*REQUIRED_GATHER_KEYS],
            "properties": dict(zip(GATHER_KEYS, (_LENGTH, _LENGTH, _TEXT), strict=True)),
        },
        (
            "Queue one run for all events that come until none has come for 'quiet', and at the latest 'at_most' after "
            "the first one. Each value of the template 'by' has its own run."
        ),
    ),
    "tags": (_FLAG, "true tags the run with its origin: the Azure ML run, model and event."),
    "causes": ({}, "The events that the pipeline causes, for 'manage.py graph' and 'check'. The app ignores this key."),
}


def routes_schema(names: Mapping[str, Collection[str]]) -> Schema:
    """Return the schema of a file.

    :param names: for each event type, the names that its handler offers.
    """
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "nextstage: the dispatch table",
        "description": "Defines which event queues which Azure DevOps pipeline, and with which parameters.",
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "routes"],
        "properties": {
            "version": {"const": FORMAT_VERSION, "description": "The format of this file."},
            "defaults": {
                "type": "object",
                "description": "Values for every route that does not set its own.",
                "additionalProperties": False,
                "properties": {key: _property(key, names) for key in DEFAULTS_KEYS},
            },
            "routes": {"type": "array", "items": {"$ref": "#/definitions/route"}},
        },
        "definitions": {
            "route": {
                "type": "object",
                "additionalProperties": False,
                "required": [key for key in REQUIRED_KEYS if key not in DEFAULT_SETTINGS],
                "dependencies": {"cooldown_key": ["cooldown"], "gather": {"not": {"required": ["cooldown"]}}},
                "properties": {key: _property(key, names) for key in ROUTE_KEYS},
            }
        },
    }


def schema_text(names: Mapping[str, Collection[str]]) -> str:
    """Return the content of the schema file."""
    return json.dumps(routes_schema(names), indent=2, ensure_ascii=False) + "\n"


def _property(key: str, names: Mapping[str, Collection[str]]) -> Schema:
    form, description = _FORMS[key]
    schema = {"description": description, **form}
    if key == "event":
        schema |= {"anyOf": [{"enum": list(names)}, _FULL_TYPE, {"type": "string", "pattern": _ENVIRONMENT}]}
    if key == "causes":
        schema |= {
            "type": "array",
            "items": {
                "anyOf": [
                    {"enum": list(names)},
                    _FULL_TYPE,
                    *(_cause({"const": each}, names[each]) for each in names),
                    _cause({**_FULL_TYPE, "not": {"enum": list(names)}}, CAUSE_NAMES),
                ]
            },
        }
    default = Route._field_defaults.get(key)
    return schema | ({"default": default} if isinstance(default, bool) else {})


def _cause(event: Schema, names: Collection[str]) -> Schema:
    """Return the schema of a caused event. Each event type has its own, so that editors offer its names."""
    event_key, with_key = CAUSE_KEYS
    held = {name: {"type": _SCALAR} for name in names}
    below = {f"^({'|'.join(names)})\\.": {"type": _SCALAR}}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [event_key],
        "properties": {
            event_key: event,
            with_key: {
                "type": "object",
                "description": "Known values of the event, by the names that conditions use.",
                "additionalProperties": False,
                "properties": held,
                "patternProperties": below,
            },
        },
    }
