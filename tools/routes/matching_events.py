"""Makes an event that a given route matches. Pure.

The event starts as the sample event of the route's type. It gets the values that the route's condition requires, and a
value for each placeholder that would find none. The app's own code then checks if the route matches.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final
from urllib.parse import quote

from handlers import DISPATCH, event_type
from shared.deciding import decide
from shared.errors import IncompleteEvent
from shared.events.event import Occurrence, parse_event
from shared.events.keys import spelling
from shared.events.runs import MONITOR_BREACH_TAG
from shared.routing.expression_tree import free_paths, value_at
from shared.routing.table import Match, Refusal, Route, RouteTable
from shared.routing.templates import Expression, Scope, Template
from tools.events.samples import sample_event
from tools.routes.conditions import SAMPLE, Known, Proposal, proposals
from tools.routes.event_values import Path

_MAX_PROPOSALS: Final = 64
_WORKSPACE_PARTS: Final = {"subscription_id": 2, "resource_group": 4, "workspace": 8}
_ENVELOPE_KEYS: Final = {"id": "id", "subject": "subject", "source": "topic", "time": "eventTime"}

_Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MatchingEvent:
    """An event that the route matches.

    :param text: the event as JSON, in the Event Grid schema.
    :param match: the route's match.
    :param sampled: the parameters and variables whose values come only from the sample event: neither the route's text
        nor its condition determines them.
    """

    text: str
    match: Match
    sampled: frozenset[str]


@dataclass(frozen=True, slots=True)
class NoEvent:
    """The result if no event could be made, with the reason."""

    reason: str


def matching_event(route: Route) -> MatchingEvent | NoEvent:
    """Return an event that the route matches, or why none could be made."""
    sample = sample_event(route.event)
    start, reason = _scope(route, sample), ""
    tried: Iterator[Proposal] = iter(())
    if route.when is not None:
        known = Known(route.event, with_children=True)
        tried = islice(proposals(route.when.tree, known, start), _MAX_PROPOSALS)
    for proposal in chain(tried, [Proposal({}, frozenset())]):
        wanted = {path: value for path, value in proposal.values.items() if value != value_at(start, path)}
        text = json.dumps(_filled(route, _with_values(route.event, sample, wanted)))
        verdict = decide(text, DISPATCH, RouteTable([route]))
        match verdict.decisions:
            case (Match() as found,):
                return MatchingEvent(text, found, _sampled(route, proposal.required))
            case (Refusal() as refusal,):
                reason = refusal.reason
            case _:
                reason = reason or next((why.reason for why in verdict.why_not), verdict.why_nothing)
    return NoEvent(reason)


def _scope(route: Route, document: _Document) -> Scope:
    """Return the scope of the event for conditions; empty if the event is not an occurrence."""
    try:
        event = parse_event(json.dumps(document))
        meaning = event_type(route.event).handle(event)
    except IncompleteEvent:
        return {}
    return {**meaning.names, "event": event.envelope(), "data": event.data} if isinstance(meaning, Occurrence) else {}


def _with_values(event: str, document: _Document, wanted: Mapping[Path, Any]) -> _Document:
    document, names = copy.deepcopy(document), event_type(event).names
    for (first, *below), value in wanted.items():
        if first == "event" and below:
            _set_envelope(document, below[0], value)
        elif first == "data" and below:
            _put(document["data"], below, value)
        elif (declared := names.get(first)) is not None and declared.key:
            is_list = declared.kind == "list" and isinstance(value, list)
            _put(document["data"], [declared.key, *below], ",".join(map(str, value)) if is_list else value)
        elif first in _SETTERS:
            _SETTERS[first](document["data"], value)
        elif first in _BLOB_PARTS:
            _set_blob(document, first, str(value))
    return document


def _filled(route: Route, document: _Document) -> _Document:
    """Return the event with a value for each placeholder."""
    known = Known(route.event, with_children=True)
    for template in _templates(route):
        for part in template.parts:
            if isinstance(part, Expression) and (scope := _scope(route, document)):
                found = next(proposals(part.tree, known, scope, _has_value), None)
                values = {} if found is None else found.values
                changed = {path: value for path, value in values.items() if value != value_at(scope, path)}
                document = _with_values(route.event, document, changed)
    return document


def _has_value(value: Any) -> bool:
    return value is not None


def _sampled(route: Route, required: frozenset[Path]) -> frozenset[str]:
    given = {**route.parameters, **route.variables}
    return frozenset(name for name, template in given.items() if not _paths(template) <= required)


def _templates(route: Route) -> Iterator[Template]:
    yield from route.parameters.values()
    yield from route.variables.values()
    by = None if route.gather is None else route.gather.by
    yield from (template for template in (route.once_per, route.cooldown_key, by) if template is not None)


def _paths(template: Template) -> frozenset[Path]:
    trees = [part.tree for part in template.parts if isinstance(part, Expression)]
    return frozenset(path for tree in trees for path, _ in free_paths(tree))


def _set_envelope(document: _Document, name: str, value: Any) -> None:
    if name in _WORKSPACE_PARTS and isinstance(value, str):
        parts = document["topic"].split("/")
        parts[_WORKSPACE_PARTS[name]] = value
        document["topic"] = "/".join(parts)
    elif name in _ENVELOPE_KEYS:
        _put(document, [_ENVELOPE_KEYS[name]], value)


def _put(place: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set the value at the end of the keys; None removes it. Like the app, ignore the case of the keys."""
    for each in keys[:-1]:
        key = spelling(place, each)
        if not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
    last = spelling(place, keys[-1])
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value


def _model_id(data: _Document, value: Any) -> None:
    name, _, version = value.partition(":") if isinstance(value, str) else (SAMPLE, "", "1")
    _put(data, ["ModelName"], name)
    _put(data, ["ModelVersion"], version)


def _monitor(data: _Document, value: Any) -> None:
    """Set the tag that holds both a monitor's breach and its message. A breach keeps an existing message."""
    tag = ["runTags", MONITOR_BREACH_TAG]
    if value is not True or not value_at(data, tag):
        _put(data, tag, SAMPLE if value is True else value or None)


def _root_run_id(data: _Document, value: Any) -> None:
    """Set the run id, because a run without a parent is its own root."""
    _put(data, ["runId"], value)


def _set_blob(document: _Document, part: str, value: str) -> None:
    """Set a part of a blob's name, which is in the subject and in the URL."""
    *_, container, _, path = document["subject"].split("/", 6)
    folder, slash, name = path.rpartition("/")
    if part == "account":
        _set_envelope(document, "workspace", value)  # which is at the same place in a resource id
    elif part == "container":
        container = value
    elif part == "folder":
        path = f"{value}/{name}" if value else name
    elif part == "extension":
        stem = name.rpartition(".")[0] or name
        path = f"{folder}{slash}{stem}.{value}" if value else f"{folder}{slash}{stem}"
    else:
        path = value if part == "path" else f"{folder}{slash}{value}"
    account = document["topic"].rpartition("/")[2]
    document["subject"] = f"/blobServices/default/containers/{container}/blobs/{path}"
    document["data"]["url"] = f"https://{account}.blob.core.windows.net/{container}/{quote(path)}"


# For names without their own key: the function that sets the data from which their values are derived.
_SETTERS: Final[Mapping[str, Callable[[_Document, Any], None]]] = {
    "model_id": _model_id,
    "monitor_threshold_breached": _monitor,
    "monitor_message": _monitor,
    "root_run_id": _root_run_id,
}
_BLOB_PARTS: Final = {"account", "container", "path", "folder", "name", "extension"}
