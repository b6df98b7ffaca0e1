"""Determines if a condition can be true, and with which values. Pure.

Each name has a finite list of representative values: every literal in the conditions, and one or more values between
the literals, which the conditions cannot distinguish from their neighbors. jmespath evaluates the conditions on all
combinations. The representatives cover every value: a condition that is true for none of them is never true.

For rarer expressions, and for functions of names that may have any value, only the kind of the result is known. They
are evaluated as well when the search is for values that make a condition true. Such values are a proposal and must be
checked on a real event.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, pairwise, permutations, product
from typing import Any, Final

from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from shared.routing.expression_tree import NARROWING, Tree, free_paths, nodes, value_at
from shared.routing.templates import is_true
from tools.routes.event_values import Options, Path, options
from tools.routes.possible_values import (
    ANYTHING,
    BOOLEANS,
    NULL,
    SOME_NUMBER,
    Exactly,
    Kind,
    Option,
    Some,
    fits,
    kind_of,
)

FAILED: Final = "failed"
"""The answer of an expression that cannot be evaluated."""
SAMPLE: Final = "sample"
"""The string that represents all strings that are not literals."""

Answer = bool | str
"""The truth of an expression, or the kind of its result, or ``FAILED``."""

_MAX_CASES: Final = 2_000
"""With more cases, an expression is assumed to give anything."""
_MAX_SPECIAL: Final = 20
_MAX_LENGTH: Final = 1_024
_INTERPRETER: Final = TreeInterpreter()
_NOTHING: Final[Mapping[Path, Any]] = {}
_FAILS: Final = object()
"""The value of an expression that cannot be evaluated."""
_CONNECTIVES: Final = {"and_expression", "or_expression", "not_expression"}
_LISTS: Final = {"projection", "value_projection", "filter_projection", "flatten"}
_ARGUMENT_KINDS: Final = {
    "string": {Kind.STRING},
    "number": {Kind.NUMBER},
    "boolean": {Kind.BOOLEAN},
    "null": {Kind.NULL},
    "object": {Kind.OBJECT},
    "array": {Kind.LIST},
    "array-number": {Kind.LIST},
    "array-string": {Kind.LIST},
}
_RESULTS: Final[Mapping[str, Options]] = {
    **dict.fromkeys(("contains", "starts_with", "ends_with"), BOOLEANS),
    **dict.fromkeys(("abs", "ceil", "floor", "length", "sum"), SOME_NUMBER),
    **dict.fromkeys(("avg", "to_number"), (*SOME_NUMBER, NULL)),
    **dict.fromkeys(("join", "to_string", "type"), (Some(Kind.STRING),)),
    **dict.fromkeys(("keys", "values", "map", "sort", "sort_by", "to_array"), (Some(Kind.LIST),)),
    "merge": (Some(Kind.OBJECT),),
}
_ELEMENTS: Final = {"array-number": Kind.NUMBER, "array-string": Kind.STRING}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about the events that reach a route.

    :param event: the event type.
    :param with_children: whether the route includes child runs.
    :param values: the known values of names.
    """

    event: str
    with_children: bool = False
    values: Mapping[Path, Any] = field(default_factory=dict)

    def options(self, path: Path) -> Options:
        """Return the values that a condition may find at a path."""
        lowercase = {_lowercase(spelled): value for spelled, value in self.values.items()}
        for length in range(len(path), 0, -1):
            known = _lowercase(path[:length])
            if known in lowercase:
                return (Exactly(value_at(self.values.get(path[:length], lowercase[known]), path[length:])),)
        return options(self.event, path, with_children=self.with_children)


def truths(trees: Sequence[Tree], known: Known) -> frozenset[tuple[Answer, ...]]:
    """Return the combinations of ``True``, ``False`` and ``FAILED`` that the conditions may give for one event.

    The result contains every possible combination, and sometimes an impossible one.
    """
    return _answers(trees, known, is_true, (True, False, FAILED))


def may_be_true(tree: Tree, known: Known) -> bool:
    """Return whether a condition can be true."""
    return (True,) in truths([tree], known)


