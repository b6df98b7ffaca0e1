"""An Azure ML event, whichever schema it came in. Pure: no I/O, no clock, no environment.

Event Grid delivers in its own schema or as CloudEvents 1.0. Both are read into one ``AmlEvent``. The event's type knows
how the data is to be read: shared/events/event_type.py.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, NoReturn

from shared.errors import UnreadableEvent

AML_PREFIX: Final = "Microsoft.MachineLearningServices."
EVENT_GRID_SCHEMA: Final = "EventGridSchema"
CLOUD_EVENTS_SCHEMA: Final = "CloudEventSchemaV1_0"

ENVELOPE_NAMES: Final = (
    *("id", "type", "source", "subject", "time", "schema"),
    *("subscription_id", "resource_group", "workspace"),
)
_WORKSPACE_ID: Final = re.compile(
    r"/subscriptions/(?P<subscription_id>[^/]+)/resourceGroups/(?P<resource_group>[^/]+)"
    r"/providers/Microsoft\.MachineLearningServices/workspaces/(?P<workspace>[^/]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class AmlEvent:
    """One event.

    :param type: Event Grid's name, for example ``Microsoft.MachineLearningServices.RunCompleted``.
    :param source: the workspace's resource id (``topic`` in the Event Grid schema).
    :param time: when it happened, aware; None where absent or unreadable (nothing is decided on it).
    :param data: the event's data as it was sent; its type's declaration knows how the keys are to be read.
    :param schema: ``EventGridSchema`` or ``CloudEventSchemaV1_0``, as Event Grid's API names them.
    :param raw: the text as it was delivered.
    """

    id: str
    type: str
    source: str
    subject: str
    time: datetime | None
    data: Mapping[str, Any]
    schema: str
    raw: str

    @property
    def name(self) -> str:
        """The type as routes.yaml names it: ``RunCompleted``."""
        return self.type.removeprefix(AML_PREFIX)

    def envelope(self) -> dict[str, Any]:
        """What conditions and placeholders see as ``event``; the workspace's parts are None if unknown."""
        workspace = _WORKSPACE_ID.match(self.source)
        parts = workspace.groupdict() if workspace else dict.fromkeys(_WORKSPACE_ID.groupindex)
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
    """A run has ended.

    :param workspace: its workspace's resource id.
    :param status: ``Completed``, ``Failed`` or ``Canceled``.
    """

    workspace: str
    run_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What an event means.

    :param identity: what tells this occurrence from every other of its type and workspace.
    :param names: what conditions and placeholders may use at the top level.
    :param is_child_run: a step, trial or nested run, which only a route that asks for children wants.
    :param run_end: the end of a run, if the event tells of one, for the tasks that wait for the run.
    :param data: what conditions and placeholders see as ``data``: top-level keys in camelCase, however they were sent.
    """

    identity: str
    names: Mapping[str, Any]
    is_child_run: bool = False
    run_end: RunEnd | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing follows from the event, and why."""

    reason: str


Handler = Callable[[AmlEvent], Occurrence | Ignored]
"""Says what an event means. Raises IncompleteEvent where the data lacks what the type promises."""


def parse_event(raw: str) -> AmlEvent:
    """Read one event, in either schema.

    :raises UnreadableEvent: the text is not one event; the message names every problem.
    """
    document = _read_object(raw)
    envelope = {key.lower(): value for key, value in document.items()}
    is_cloud = is_cloud_event(document)
    type_key, source_key, time_key = ("type", "source", "time") if is_cloud else ("eventType", "topic", "eventTime")

    problems: list[str] = []
    event_id = _required_text(envelope, "id", problems)
    event_type = _required_text(envelope, type_key, problems)
    source = _required_text(envelope, source_key, problems)
    data = envelope.get("data")
    if not isinstance(data, dict):
        problems.append(f"'data' must be an object, not {_kind(data)}")
        data = {}
    if problems:
        raise UnreadableEvent("the event cannot be read: " + "; ".join(problems))

    subject = envelope.get("subject")
    return AmlEvent(
        id=event_id,
        type=event_type,
        source=source,
        subject=subject if isinstance(subject, str) else "",
        time=_read_time(envelope.get(time_key.lower())),
        data=data,
        schema=CLOUD_EVENTS_SCHEMA if is_cloud else EVENT_GRID_SCHEMA,
        raw=raw,
    )


def is_cloud_event(document: Iterable[str]) -> bool:
    """Tell a CloudEvent from an event in the Event Grid schema by its keys, in any case: some write "specVersion"."""
    keys = {key.lower() for key in document}
    return "specversion" in keys or ("type" in keys and "eventtype" not in keys)


def _read_object(raw: str) -> dict[str, Any]:
    try:
        document = _DECODER.decode(raw)
        if "\\u" in raw:  # an escaped half of a surrogate pair is JSON, but no text that a store or a header takes
            json.dumps(document, ensure_ascii=False).encode()
        raw.encode()
    except UnicodeEncodeError as exc:
        raise UnreadableEvent("the event holds half a surrogate pair, which is not Unicode text") from exc
    except RecursionError as exc:
        raise UnreadableEvent("the event is nested too deeply") from exc
    except ValueError as exc:
        raise UnreadableEvent(f"the event is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise UnreadableEvent(f"an event is one JSON object, not {_kind(document)}")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _required_text(envelope: Mapping[str, Any], key: str, problems: list[str]) -> str:
    value = envelope.get(key.lower())
    if isinstance(value, str) and value.strip():
        return value
    problems.append(f"'{key}' must be a text that is not empty, not {_kind(value)}")
    return ""


def _read_time(value: object) -> datetime | None:
    """Read Event Grid's times: up to 7 fractional digits, ``Z`` or an offset."""
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
    str: "text",
    list: "an array",
    dict: "an object",
}


def _kind(value: object) -> str:
    """Name a JSON value's kind for a message, never its content."""
    if isinstance(value, str) and not value.strip():
        return "an empty text"
    return _KINDS.get(type(value), "nothing")
