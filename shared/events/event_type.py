"""The declaration of an event type: its names, where each value comes from, and a sample event. Pure."""

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

from shared.errors import IncompleteEvent
from shared.events.event import AmlEvent, Ignored, Occurrence, json_kind, type_of

Kind = Literal["string", "number", "boolean", "list", "object"]

Names = dict[str, Any]
"""Each declared name of an event with its value, in the order of declaration."""

Sample = tuple[str, dict[str, Any]]
"""The subject and the data of a sample event, with keys as the publisher spells them."""

SAMPLE_GROUP: Final = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/sample-group"
SAMPLE_WORKSPACE: Final = f"{SAMPLE_GROUP}/providers/Microsoft.MachineLearningServices/workspaces/sample-workspace"


class Form(NamedTuple):
    """How the strings of a name are written.

    :param words: completes "extension is written …": ``in lower case, without a dot``.
    :param of: returns a string in this form, and a string that already has it unchanged. A string that it changes is
        never a value of the name, or only in rare cases: the name of a blob may begin with a slash.
    """

    words: str
    of: Callable[[str], str]


class Name(NamedTuple):
    """A name that conditions and placeholders can use.

    :param kind: an ``object`` maps keys to strings or null, as tags and properties do.
    :param key: the data key that holds the value, in camelCase; empty if the type's ``meaning`` supplies the value. An
        event may spell it in any case: Azure ML uses PascalCase for models and drift, and some events mix both.
    :param may_be_null: whether the value may be null; only a string may be.
    :param may_be_empty: whether the value may be an empty string. Only ``meaning`` supplies one: an empty string of the
        data is read as null.
    :param one_of: the possible values of a string after ``meaning`` has run; empty if any string is possible.
    :param form: how the value of a string is written after ``meaning`` has run; None if in any way.
    """

    kind: Kind
    key: str = ""
    may_be_null: bool = False
    may_be_empty: bool = False
    one_of: tuple[str, ...] = ()
    form: Form | None = None

    def read(self, value: Any) -> Any:
        """Convert a value of the event's data to the value that conditions see.

        :param value: the value under ``key``; None if the key is absent.
        :raises ValueError: the value is missing or of the wrong kind.
        """
        match self.kind:
            case "object":
                if value is not None and not isinstance(value, dict):
                    raise ValueError("must be an object")
                return _strings(value or {})
            case "number":
                return _number(value)
            case "boolean" if isinstance(value, bool):
                return value
            case "boolean":
                raise ValueError("is missing" if value is None else "must be true or false")
            case "list":
                return [part.strip() for part in (_text(value) or "").split(",") if part.strip()]
            case _:
                text = _text(value)
                if text is None and not self.may_be_null:
                    raise ValueError("is missing")
                return text


class EventType:
    """An event type of Azure ML, of another Azure service, or of your own."""

    def __init__(
        self,
        name: str,
        *,
        names: Mapping[str, Name],
        identified_by: str,
        meaning: Callable[[AmlEvent, Names], Occurrence | Ignored],
        sample: Callable[[int], Sample],
        sample_source: str = SAMPLE_WORKSPACE,
    ) -> None:
        """Declare a type.

        :param name: the name in routes.yaml: ``RunCompleted``, or in full if the type is not one of Azure ML.
        :param names: empty if nothing is known about the data, which may then be any JSON value.
        :param identified_by: a phrase for the documentation that states what identifies an occurrence.
        :param meaning: returns what an event means, given its names. The value of a name without a key is None, and
            ``meaning`` sets it. May raise IncompleteEvent.
        :param sample: returns a sample event. Different numbers give different occurrences.
        :param sample_source: the source of the sample events.
        """
        self.name = name
        self.names = names
        self.identified_by = identified_by
        self.sample = sample
        self.sample_source = sample_source
        self._meaning = meaning

    @property
    def type(self) -> str:
        """The name in Event Grid: ``Microsoft.MachineLearningServices.RunCompleted``."""
        return type_of(self.name)

    def handle(self, event: AmlEvent) -> Occurrence | Ignored:
        """Return what an event of this type means.

        :raises IncompleteEvent: a value is missing or of the wrong kind; the message lists all of them.
        """
        return self._meaning(event, self._read(event.data) if self.names else {})

    def _read(self, data: Any) -> Names:
        if not isinstance(data, dict):
            raise IncompleteEvent(f"the data of a {self.name} event must be an object, got {json_kind(data)}")
        lowercase = {key.lower(): value for key, value in data.items()}
        names: Names = {}
        problems: list[str] = []
        for name, declared in self.names.items():
            key = declared.key
            try:
                names[name] = declared.read(data[key] if key in data else lowercase.get(key.lower())) if key else None
            except ValueError as exc:
                problems.append(f"'{key}' {exc}")
        if problems:
            raise IncompleteEvent(f"the data of a {self.name} event is incomplete: " + "; ".join(problems))
        return names


def _text(value: Any) -> str | None:
    """Return a string, or None if it is null, absent or empty. Accept whole numbers: a version may be 3 or 3.0."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0:
        return str(int(value))
    if value is not None:
        raise ValueError("must be a string or a whole number")
    return None


def _strings(tags: dict[str, Any]) -> dict[str, Any]:
    """Return tags or properties. Azure ML sends strings; convert the other values of another publisher to JSON."""
    if all(isinstance(value, str) for value in tags.values()):
        return tags
    try:
        return {
            key: value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False)
            for key, value in tags.items()
        }
    except RecursionError as exc:
        raise ValueError("is nested too deeply") from exc


def _number(value: Any) -> float:
    """Return a finite number. Accept a string that contains one."""
    if value is None:
        raise ValueError("is missing")
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            if math.isfinite(number := float(value)):
                return number
    raise ValueError("must be a finite number")
