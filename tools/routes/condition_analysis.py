"""What conditions may come to, whatever the event: can one ever be true, can two be true at once? Pure.

Everything that may happen is reckoned with, so "never" is certain and "may" is only that. Names that stand more than
once are taken apart into cases (each text they are compared with, any other text, the numbers between, …), so that
what excludes itself is seen.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any, Final

from jmespath.functions import Functions

from shared.routing.expression_tree import Tree, free_paths, nodes
from tools.events.values import Options, Path, options
from tools.routes.possible_values import (
    ANYTHING,
    BOOLEANS,
    NULL,
    SOME_NUMBER,
    Exactly,
    Kind,
    Option,
    Possible,
    Some,
    compared,
    false_part,
    possible,
    true_part,
)

_MAX_CASES: Final = 1_000
_FUNCTION_KINDS: Final = {
    "string": {Kind.TEXT},
    "number": {Kind.NUMBER},
    "boolean": {Kind.BOOLEAN},
    "null": {Kind.NULL},
    "object": {Kind.OBJECT},
    "array": {Kind.LIST},
    "array-number": {Kind.LIST},
    "array-string": {Kind.LIST},
}
_ANSWERS: Final[Mapping[str, Options]] = {
    **dict.fromkeys(("contains", "starts_with", "ends_with"), BOOLEANS),
    **dict.fromkeys(("abs", "ceil", "floor", "length", "sum"), SOME_NUMBER),
    **dict.fromkeys(("avg", "to_number"), (*SOME_NUMBER, NULL)),
    **dict.fromkeys(("join", "to_string", "type"), (Some(Kind.TEXT),)),
    **dict.fromkeys(("keys", "values", "map", "sort", "sort_by", "to_array"), (Some(Kind.LIST),)),
    "merge": (Some(Kind.OBJECT),),
}
_Part = Callable[[Option], Option | None]
_LISTS: Final = {"projection", "value_projection", "filter_projection", "flatten"}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the events that reach a route.

    :param event: their type.
    :param with_children: the route takes child runs too.
    :param values: what a path surely holds.
    """

    event: str
    with_children: bool = False
    values: Mapping[Path, Any] = field(default_factory=dict)

    def options(self, path: Path) -> Options:
        """What may be found under a path."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.values:
                value = self.values[path[:length]]
                for name in path[length:]:
                    value = value.get(name) if isinstance(value, dict) else None
                return (Exactly(value),)
        return options(self.event, path, with_children=self.with_children)


def may_be(tree: Tree, known: Known) -> Possible:
    """All that an expression may come to."""
    answers = [answer for (answer,) in cases([tree], known)]
    return possible(
        (option for answer in answers for option in answer.options),
        may_fail=any(answer.may_fail for answer in answers),
    )


def cases(trees: Sequence[Tree], known: Known) -> Iterator[tuple[Possible, ...]]:
    """For each case that there may be, what each expression comes to in it."""
    split = _split(trees, known)
    for chosen in product(*split.values()):
        given = {path: (option,) for path, option in zip(split, chosen, strict=True)}
        yield tuple(_Evaluation(known, given).of(tree) for tree in trees)


def _split(trees: Sequence[Tree], known: Known) -> dict[Path, Options]:
    """The paths that are taken apart, and into what; not more than can be gone through."""
    counts = Counter(path for tree in trees for path, _ in free_paths(tree))
    literals: dict[Path, list[Any]] = {}
    for tree in trees:
        for path, value in _literals(tree):
            literals.setdefault(path, []).append(value)
    split: dict[Path, Options] = {}
    number = 1
    for path, count in counts.items():
        parts = _taken_apart(known.options(path), literals.get(path, []))
        if count > 1 and number * len(parts) <= _MAX_CASES:
            split[path] = parts
            number *= len(parts)
    return split


def _literals(tree: Tree) -> Iterator[tuple[Path, Any]]:
    """What each path is compared with."""
    for node in nodes(tree):
        if node["type"] == "comparator":
            for one, other in (node["children"], reversed(node["children"])):
                paths = list(free_paths(one))
                if other["type"] == "literal" and len(paths) == 1:
                    yield paths[0][0], other["value"]


def _taken_apart(found: Options, literals: Sequence[Any]) -> Options:
    """The options as cases that do not overlap; the literals are cases of their own."""
    texts = tuple(dict.fromkeys(("", *(value for value in literals if isinstance(value, str)))))
    numbers = sorted({value for value in literals if isinstance(value, int | float) and not isinstance(value, bool)})
    parts: list[Option] = []
    for option in found:
        if isinstance(option, Some) and option.kind is Kind.TEXT:
            parts += [Exactly(text) for text in texts if text not in option.besides]
            parts.append(Some(Kind.TEXT, besides=tuple(dict.fromkeys((*option.besides, *texts)))))
        elif isinstance(option, Some) and option.kind is Kind.NUMBER:
            parts += [Exactly(number) for number in numbers]
            parts += [Some(Kind.NUMBER, low=low, high=high) for low, high in pairwise((-math.inf, *numbers, math.inf))]
        elif isinstance(option, Some):
            parts += [option, *(empty for empty in (false_part(option),) if empty is not None)]
        else:
            parts.append(option)
    return tuple(parts)


class _Evaluation:
    """One expression's evaluation, in one case."""

    def __init__(self, known: Known, given: Mapping[Path, Options]) -> None:
        self._known = known
        self._given = given
        self._by_type: Mapping[str, Callable[[Tree], Possible]] = {
            "literal": lambda tree: possible([Exactly(tree["value"])]),
            "field": self._found,
            "subexpression": self._found,
            "comparator": self._compared,
            "and_expression": lambda tree: self._stopping(tree, stops=false_part, goes_on=true_part),
            "or_expression": lambda tree: self._stopping(tree, stops=true_part, goes_on=false_part),
            "not_expression": self._negated,
            "function_expression": self._called,
        }

    def of(self, tree: Tree) -> Possible:
        """What the expression comes to; the rarer kinds of expression are simply anything."""
        if (evaluate := self._by_type.get(tree["type"])) is not None:
            return evaluate(tree)
        found = (Some(Kind.LIST), NULL) if tree["type"] in _LISTS else ANYTHING
        return possible(found, may_fail=_can_fail(tree))

    def _compared(self, tree: Tree) -> Possible:
        left, right = (self.of(child) for child in tree["children"])
        answer = compared(tree["value"], left.options, right.options)
        return possible(answer.options, may_fail=answer.may_fail or left.may_fail or right.may_fail)

    def _negated(self, tree: Tree) -> Possible:
        inner = self.of(tree["children"][0])
        answers = [Exactly(value=False)] * inner.may_be_true + [Exactly(value=True)] * inner.may_be_false
        return possible(answers, may_fail=inner.may_fail)

    def _found(self, tree: Tree) -> Possible:
        parts = [tree] if tree["type"] == "field" else tree["children"]
        if all(part["type"] == "field" for part in parts):
            path = tuple(part["value"] for part in parts)
            return possible(self._given.get(path) or self._known.options(path))
        first = self.of(tree["children"][0])
        may_fail = first.may_fail or _can_fail(tree)
        if tree["children"][1]["type"] == "field" and Kind.OBJECT not in first.kinds:
            return possible([NULL], may_fail=may_fail)
        return possible(ANYTHING, may_fail=may_fail)

    def _stopping(self, tree: Tree, stops: _Part, goes_on: _Part) -> Possible:
        """``&&`` stops at what is false, ``||`` at what is true; where it goes on, the other operand is the answer."""
        left = self.of(tree["children"][0])
        answers = [part for option in left.options if (part := stops(option)) is not None]
        if all(goes_on(option) is None for option in left.options):
            return possible(answers, may_fail=left.may_fail)
        right = self.of(tree["children"][1])
        return possible((*answers, *right.options), may_fail=left.may_fail or right.may_fail)

    def _called(self, tree: Tree) -> Possible:
        """A function's answer; surely a failure where it is given what it never takes."""
        if refused_argument(tree, lambda argument: self.of(argument).kinds) is not None:
            return Possible((), may_fail=True)
        return possible(_ANSWERS.get(tree["value"], ANYTHING), may_fail=True)


def refused_argument(call: Tree, kinds_of: Callable[[Tree], frozenset[Kind]]) -> Tree | None:
    """The first argument that a function never takes; None where each may be taken."""
    signature = Functions.FUNCTION_TABLE[call["value"]]["signature"]
    arguments: Sequence[Tree] = call["children"]
    for index, argument in enumerate(arguments):
        wanted = signature[min(index, len(signature) - 1)]["types"]
        if argument["type"] == "expref" or not wanted or "expref" in wanted:
            continue
        taken = {kind for name in wanted for kind in _FUNCTION_KINDS[name]}
        if not kinds_of(argument) & taken:
            return argument
    return None


def _can_fail(tree: Tree) -> bool:
    """Whether a function or an ordering is anywhere in the expression."""
    return any(
        node["type"] == "function_expression" or (node["type"] == "comparator" and node["value"] not in {"eq", "ne"})
        for node in nodes(tree)
    )
