"""The possible values of a name: exact values, or any value of a kind. Pure."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Kind(StrEnum):
    """The kinds of JSON values, as messages name them."""

    NULL = "null"
    BOOLEAN = "a boolean"
    NUMBER = "a number"
    STRING = "a string"
    LIST = "a list"
    OBJECT = "an object"


_KINDS: Final = {
    type(None): Kind.NULL,
    bool: Kind.BOOLEAN,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    str: Kind.STRING,
    list: Kind.LIST,
}


def kind_of(value: Any) -> Kind:
    """Return the kind of a JSON value."""
    return _KINDS.get(type(value), Kind.OBJECT)


@dataclass(frozen=True, slots=True)
class Exactly:
    """One exact value."""

    value: Any

    @property
    def kind(self) -> Kind:
        return kind_of(self.value)


@dataclass(frozen=True, slots=True)
class Some:
    """Any value of a kind. For numbers, any finite value.

    :param excluded: strings that are not possible.
    """

    kind: Kind
    excluded: tuple[str, ...] = ()


Option = Exactly | Some

NULL: Final = Exactly(None)
BOOLEANS: Final = (Exactly(value=True), Exactly(value=False))
SOME_NUMBER: Final = (Some(Kind.NUMBER), Exactly(math.inf), Exactly(-math.inf), Exactly(math.nan))
ANYTHING: Final = (NULL, *BOOLEANS, *SOME_NUMBER, Some(Kind.STRING), Some(Kind.LIST), Some(Kind.OBJECT))


def fits(option: Option, value: Any) -> bool:
    """Return whether the option includes the value."""
    if kind_of(value) is not option.kind:
        return False
    if isinstance(option, Exactly):
        return bool(value == option.value) or (value != value and option.value != option.value)  # noqa: PLR0124 - NaN
    return math.isfinite(value) if option.kind is Kind.NUMBER else value not in option.excluded
