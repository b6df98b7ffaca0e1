"""Changes to events, which are JSON documents, before they are sent. Pure.

The two schemas use different names for the same fields: ``topic``, ``eventType`` and ``eventTime`` in Event Grid's
schema are ``source``, ``type`` and ``time`` in CloudEvents 1.0. The path in ``--set`` may use the names of either
schema.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NoReturn

from shared.events.event import is_cloud_event
from shared.events.keys import spelling
from tools.errors import CommandFailed

Document = dict[str, Any]


class Schema(StrEnum):
    """The two schemas in which Event Grid delivers events."""

    EVENT_GRID = "eventgrid"
    CLOUD = "cloud"


_CLOUD_BY_EVENT_GRID: Final = {"eventtype": "type", "topic": "source", "eventtime": "time"}
_EVENT_GRID_BY_CLOUD: Final = {"type": "eventType", "source": "topic", "time": "eventTime"}
# The fields that only one of the schemas has.
_ONLY_EVENT_GRID: Final = ("dataversion", "metadataversion")
_ONLY_CLOUD: Final = ("specversion", "datacontenttype", "dataschema")
_PART: Final = re.compile(r'"([^"]+)"|([^."=]+)')
_SUBJECT_PART: Final = re.compile("([/:])")
_ASSIGNMENT: Final = re.compile(r"""((?:"[^"]+"|[^."=]+)(?:\.(?:"[^"]+"|[^."=]+))*)=(.*)""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A value to set in an event, such as ``data.runId=x``.

    :param path: the keys, the outermost first.
    """

    path: tuple[str, ...]
    value: Any


def schema_of(document: Mapping[str, Any]) -> Schema:
    """Return the schema of an event; ``EVENT_GRID`` if the event fits neither."""
    return Schema.CLOUD if is_cloud_event(document) else Schema.EVENT_GRID


def in_schema(document: Document, schema: Schema) -> Document:
    """Return the event in the given schema."""
    if schema_of(document) is schema:
        return document
    if schema is Schema.CLOUD:
        kept = _renamed(document, _CLOUD_BY_EVENT_GRID, without=_ONLY_EVENT_GRID)
        return {**kept, "specversion": "1.0"}
    kept = _renamed(document, _EVENT_GRID_BY_CLOUD, without=_ONLY_CLOUD)
    return {**kept, "dataVersion": "2", "metadataVersion": "1"}


def renewed(document: Document, event_id: str, now: datetime) -> Document:
    """Return the event with a new id and the given time."""
    time_key = "eventTime" if schema_of(document) is Schema.EVENT_GRID else "time"
    fresh = dict(document)
    fresh[spelling(fresh, "id")] = event_id
    fresh[spelling(fresh, time_key)] = now.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return fresh


def parse_assignment(text: str) -> Assignment:
    """Parse ``data.runId=x``. The value is parsed as JSON if possible, and is a string otherwise.

    A key that contains a dot needs double quotes: ``data.runProperties."azureml.pipelinerunid"=x``.

    :raises ValueError: the text is not ``PATH=VALUE``. The message omits the value, which may be a secret.
    """
    match = _ASSIGNMENT.fullmatch(text)
    path = [] if match is None else [(quoted or plain).strip() for quoted, plain in _PART.findall(match[1])]
    if match is None or not all(path):
        raise ValueError("must have the form PATH=VALUE, for example data.runId=x")
    return Assignment(tuple(path), _value(match[2]))


def assigned(document: Document, assignments: Iterable[Assignment]) -> Document:
    """Return a copy of the event with these values. Create parent objects that do not exist.

    If the subject contains a value of the data that changes, as ``models/NAME:VERSION`` does, it follows. A subject
    that is set itself is kept.

    :raises CommandFailed: a parent in a path is not an object.
    """
    changed: Document = json.loads(json.dumps(document))  # copies deeply nested events too
    assignments = list(assignments)
    for assignment in assignments:
        _assign(changed, assignment)
    subject = spelling(changed, "subject")
    if isinstance(document.get(subject), str) and document[subject] == changed[subject]:
        before, after = (_texts(each.get(spelling(each, "data"))) for each in (document, changed))
        parts = {old: after[key] for key, old in before.items() if key in after}
        changed[subject] = "".join(parts.get(part, part) for part in _SUBJECT_PART.split(document[subject]))
    return changed


def event_name(document: Mapping[str, Any]) -> str:
    """Return the type and id of the event, for messages. Missing fields are left out."""
    fields = {key.lower(): value for key, value in document.items()}
    kind = fields.get("eventtype") or fields.get("type") or "event"
    return f"{str(kind).rpartition('.')[2]} {fields.get('id') or ''}".strip()


def _texts(data: Any) -> dict[str, str]:
    """Return the values of an event's data that a subject may contain."""
    values = data.items() if isinstance(data, dict) else ()
    return {key: str(value) for key, value in values if isinstance(value, str | int)}


def _assign(document: Document, assignment: Assignment) -> None:
    """Set a value. Like the app, ignore the case of the keys that the event has."""
    names = _CLOUD_BY_EVENT_GRID if schema_of(document) is Schema.CLOUD else _EVENT_GRID_BY_CLOUD
    first, *others = assignment.path
    *parents, last = names.get(first.lower(), first), *others
    place: Any = document
    for depth, key in enumerate(parents, 1):
        if isinstance(place, dict):
            place = place.setdefault(spelling(place, key), {})
        if not isinstance(place, dict):
            shown = ".".join(assignment.path[:depth])
            raise CommandFailed(f"--set {'.'.join(assignment.path)}: {shown} is not an object in the event")
    place[spelling(place, last)] = assignment.value


def _value(text: str) -> Any:
    try:
        # NaN and Infinity are not JSON, although Python reads them: they stay strings.
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _renamed(document: Document, names: Mapping[str, str], *, without: Sequence[str]) -> Document:
    return {names.get(key.lower(), key): value for key, value in document.items() if key.lower() not in without}
