"""What a value may be, where only some of it is known: exact values, and any value of a kind. Pure.

What is built on these must not say more than is true. So every operation gives all that may come of it: sometimes
more, never less.
"""

import json
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from jmespath.visitor import TreeInterpreter

from shared.routing.templates import is_true


class Kind(StrEnum):
    """The kinds of JSON values, as messages name them."""

    NULL = "null"
    BOOLEAN = "a boolean"
    NUMBER = "a number"
    TEXT = "a text"
    LIST = "a list"
    OBJECT = "an object"


def kind_of(value: Any) -> Kind:
    """The kind of a JSON value."""
    match value:
        case None:
            return Kind.NULL
        case bool():
            return Kind.BOOLEAN
        case int() | float():
            return Kind.NUMBER
        case str():
            return Kind.TEXT
        case list():
            return Kind.LIST
        case _:
            return Kind.OBJECT


@dataclass(frozen=True, slots=True)
class Exactly:
    """This value."""

    value: Any

    @property
    def kind(self) -> Kind:
        return kind_of(self.value)


@dataclass(frozen=True, slots=True)
class Some:
    """Any value of a kind (a number, text, list or object).

    :param besides: texts that it is not.
    :param low: and ``high``: of a number, both exclusive.
    """

    kind: Kind
    besides: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf


Option = Exactly | Some

NULL: Final = Exactly(None)
BOOLEANS: Final = (Exactly(value=True), Exactly(value=False))
# What is no number for the purpose of intervals.
EDGES: Final = (Exactly(math.inf), Exactly(-math.inf), Exactly(math.nan))
SOME_NUMBER: Final = (Some(Kind.NUMBER), *EDGES)
ANYTHING: Final = (NULL, *BOOLEANS, *SOME_NUMBER, Some(Kind.TEXT), Some(Kind.LIST), Some(Kind.OBJECT))
_EMPTY: Final[dict[Kind, Any]] = {Kind.TEXT: "", Kind.LIST: [], Kind.OBJECT: {}}
_ORDER: Final = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}
_MAX_OPTIONS: Final = 24


@dataclass(frozen=True, slots=True)
class Possible:
    """What an expression may come to.

    :param options: one of these; none where it always fails.
    :param may_fail: or it fails.
    """

    options: tuple[Option, ...]
    may_fail: bool = False

    @property
    def may_be_true(self) -> bool:
        return any(true_part(option) is not None for option in self.options)

    @property
    def may_be_false(self) -> bool:
        return any(false_part(option) is not None for option in self.options)

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset(option.kind for option in self.options)


def possible(options: Iterable[Option], *, may_fail: bool = False) -> Possible:
    """Each option once; where they are too many, kinds instead of values."""
    by_key = {_key(option): option for option in options}
    if len(by_key) > _MAX_OPTIONS:
        kinds = {option.kind for option in by_key.values()}
        by_key = {_key(option): option for option in ANYTHING if option.kind in kinds}
    return Possible(tuple(by_key.values()), may_fail)


def true_part(option: Option) -> Option | None:
    """The option where JMESPath takes it for true; None where it never does."""
    if isinstance(option, Exactly):
        return option if is_true(option.value) else None
    return replace(option, besides=(*option.besides, "")) if option.kind is Kind.TEXT else option


def false_part(option: Option) -> Option | None:
    """The option where JMESPath takes it for false; None where it never does."""
    if isinstance(option, Exactly):
        return None if is_true(option.value) else option
    if option.kind not in _EMPTY or _EMPTY[option.kind] in option.besides:
        return None
    return Exactly(_EMPTY[option.kind])


def compared(comparison: str, left: Sequence[Option], right: Sequence[Option]) -> Possible:
    """What comes of a comparison, as jmespath names it: ``eq``, ``ne``, ``lt``, ``lte``, ``gt`` or ``gte``."""
    answers: list[Option] = []
    may_fail = False
    for one in left:
        for other in right:
            if comparison in {"eq", "ne"}:
                answers += [Exactly(same is (comparison == "eq")) for same in _may_be_equal(one, other)]
                continue
            ordered = _ordered(comparison, one, other)
            may_fail = may_fail or ordered is None
            answers += ordered or ()
    return possible(answers, may_fail=may_fail)


def _may_be_equal(one: Option, other: Option) -> set[bool]:
    if isinstance(one, Exactly) and isinstance(other, Exactly):
        return {bool(TreeInterpreter.COMPARATOR_FUNC["eq"](one.value, other.value))}
    if one.kind is not other.kind:
        return {False}
    if isinstance(one, Exactly):
        one, other = other, one
    if isinstance(one, Some) and isinstance(other, Exactly):
        if one.kind is Kind.TEXT:
            return {False} if other.value in one.besides else {True, False}
        if one.kind is Kind.NUMBER and not one.low < other.value < one.high:
            return {False}
    if isinstance(one, Some) and isinstance(other, Some) and (one.high <= other.low or other.high <= one.low):
        return {False}
    return {True, False}


def _ordered(comparison: str, one: Option, other: Option) -> Sequence[Option] | None:
    """None where it fails: a number and a text cannot be ordered, though both are comparable to jmespath."""
    if not {one.kind, other.kind} <= {Kind.NUMBER, Kind.TEXT}:
        return (NULL,)
    if one.kind is not other.kind:
        return None
    if isinstance(one, Exactly) and isinstance(other, Exactly):
        return (Exactly(bool(_ORDER[comparison](one.value, other.value))),)
    if one.kind is Kind.NUMBER:
        (low, high), (other_low, other_high) = _bounds(one), _bounds(other)
        is_less = comparison in {"lt", "lte"}
        if high <= other_low:
            return (Exactly(is_less),)
        if other_high <= low:
            return (Exactly(not is_less),)
    return BOOLEANS


def _bounds(option: Option) -> tuple[float, float]:
    return (option.value, option.value) if isinstance(option, Exactly) else (option.low, option.high)


def _key(option: Option) -> str:
    return json.dumps(option.value, sort_keys=True) if isinstance(option, Exactly) else repr(option)