def kinds(tree: Tree, known: Known) -> frozenset[Kind]:
    """Return the kinds of values that an expression may give; none if it always fails."""
    answers = _answers([tree], known, kind_of, (*Kind, FAILED))
    return frozenset(answer for (answer,) in answers if isinstance(answer, Kind))


def on_scope(tree: Tree) -> Iterator[Tree]:
    """Yield an expression and the parts of it that are evaluated on the same scope."""
    yield tree
    for child in tree["children"][:1] if tree["type"] in NARROWING else tree["children"]:
        if isinstance(child, dict) and tree["type"] != "expref":
            yield from on_scope(child)


def path_of(tree: Tree) -> Path | None:
    """Return the path if the expression is only a path; otherwise None."""
    parts = tree["children"] if tree["type"] == "subexpression" else [tree]
    return tuple(part["value"] for part in parts) if all(part["type"] == "field" for part in parts) else None


def refused_argument(call: Tree, known: Known) -> Tree | None:
    """Return the first argument whose kind the function never accepts; None if there is none."""
    signature = Functions.FUNCTION_TABLE[call["value"]]["signature"]
    arguments: Sequence[Tree] = call["children"]
    for index, argument in enumerate(arguments):
        wanted = signature[min(index, len(signature) - 1)]["types"]
        if call["value"] == "contains" and index == 1 and kinds(arguments[0], known) <= {Kind.STRING, Kind.NULL}:
            wanted = ["string"]
        if argument["type"] == "expref" or not wanted or "expref" in wanted:
            continue
        if not kinds(argument, known) & {kind for name in wanted for kind in _ARGUMENT_KINDS[name]}:
            return argument
        if argument["type"] == "multi_select_list" and set(wanted) <= _ELEMENTS.keys():
            elements: Sequence[Tree] = argument["children"]
            accepted = {_ELEMENTS[name] for name in wanted}
            if (refused := next((each for each in elements if not kinds(each, known) & accepted), None)) is not None:
                return refused
    return None


@dataclass(frozen=True, slots=True)
class Proposal:
    """Values that make a condition true.

    :param required: the paths for which no other value makes it true.
    """

    values: Mapping[Path, Any]
    required: frozenset[Path]


def proposals(tree: Tree, known: Known, start: Any, is_wanted: Callable[[Any], bool] = is_true) -> Iterator[Proposal]:
    """Propose values that make a condition true, or give an expression another wanted value.

    :param start: the scope to start from. Its values are kept if they make the condition true.
    """
    search = _Search([tree], known, is_wanted, start)
    for case, answers in islice(search.cases(), _MAX_CASES):
        if answers == (True,):
            yield Proposal(case, frozenset(path for path in case if search.is_only_value(path, case)))


def _answers(
    trees: Sequence[Tree], known: Known, summary: Callable[[Any], Answer], every: Sequence[Answer]
) -> frozenset[tuple[Answer, ...]]:
    everything = frozenset(product(every, repeat=len(trees)))
    seen: set[tuple[Answer, ...]] = set()
    for number, (_, answers) in enumerate(_Search(trees, known, summary).cases()):
        seen.add(answers)
        if number == _MAX_CASES or len(seen) == len(everything):
            return everything
    return frozenset(seen)


class _Undecided(Exception):
    """The evaluation needs the value of a path that has none yet."""

    def __init__(self, path: Path) -> None:
        self.path = path


class _Case(dict[Path, Any]):
    """The values chosen so far, as a scope for jmespath. Names that are not paths belong to other scopes."""

    def get(self, key: Any, default: Any = None) -> Any:
        if not isinstance(key, tuple):
            return default
        if key not in self:
            raise _Undecided(key)
        if self[key] is _FAILS:
            raise ValueError
        return self[key]


