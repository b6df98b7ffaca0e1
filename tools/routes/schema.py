"""The JSON Schema of routes.yaml, for editors: made from the reader's own keys, forms and defaults. Pure.

An editor knows less than the app: what takes more than one value to tell (a name that an event does not have, a
pipeline's parameters) is ``manage.py check``'s to say. What the app takes, the schema takes.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, Final

from shared.routing.routes_file import CAUSE_KEYS, DEFAULTS_KEYS, FORMAT_VERSION, REQUIRED_KEYS, ROUTE_KEYS, ROUTE_NAME
from shared.routing.table import Route

FILE_NAME: Final = "routes.schema.json"

Schema = dict[str, Any]

_ENVIRONMENT: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_DURATION: Final = r"^\s*(?=\S)(\d{1,5}d)?(\d{1,5}h)?(\d{1,5}m)?(\d{1,7}s)?\s*$"
_SCALAR: Final = ["string", "number", "boolean"]
_TEXT: Final[Schema] = {"type": _SCALAR, "pattern": r"\S"}
_TEMPLATES: Final[Schema] = {"type": "object", "additionalProperties": {"type": _SCALAR}}
_FLAG: Final[Schema] = {"type": "boolean"}

_FORMS: Final[Mapping[str, tuple[Schema, str]]] = {
    "name": (
        {"type": _SCALAR, "pattern": f"^{ROUTE_NAME.pattern}$|{_ENVIRONMENT}"},
        "Unique; names the route in logs and journal. Renaming a route makes it a new one.",
    ),
    "event": ({}, "The type of event that the route is for."),
    "organization_url": (
        {"type": "string", "pattern": rf"^\s*https://|^\s*http://(127\.0\.0\.1|localhost|\[::1\])|{_ENVIRONMENT}"},
        "https://dev.azure.com/<organization>, or a collection of Azure DevOps Server.",
    ),
    "project": ({"type": _SCALAR, "pattern": r"^[^/]+$"}, "The project's name or id."),
    "pipeline": (_TEXT, "Definition id, name, or \\folder\\name where a name alone is not unique."),
    "enabled": (_FLAG, "false switches the route off."),
    "when": (
        _TEXT,
        "A condition in JMESPath, as in 'az --query'; the route matches unless the answer is null, false or empty.",
    ),
    "branch": (_TEXT, "main or refs/heads/main; left out: the pipeline's default branch."),
    "parameters": (_TEMPLATES, 'Template parameters of the pipeline: literal text with "{{ JMESPath }}" in it.'),
    "variables": (_TEMPLATES, "Variables, which must be settable at queue time."),
    "stages_to_skip": ({"type": "array", "items": _TEXT}, "Names of stages that are left out."),
    "pipeline_version": (
        {"type": ["integer", "string"], "minimum": 1, "pattern": "^0*[1-9][0-9]*$"},
        "Run this version of the pipeline.",
    ),
    "once_per": (_TEXT, "A template that says what identifies the occurrence, instead of what the event type does."),
    "allow": ({"type": _SCALAR}, "What values may match instead of the safe alphabet."),
    "correlation_parameter": (
        _TEXT,
        "The template parameter that carries the journal's key, so that a run is recognised exactly.",
    ),
    "include_child_runs": (_FLAG, "Take pipeline steps, AutoML iterations and sweep trials too."),
    "cooldown": (
        {"type": "string", "pattern": f"{_DURATION}|{_ENVIRONMENT}"},
        "At most one run in so long a time: 30m, 6h, 1d12h; 30d at most.",
    ),
    "cooldown_key": (_TEXT, "A template: each value of it has a window of its own."),
    "tags": (_FLAG, "Tag the run with the Azure ML run, model and event that it comes from."),
    "causes": ({}, "Events that the pipeline brings about, for 'manage.py graph' and 'check'; the app ignores it."),
}


def routes_schema(names: Mapping[str, Collection[str]]) -> Schema:
    """The schema of a whole file.

    :param names: from each event type to the names its handler offers.
    """
    defaulted = [key for key in REQUIRED_KEYS if key in DEFAULTS_KEYS]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "nextstage: the dispatch table",
        "description": "Which Azure ML event queues which Azure DevOps pipeline, and with what.",
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "routes"],
        "properties": {
            "version": {"const": FORMAT_VERSION, "description": "The format of this file."},
            "defaults": {
                "type": "object",
                "description": "For every route that does not say otherwise.",
                "additionalProperties": False,
                "properties": {key: _property(key, names) for key in DEFAULTS_KEYS},
            },
            "routes": {"type": "array", "items": {"$ref": "#/definitions/route"}},
        },
        "allOf": [_required_unless_defaulted(key) for key in defaulted],
        "definitions": {
            "route": {
                "type": "object",
                "additionalProperties": False,
                "required": [key for key in REQUIRED_KEYS if key not in defaulted],
                "dependencies": {"cooldown_key": ["cooldown"]},
                "properties": {key: _property(key, names) for key in ROUTE_KEYS},
            }
        },
    }


def schema_text(names: Mapping[str, Collection[str]]) -> str:
    """The schema as the file holds it."""
    return json.dumps(routes_schema(names), indent=2, ensure_ascii=False) + "\n"


def _property(key: str, names: Mapping[str, Collection[str]]) -> Schema:
    form, description = _FORMS[key]
    schema = {"description": description, **form}
    if key == "event":
        schema |= {"anyOf": [{"enum": list(names)}, {"type": "string", "pattern": _ENVIRONMENT}]}
    if key == "causes":
        schema |= {
            "type": "array",
            "items": {"anyOf": [{"enum": list(names)}, *(_cause(each, names[each]) for each in names)]},
        }
    default = next(field.default for field in fields(Route) if field.name == key)
    return schema | ({"default": default} if isinstance(default, bool) else {})


def _cause(event: str, names: Collection[str]) -> Schema:
    """One form for each event type, so that an editor offers its names."""
    event_key, with_key = CAUSE_KEYS
    held = {name: {"type": _SCALAR} for name in names}
    below = {f"^({'|'.join(names)})\\.": {"type": _SCALAR}}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [event_key],
        "properties": {
            event_key: {"const": event},
            with_key: {
                "type": "object",
                "description": "What the event is known to hold, by the names that conditions use.",
                "additionalProperties": False,
                "properties": held,
                "patternProperties": below,
            },
        },
    }


def _required_unless_defaulted(key: str) -> Schema:
    has_default = {"required": ["defaults"], "properties": {"defaults": {"required": [key]}}}
    routes = {"properties": {"routes": {"items": {"required": [key]}}}}
    return {"if": has_default, "else": routes}
