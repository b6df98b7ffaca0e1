"""Reads an event's data for a handler, and says all that is missing at once."""

from collections.abc import Mapping
from typing import Any

from shared.errors import IncompleteEvent
from shared.events.event import AmlEvent


class EventData:
    """An event's data under the names of Azure ML's schema, with the wrong kinds of value told apart.

    Ask for every field, then call ``check``: it raises once, with everything that is wrong.
    """

    def __init__(self, event: AmlEvent) -> None:
        self._event = event
        self._problems: list[str] = []

    def text(self, key: str) -> str:
        """A required text; a number is taken as its text, since ``modelVersion`` comes as either."""
        value = self.optional_text(key)
        if value is None:
            self._problems.append(f"'{key}' is missing")
            return ""
        return value

    def optional_text(self, key: str) -> str | None:
        """A text, or None where it is null, absent or empty."""
        value = self._event.data.get(key)
        if isinstance(value, str):
            return value.strip() or None
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            self._problems.append(f"'{key}' must be text")
        return None

    def number(self, key: str) -> float:
        """A required number; a text that spells one is taken."""
        value = self._event.data.get(key)
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                return float(value)
            except (ValueError, OverflowError):
                pass
        self._problems.append(f"'{key}' must be a number" if value is not None else f"'{key}' is missing")
        return 0.0

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Tags or properties; empty where null or absent."""
        value = self._event.data.get(key)
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        self._problems.append(f"'{key}' must be an object")
        return {}

    def check(self) -> None:
        """Raise what has been found.

        :raises IncompleteEvent: something asked for is missing or of the wrong kind.
        """
        if self._problems:
            raise IncompleteEvent(f"the data of a {self._event.name} event is incomplete: " + "; ".join(self._problems))
