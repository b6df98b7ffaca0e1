"""Ways in which a route's condition may come true, read off the condition itself. Pure.

Only what people write is solved: comparisons of a name with a literal, ``contains`` and its like, joined by and, or and
not. What else is in a condition is left to luck, so whoever uses a way must see for himself whether it leads there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jmespath

Path = tuple[str, ...]
"""A name and the names below it: ``("model_tags", "stage")``."""


class _Something:
    """Any value that is neither null nor empty."""


SOMETHING: Final = _Something()


@dataclass(frozen=True, slots=True)
class Wish:
    """What a name should find.

    :param value: a JSON value, None for nothing at all, or ``SOMETHING``.
    :param is_required: whether the condition wants this very value, and no other would do in its place.
    """

    path: Path
    value: Any
    is_required: bool = False


Way = tuple[Wish, ...]
_Node = Mapping[str, Any]

_CONVERSE: Final = {"eq": "eq", "ne": "ne", "lt": "gt", "lte": "gte", "gt": "lt", "gte": "lte"}
_OPPOSITE: Final = {"eq": "ne", "ne": "eq", "lt": "gte", "lte": "gt", "gt": "lte", "gte": "lt"}
_STEP: Final = {"lt": -1, "lte": 0, "gt": 1, "gte": 0}
# Of these the first child alone is evaluated on the event; the others see what the first one found.
_NARROWING: Final = {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe"}
_LEAVE_IT: Final[Way] = ()


def ways(condition: str) -> Iterator[Way]:
    """What to wish for, one way after the other, the nearest first.

    :param condition: JMESPath that compiles.
    """
    return _ways(jmespath.compile(condition).parsed, want=True)


def paths_in(expression: str) -> frozenset[Path]:
    """The names that an expression looks up.

    :param expression: JMESPath that compiles.
    """
    return frozenset(_paths_in(jmespath.compile(expression).parsed))


def _ways(node: _Node, *, want: bool) -> Iterator[Way]:
    children = node["children"]
    match node["type"]:
        case "and_expression" | "or_expression" as kind:
            if (kind == "and_expression") == want:
                yield from (
                    first + second
                    for first in _ways(children[0], want=want)
                    for second in _ways(children[1], want=want)
                )
            else:
                yield from _ways(children[0], want=want)
                yield from _ways(children[1], want=want)
        case "not_expression":
            yield from _ways(children[0], want=not want)
        case "comparator":
            yield from _compared(node["value"], children, want=want)
        case "function_expression" if node["value"] in _FUNCTIONS and len(children) > 1:
            yield from _FUNCTIONS[node["value"]](children[0], children[1], want)
        case _:
            path = _path(node)
            yield _LEAVE_IT if path is None else (Wish(path, SOMETHING if want else None),)


def _compared(operator: str, sides: Sequence[_Node], *, want: bool) -> Iterator[Way]:
    left, right = sides
    if _is_literal(left):
        left, right, operator = right, left, _CONVERSE[operator]
    if not want:
        operator = _OPPOSITE[operator]
    is_text = left["type"] == "function_expression" and left["value"] == "to_number"
    path = _path(left["children"][0] if is_text else left)
    if path is None or not _is_literal(right):
        yield _LEAVE_IT
        return
    literal = _literal(right)
    if operator in _STEP:
        if not _is_number(literal):
            yield _LEAVE_IT
            return
        value, is_required = literal + _STEP[operator], False
    else:
        value, is_required = (literal, True) if operator == "eq" else (_other_than(literal), False)
    yield (Wish(path, str(value) if is_text and _is_number(value) else value, is_required),)


def _contains(whole: _Node, part: _Node, want: bool) -> Iterator[Way]:  # noqa: FBT001 - one of a table's functions
    path = _path(whole)
    if path is not None and _is_literal(part):
        yield (Wish(path, _literal(part) if want else None),)
        return
    path = _path(part)
    choices = _literal(whole) if _is_literal(whole) else None
    if path is None or not isinstance(choices, list):
        yield _LEAVE_IT
    elif want:
        yield from ((Wish(path, choice, is_required=True),) for choice in choices)
    else:
        yield (Wish(path, "sample"),)


def _begins_or_ends(whole: _Node, part: _Node, want: bool) -> Iterator[Way]:  # noqa: FBT001 - the same
    path = _path(whole)
    if path is None or not _is_literal(part):
        yield _LEAVE_IT
    else:
        yield (Wish(path, _literal(part) if want else _other_than(_literal(part))),)


_FUNCTIONS: Final[Mapping[str, Callable[[_Node, _Node, bool], Iterator[Way]]]] = {
    "contains": _contains,
    "starts_with": _begins_or_ends,
    "ends_with": _begins_or_ends,
}


def _paths_in(node: _Node) -> Iterator[Path]:
    path = _path(node)
    if path is not None:
        yield path
        return
    if node["type"] == "expref":
        return
    children = node["children"]
    for child in children[:1] if node["type"] in _NARROWING else children:
        if isinstance(child, Mapping):  # a slice's children are numbers
            yield from _paths_in(child)


def _path(node: _Node) -> Path | None:
    if node["type"] == "field":
        return (str(node["value"]),)
    if node["type"] == "subexpression" and all(child["type"] == "field" for child in node["children"]):
        return tuple(str(child["value"]) for child in node["children"])
    return None


def _is_literal(node: _Node) -> bool:
    if node["type"] == "multi_select_list":
        return all(_is_literal(child) for child in node["children"])
    return bool(node["type"] == "literal")


def _literal(node: _Node) -> Any:
    return node["value"] if node["type"] == "literal" else [_literal(child) for child in node["children"]]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _other_than(literal: Any) -> Any:
    """A value of the same kind that is another one."""
    if literal is None:
        return SOMETHING
    if isinstance(literal, bool):
        return not literal
    if _is_number(literal):
        return literal + 1
    return "other" if literal == "sample" else "sample"
