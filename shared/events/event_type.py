"""Declares an event type: its names, where each is read, and a sample. Reads events of the type accordingly. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from shared.errors import IncompleteEvent
from shared.events.event import AML_PREFIX, AmlEvent, Ignored, Occurrence

Kind = Literal["text", "number", "boolean", "list", "mapping"]

Names = dict[str, Any]
"""The values of an event's names, in the order of their declaration."""

Sample = tuple[str, dict[str, Any]]
"""A subject and the event's data, with keys as Azure ML spells them."""


class Name(NamedTuple):
    """A name that conditions and placeholders may use.

    :param key: the data key that it is read from, in camelCase; empty if the type's ``meaning`` supplies the value.
    :param may_be_null: only texts may be null.
    :param one_of: the texts that ``meaning`` may leave in an occurrence; empty: any text.
    """

    kind: Kind
    key: str = ""
    may_be_null: bool = False
    one_of: tuple[str, ...] = ()

    def read(self, value: Any) -> Any:
        """Return the value that the data holds under the key (None if absent), as conditions see it.

        :raises ValueError: it is missing or of the wrong kind.
        """
        match self.kind:
            case "mapping":
                if value is not None and not isinstance(value, dict):
                    raise ValueError("must be an object")
                return value or {}
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
    """An event type of Azure ML."""

    def __init__(
        self,
        name: str,
        *,
        names: Mapping[str, Name],
        identified_by: str,
        meaning: Callable[[AmlEvent, Names], Occurrence | Ignored],
        sample: Callable[[int], Sample],
    ) -> None:
        """Declare a type.

        :param name: as routes.yaml names it, for example ``RunCompleted``.
        :param identified_by: what identifies an occurrence, for the documentation.
        :param meaning: returns what an event means, given its names. A name without a key is None; ``meaning`` fills
            it in.
        :param sample: returns a sample event. Events with different numbers are different occurrences.
        """
        self.name = name
        self.names = names
        self.identified_by = identified_by
        self.sample = sample
        self._meaning = meaning
        self._key_by_lowercase = {declared.key.lower(): declared.key for declared in names.values()}

    @property
    def type(self) -> str:
        """Event Grid's name: ``Microsoft.MachineLearningServices.RunCompleted``."""
        return AML_PREFIX + self.name

    def handle(self, event: AmlEvent) -> Occurrence | Ignored:
        """Return what an event of this type means.

        :raises IncompleteEvent: the data lacks something; the message names everything that is wrong.
        """
        data = self._camel_cased(event.data)
        names: Names = {}
        problems: list[str] = []
        for name, declared in self.names.items():
            try:
                names[name] = declared.read(data.get(declared.key)) if declared.key else None
            except ValueError as exc:
                problems.append(f"'{declared.key}' {exc}")
        if problems:
            raise IncompleteEvent(f"the data of a {self.name} event is incomplete: " + "; ".join(problems))
        found = self._meaning(event, names)
        return replace(found, data=data) if isinstance(found, Occurrence) else found

    def camel_case(self, key: str) -> str:
        """Return a top-level data key as conditions see it, whatever its spelling in the event.

        Azure ML writes PascalCase for models and drift, camelCase for runs, and now and then mixes them within one
        event (``runId`` beside ``RunTags``).
        """
        return self._key_by_lowercase.get(key.lower()) or key[:1].lower() + key[1:]

    def _camel_cased(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Spell the top-level keys in camelCase; tags and properties below keep their owner's spelling."""
        spelled = {self.camel_case(key): value for key, value in data.items()}
        # If one event holds two spellings of a key, the one that is already right wins.
        return spelled | {key: value for key, value in data.items() if key in spelled}


def _text(value: Any) -> str | None:
    """Return a text, or None if null, absent or empty. ``modelVersion`` may come as a number, so that is taken too."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None:
        raise ValueError("must be text")
    return None


def _number(value: Any) -> float:
    """Return a number; a text that spells one is taken."""
    if value is None:
        raise ValueError("is missing")
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise ValueError("must be a number")
