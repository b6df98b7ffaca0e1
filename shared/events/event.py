"""An event and how to read it from JSON. Pure: no I/O, no clock, no environment.

Event Grid delivers events in its own schema or as CloudEvents 1.0. ``parse_event`` reads both into an ``AmlEvent``.
The declaration of the event's type reads the data: see shared/events/event_type.py.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, NoReturn

from shared.errors import UnreadableEvent

AML_PREFIX: Final = "Microsoft.MachineLearningServices."
EVENT_GRID_SCHEMA: Final = "EventGridSchema"
CLOUD_EVENTS_SCHEMA: Final = "CloudEventSchemaV1_0"
OWN_PREFIX: Final = "nextstage."
"""Begins the types of nextstage's own events. No route can name one, since its runs would cause the next event."""
CANARY_TYPE: Final = f"{OWN_PREFIX}Canary"
"""The type of an event that only tests a deployment; see shared/proof.py."""
ANY_TYPE: Final = "*"
"""In a table of handlers: the key of the handler for all types that have none of their own."""
FULL_TYPE: Final = re.compile(r"[^\s.]+(\.[^\s.]+)+")
"""The name of an event type outside of Azure ML. It has a dot, which tells it from names such as ``RunCompleted``."""

ENVELOPE_NAMES: Final = (
    *("id", "type", "source", "subject", "time", "schema"),
    *("subscription_id", "resource_group", "workspace"),
)
_RESOURCE_ID: Final = re.compile(
    r"/subscriptions/(?P<subscription_id>[^/]+)/resourceGroups/(?P<resource_group>[^/]+)"
    r"(/providers/Microsoft\.MachineLearningServices/workspaces/(?P<workspace>[^/]+))?",
    re.IGNORECASE,
)


class AmlEvent(NamedTuple):
    """One event.

    :param type: the name in Event Grid, for example ``Microsoft.MachineLearningServices.RunCompleted``.
    :param source: ``topic`` in the Event Grid schema; for an event of Azure, the resource id of the workspace or
        storage account.
    :param time: when it happened, with a time zone; None if absent or unreadable. No decision depends on it.
    :param data: the event's data as it was sent, any JSON value; also what conditions and placeholders see as ``data``.
    :param schema: ``EventGridSchema`` or ``CloudEventSchemaV1_0``, as in Event Grid's API.
    :param raw: the event as it was delivered.
    """

    id: str
    type: str
    source: str
    subject: str
    time: datetime | None
    data: Any
    schema: str
    raw: str

    @property
    def name(self) -> str:
        """The type's name in routes.yaml: ``RunCompleted``, ``Microsoft.Storage.BlobCreated``."""
        return self.type.removeprefix(AML_PREFIX)

    def envelope(self) -> dict[str, Any]:
        """Return what conditions and placeholders see as ``event``. The parts of the source are None if unknown."""
        resource = _RESOURCE_ID.match(self.source)
        parts = resource.groupdict() if resource else dict.fromkeys(_RESOURCE_ID.groupindex)
        return {
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "subject": self.subject,
            "time": self.time.isoformat() if self.time else None,
            "schema": self.schema,
            **parts,
        }


class RunEnd(NamedTuple):
    """The end of a run.

    :param workspace: the resource id of the run's workspace.
    :param status: the final status: ``Completed``, ``Failed`` or ``Canceled``.
    """

    workspace: str
    run_id: str
    status: str


class Occurrence(NamedTuple):
    """What an event means.

    :param identity: unique among the occurrences of the event's type and workspace.
    :param names: the top-level names of conditions and placeholders, with their values.
    :param is_child_run: whether the run is a step, trial or nested run. Only routes with ``include_child_runs`` match.
    :param run_end: the end of a run, if the event reports one; it completes the tasks that wait for the run.
    """

    identity: str
    names: Mapping[str, Any]
    is_child_run: bool = False
    run_end: RunEnd | None = None


class Ignored(NamedTuple):
    """An event that has no effect, and the reason."""

    reason: str


def type_of(name: str) -> str:
    """Return the name in Event Grid of a type that routes.yaml names: a name without a dot is one of Azure ML."""
    return name if "." in name else AML_PREFIX + name


def joined_identity(*parts: str) -> str:
    """Return the identity of an occurrence that several values identify. Different values give different identities.

    Values are joined with colons, which keeps the keys in existing journals. If a value contains a colon, a JSON list
    after two colons replaces them: it has more colons than the joined values of the same number.
    """
    return "::" + json.dumps(parts) if any(":" in part for part in parts) else ":".join(parts)


Handler = Callable[[AmlEvent], Occurrence | Ignored]
"""Returns what an event means. Raises IncompleteEvent if the data lacks a field that the type requires."""


def parse_event(raw: str) -> AmlEvent:
    """Read one event in either schema.

    :raises UnreadableEvent: the text is not a single event; the message lists every problem.
    """
    document = _read_object(raw)
    envelope = {key.lower(): value for key, value in document.items()}
    is_cloud = is_cloud_event(document)
    type_key, source_key, time_key = ("type", "source", "time") if is_cloud else ("eventType", "topic", "eventTime")

    problems: list[str] = []
    event_id = _required_text(envelope, "id", problems)
    event_type = _required_text(envelope, type_key, problems)
    source = _required_text(envelope, source_key, problems)
    if problems:
        raise UnreadableEvent("the event cannot be read: " + "; ".join(problems))

    subject = envelope.get("subject")
    return AmlEvent(
        id=event_id,
        type=event_type,
        source=source,
        subject=subject if isinstance(subject, str) else "",
        time=_read_time(envelope.get(time_key.lower())),
        data=envelope.get("data"),
        schema=CLOUD_EVENTS_SCHEMA if is_cloud else EVENT_GRID_SCHEMA,
        raw=raw,
    )


def is_cloud_event(document: Iterable[str]) -> bool:
    """Return whether the keys are those of a CloudEvent. Ignore their case, since some senders write "specVersion"."""
    keys = {key.lower() for key in document}
    return "specversion" in keys or ("type" in keys and "eventtype" not in keys)


def _read_object(raw: str) -> dict[str, Any]:
    try:
        document = _DECODER.decode(raw)
        if "\\u" in raw:  # JSON allows an escaped half of a surrogate pair, but stores and headers reject it
            json.dumps(document, ensure_ascii=False).encode()
        raw.encode()
    except UnicodeEncodeError as exc:
        raise UnreadableEvent("the event contains half a surrogate pair, which is not Unicode text") from exc
    except RecursionError as exc:
        raise UnreadableEvent("the event is nested too deeply") from exc
    except ValueError as exc:
        raise UnreadableEvent(f"the event is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise UnreadableEvent(f"an event must be one JSON object, got {json_kind(document)}")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _required_text(envelope: Mapping[str, Any], key: str, problems: list[str]) -> str:
    value = envelope.get(key.lower())
    if isinstance(value, str) and value.strip():
        return value
    problems.append(f"'{key}' must be a string that is not empty, got {json_kind(value)}")
    return ""


def _read_time(value: object) -> datetime | None:
    """Read a time as Event Grid writes it: up to 7 fractional digits, and ``Z`` or an offset."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


_KINDS: Final = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def json_kind(value: object) -> str:
    """Return the kind of a JSON value for a message, such as ``a list``, never its content."""
    if isinstance(value, str) and not value.strip():
        return "an empty string"
    return _KINDS.get(type(value), "nothing")
