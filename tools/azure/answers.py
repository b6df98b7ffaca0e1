"""What Azure Resource Manager answers: JSON objects, whose members are checked when they are read, or an error."""

from collections.abc import Mapping
from typing import Any, Final, Self

from shared.events.event import json_kind
from tools.errors import CommandFailed

_UPDATE: Final = "try again, or try a newer nextstage, as Azure may have changed this answer"


class ResourceManagerError(CommandFailed):
    """Azure Resource Manager refused a request, or did not answer.

    :param status: the HTTP status; None if there was no answer, or no token to ask with.
    :param codes: the error's code, then those of its details. Resource providers often put the cause into a detail.
    :param reason: what Azure Resource Manager says, on one line. ``words`` begins with the error's own code.
    """

    def __init__(self, request: str, reason: str, *, status: int | None = None, codes: tuple[str, ...] = ()) -> None:
        words = ": ".join(filter(None, (codes[0] if codes else "", reason)))
        super().__init__(f"{request}: {words}" + (f" (HTTP {status})" if status else ""), exit_code=1)
        self.words = words.rstrip(".")
        self.status = status
        self.codes = codes
        self.reason = reason

    @property
    def code(self) -> str:
        """The error's own code; an empty string if there is none."""
        return self.codes[0] if self.codes else ""


class Answer(dict[str, Any]):
    """A JSON object of an answer. A member that is null counts as absent.

    Each method raises ResourceManagerError if a member has another type.
    """

    def __init__(self, members: Mapping[str, Any], request: str) -> None:
        """:param request: what was asked, for messages."""
        super().__init__(members)
        self.request = request

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string.

        :param default: stands for an absent or empty string; by default, there must be one.
        """
        found = self.get(name)
        return str(self._checked(default if found in (None, "") else found, str, "a string", name))

    def texts(self, name: str) -> list[str]:
        """Return a list of strings; empty if it is absent."""
        return [str(self._checked(each, str, "a list of strings", name)) for each in self._list(name)]

    def number(self, name: str) -> float:
        """Return a number; 0 if it is absent."""
        return float(self._checked(self.get(name) or 0, (int, float), "a number", name))

    def object(self, name: str) -> Self:
        """Return an object; empty if it is absent."""
        return self._nested(self.get(name) or {}, "an object", name)

    def objects(self, name: str) -> list[Self]:
        """Return a list of objects; empty if it is absent."""
        return [self._nested(each, "a list of objects", name) for each in self._list(name)]

    def _nested(self, value: Any, wanted: str, name: str) -> Self:
        return type(self)(self._checked(value, dict, wanted, name), self.request)

    def _list(self, name: str) -> list[Any]:
        return list(self._checked(self.get(name) or [], list, "a list", name))

    def _checked(self, value: Any, kinds: type | tuple[type, ...], wanted: str, name: str) -> Any:
        if isinstance(value, kinds):
            return value
        raise ResourceManagerError(
            self.request, f"no usable answer: '{name}' must be {wanted}, got {json_kind(value)}; {_UPDATE}"
        )