class _Search:
    """A search through the combinations of representative values.

    :param summary: the property of each result that is compared, such as its truth or kind.
    :param start: the scope that proposals start from; None to cover all values instead.
    """

    def __init__(
        self, trees: Sequence[Tree], known: Known, summary: Callable[[Any], Answer], start: Any = None
    ) -> None:
        self._known = known
        self._summary = summary
        self._start = start
        self._options: dict[Path, Options] = {}
        self._trees = [self._prepared(tree) for tree in trees]
        self._leaves = [leaf for tree in self._trees for leaf in _leaves(tree)]
        self._representatives = cache(self._distinguished)
        together = [paths for leaf in self._leaves if len(paths := _paths(leaf)) > 1]
        self._compared: set[Path] = set().union(*together)

    def cases(self, case: Mapping[Path, Any] = _NOTHING) -> Iterator[tuple[Mapping[Path, Any], tuple[Answer, ...]]]:
        """Yield the relevant combinations of values, each with the answers of the expressions.

        :param case: the values that are already chosen.
        """
        scope = _Case(case)
        try:
            answers = tuple(self._answer(tree, scope, self._summary) for tree in self._trees)
        except _Undecided as exc:
            for value in self._representatives(exc.path):
                yield from self.cases({**case, exc.path: value})
        else:
            yield case, answers

    def is_only_value(self, path: Path, case: Mapping[Path, Any]) -> bool:
        """Return whether no other value at the path makes the condition true."""
        others = [{**case, path: value} for value in self._values(path) if value != case[path]]
        return not any(next(self.cases(other))[1] == (True,) for other in others)

    def _answer(self, tree: Tree, case: _Case, summary: Callable[[Any], Any]) -> Any:
        try:
            return summary(_INTERPRETER.visit(tree, case))  # type: ignore[arg-type]  # its stubs want their own type
        except _Undecided:
            raise
        except Exception:  # noqa: BLE001 - jmespath lets TypeError and ValueError through as well
            return FAILED

    def _prepared(self, tree: Tree) -> Tree:
        """Return the expression with each path replaced by a single field that is named by the path."""
        kind, children = tree["type"], tree["children"]
        if (path := path_of(tree)) is not None:
            return self._field(path, self._known.options(path))
        if kind in {*_CONNECTIVES, "comparator", "literal"}:
            return {**tree, "children": [self._prepared(child) for child in children]}
        if self._start is None and not self._is_finite(tree):
            return self._field((str(tree),), self._result(tree))
        if kind == "expref":
            return tree
        number = 1 if kind in NARROWING else len(children)
        prepared = [self._prepared(child) if isinstance(child, dict) else child for child in children[:number]]
        return {**tree, "children": [*prepared, *children[number:]]}

    def _is_finite(self, tree: Tree) -> bool:
        """Return whether all values that the expression may use are known, so that it can be evaluated on each."""
        if any(node["type"] in {"current", "expref"} for node in nodes(tree)):
            return False
        paths = [path for path, _ in free_paths(tree)]
        return all(isinstance(option, Exactly) for path in paths for option in self._known.options(path))

    def _field(self, path: Path, found: Options) -> Tree:
        self._options[path] = found
        return {"type": "field", "value": path, "children": []}

    def _result(self, tree: Tree) -> Options:
        """Return the possible results of a function or another expression that is not evaluated."""
        failure = (Exactly(_FAILS),) if _can_fail(tree) else ()
        match tree["type"]:
            case "function_expression" if refused_argument(tree, self._known) is not None:
                return failure
            case "function_expression":
                return (*_RESULTS.get(tree["value"], ANYTHING), *failure)
            case "subexpression" if tree["children"][1]["type"] == "field":
                has_names = Kind.OBJECT in kinds(tree["children"][0], self._known)
                return (*(ANYTHING if has_names else (NULL,)), *failure)
            case kind if kind in _LISTS:
                return (Some(Kind.LIST), NULL, *failure)
        return (*ANYTHING, *failure)

    def _distinguished(self, path: Path) -> list[Any]:
        """Return the representatives. If every leaf answers several of them alike, only the first is included."""
        if path in self._compared:
            return self._values(path)
        leaves = [leaf for leaf in self._leaves if path in _paths(leaf)]
        found: dict[Any, Any] = {}
        for value in self._values(path):
            case = _Case({path: value})
            answers = [self._answer(leaf, case, lambda each: (is_true(each), self._summary(each))) for leaf in leaves]
            found.setdefault(tuple(answers), value)
        return list(found.values())

    def _values(self, path: Path) -> list[Any]:
        """Return the representatives of the values at a path, the simplest first.

        Paths that are compared with each other need the same representatives, one for each path.
        """
        related = self._compared if path in self._compared else {path}
        literals = [value for leaf in self._leaves if _paths(leaf) & related for value in _literals(leaf)]
        literals += [
            option.value for other in related for option in self._options[other] if isinstance(option, Exactly)
        ]
        count = max(2, len(related))
        found = [value for option in self._options[path] for value in _representatives(option, literals, count)]
        start = []
        if self._start is not None:
            start = [value_at(self._start, path)]
            special = list(_special_texts(literals))
            found += [text for text in special if any(fits(option, text) for option in self._options[path])]
        found.sort(key=lambda value: kind_of(value) is not Kind.STRING)
        return list({repr(value): value for value in (*start, *found)}.values())


def _representatives(option: Option, literals: Sequence[Any], count: int) -> Iterator[Any]:
    """Yield the literals of the option's kind, and some values between each two of them.

    :param count: the number of values between two literals.
    """
    if isinstance(option, Exactly):
        yield option.value
        return
    of_kind = [value for value in literals if kind_of(value) is option.kind and fits(option, value)]
    texts = [value for value in literals if isinstance(value, str)]
    numbers = sorted({value for value in literals if kind_of(value) is Kind.NUMBER and math.isfinite(value)})
    steps = range(1, count + 1)
    match option.kind:
        case Kind.NUMBER:
            yield from _around(numbers or [0], count)
        case Kind.STRING:
            # In sort order, a string that is extended with the lowest character is between it and the next one.
            between = (text + "\0" * step for text in ("", *texts) for step in steps)
            found = (SAMPLE, *texts, *map(str, _around(numbers, 1)), "", *between)
            yield from (text for text in found if text not in option.excluded)
        case Kind.LIST:
            yield from ([], *of_kind, *([text] for text in texts), *([SAMPLE] * step for step in steps))
        case Kind.OBJECT:
            yield from ({}, *of_kind, *({SAMPLE: step} for step in steps))


def _special_texts(literals: Sequence[Any]) -> Iterator[str]:
    """Yield numbers as text, texts that begin and end with literals, and texts as long as literal numbers say."""
    yield from ("1", "0")
    texts = [value for value in literals if isinstance(value, str)]
    yield from map("".join, islice(permutations(texts, 2), _MAX_SPECIAL))
    lengths = [value for value in literals if kind_of(value) is Kind.NUMBER and 0 < value <= _MAX_LENGTH]
    yield from ((SAMPLE * int(value))[: int(value)] for value in lengths)


def _around(numbers: Sequence[float], count: int) -> Iterator[float]:
    """Yield the numbers, which are sorted, and some numbers above, below and between them."""
    steps = range(1, count + 1)
    yield from numbers
    yield from (number + step for number in numbers[-1:] for step in steps)
    yield from (number - step for number in numbers[:1] for step in steps)
    yield from (low + (high - low) * step / (count + 1) for low, high in pairwise(numbers) for step in steps)


def _lowercase(path: Path) -> Path:
    return tuple(map(str.lower, path))


def _leaves(tree: Tree) -> Iterator[Tree]:
    """Yield the operands of ``&&``, ``||`` and ``!``."""
    if tree["type"] in _CONNECTIVES:
        for child in tree["children"]:
            yield from _leaves(child)
    else:
        yield tree


def _paths(leaf: Tree) -> set[Path]:
    return {node["value"] for node in nodes(leaf) if node["type"] == "field" and isinstance(node["value"], tuple)}


def _literals(leaf: Tree) -> Iterator[Any]:
    for node in nodes(leaf):
        if node["type"] == "literal":
            yield node["value"]
            yield from node["value"] if isinstance(node["value"], list) else ()


def _can_fail(tree: Tree) -> bool:
    """Return whether the expression contains a function or an ordering comparison."""
    return any(
        node["type"] == "function_expression" or (node["type"] == "comparator" and node["value"] not in {"eq", "ne"})
        for node in nodes(tree)
    )
