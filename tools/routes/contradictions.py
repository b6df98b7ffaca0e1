"""Explains why an expression can never be true, or never be evaluated. Pure."""

import json
import math
from collections.abc import Iterator, Set
from typing import Final

from jmespath.functions import Functions

from shared.routing.expression_tree import Tree, free_paths, operands
from shared.suggestion import nearest
from tools.routes.conditions import Known, kinds, may_be_true, on_scope, path_of, refused_argument, truths
from tools.routes.event_values import Options, Path
from tools.routes.forms import compared
from tools.routes.possible_values import NULL, Exactly, Kind, Some, kind_of

_MAX_NAMED: Final = 6
_EQUALITIES: Final = {"eq", "ne"}
_ORDERED: Final = {Kind.NUMBER, Kind.STRING}


def why_never(text: str, tree: Tree, known: Known) -> str:
    """Return which part is wrong and what would be right, or an empty string if that is unknown.

    :param text: an expression that can never be true.
    :param tree: the tree of the expression.
    """
    inner = operands(text, tree)
    if (path := path_of(tree)) is not None:
        return _below_a_string(path, known)
    match tree["type"]:
        case "comparator":
            return _comparison(tree, inner, known) or _wrong_call(tree, known)
        case "and_expression" | "or_expression":
            return _wrong_part(tree, inner, known)
        case "subexpression" if tree["children"][0]["type"] == "not_expression":
            rest = text.strip().removeprefix("!")
            return f"'!' binds more tightly than '.', so this looks up a name in a boolean; write !({rest})"
    return _wrong_call(tree, known) or _never_searched(tree, known)


def wrong_kinds(text: str, tree: Tree, known: Known) -> Iterator[tuple[str, str, str]]:
    """Yield each comparison that never holds or always does, and each call that never holds or always fails.

    The reason is a kind, or that a name has only few values. Each is its text, what is wrong, and what would be right.
    """
    inner = operands(text, tree)
    if tree["type"] == "comparator":
        (_, left), (_, right) = inner
        common = kinds(left, known) & kinds(right, known)
        is_equality = tree["value"] in _EQUALITIES
        if reason := _comparison(tree, inner, known):
            always = tree["value"] == "ne"
            is_certain = truths([tree], known) == {(True,)} if always else not may_be_true(tree, known)
            if is_certain or not (common - {Kind.NULL} if is_equality else common & _ORDERED):
                yield text, f"{'always' if always else 'never'} holds", reason
        elif not is_equality and common == {Kind.STRING}:
            yield from _numbers_as_strings(text, inner)
    elif not inner and (reason := _wrong_call(tree, known)):
        yield text, "always fails, so it parks the events for which it is evaluated", reason
    elif (reason := _never_searched(tree, known)) and not may_be_true(tree, known):
        yield text, "never holds", reason
    for part_text, part in inner:
        yield from wrong_kinds(part_text, part, known)


def _numbers_as_strings(text: str, sides: list[tuple[str, Tree]]) -> Iterator[tuple[str, str, str]]:
    for (side, _), (_, other) in (sides, sides[::-1]):
        if other["type"] == "literal" and is_number(other["value"]):
            message = "may not be meant: strings are compared character by character, so '10' comes before '9'"
            yield text, message, f"write to_number({side}), and `{other['value']}` in backquotes"


def _wrong_part(tree: Tree, parts: list[tuple[str, Tree]], known: Known) -> str:
    never_true = [(text, part) for text, part in parts if not may_be_true(part, known)]
    for text, part in never_true:
        if reason := why_never(text, part, known):
            return reason
    if never_true or tree["type"] == "or_expression":
        return ""
    return f"these exclude each other: {' and '.join(text for text, _ in parts)}"


def _comparison(tree: Tree, sides: list[tuple[str, Tree]], known: Known) -> str:
    """Return why the two sides are never equal, or never in this order."""
    is_equality = tree["value"] in _EQUALITIES
    for (text, side), (_, other) in (sides, sides[::-1]):
        path = path_of(side)
        if path is not None and (reason := _below_a_string(path, known)):
            return reason
        if other["type"] == "literal":
            found = () if path is None else known.options(path)
            return _allowed_values(text, found, kinds(side, known), other["value"], is_equality=is_equality)
    (left, left_kinds), (right, right_kinds) = ((text, kinds(side, known) - {Kind.NULL}) for text, side in sides)
    if left_kinds & right_kinds or not left_kinds or not right_kinds:
        return ""
    return f"{left} is {_listed(sorted(left_kinds))}, but {right} is {_listed(sorted(right_kinds))}"


def _allowed_values(text: str, found: Options, wanted: Set[Kind], value: object, *, is_equality: bool) -> str:
    if reason := _few_values(text, found, value):
        return reason
    wanted = wanted - {Kind.NULL}
    given = kind_of(value)
    if given in wanted or not wanted or given is Kind.NULL:
        return ""
    advice = ""
    if wanted == {Kind.STRING} and given is Kind.NUMBER and not is_equality:
        advice = f"; write to_number({text})"
    elif wanted == {Kind.STRING} and given in {Kind.NUMBER, Kind.BOOLEAN}:
        advice = f"; write '{json.dumps(value)}'"
    elif (wanted == {Kind.NUMBER} and is_number(value)) or (wanted == {Kind.BOOLEAN} and value in {"true", "false"}):
        advice = f"; write `{value}`"
    return f"{text} is {_listed(sorted(wanted))}, but the literal is {given}{advice}"


def _few_values(text: str, found: Options, value: object) -> str:
    """Return which strings a name may be, and which one was probably meant; empty if it may be anything else."""
    exact = [option.value for option in found if isinstance(option, Exactly)]
    if not exact or not len(exact) == len(found) <= _MAX_NAMED or not all(isinstance(each, str) for each in exact):
        return ""
    near = nearest(value, exact) if isinstance(value, str) else None
    advice = "" if near is None else f"; did you mean '{near}'?"
    return f"{text} is {_listed([repr(each) for each in exact])}{advice}"


def _below_a_string(path: Path, known: Known) -> str:
    """Return why a path that leads below a tag finds nothing; empty if it does not."""
    top, *names = path
    if not names[1:] or known.options(path) != (NULL,) or Some(Kind.STRING) not in known.options(path[:2]):
        return ""
    return f'the values of {top} are strings, which have no names; for a key with dots, write {top}."{".".join(names)}"'


def _never_searched(tree: Tree, known: Known) -> str:
    """Return the few values that a name has, if the expression searches for a string in it, or for it in a list."""
    found = ((path_of(name), value) for name, value, *_ in compared(tree) if tree["type"] == "function_expression")
    reasons = (_few_values(".".join(path), known.options(path), value) for path, value in found if path is not None)
    return next(filter(None, reasons), "")


def is_number(value: object) -> bool:
    """Return whether a string is a number."""
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _wrong_call(tree: Tree, known: Known) -> str:
    """Return why a call in an expression always fails; empty if none does."""
    calls = (part for part in on_scope(tree) if part["type"] == "function_expression")
    return next((reason for call in calls if (reason := _wrong_argument(call, known))), "")


def _wrong_argument(call: Tree, known: Known) -> str:
    argument = refused_argument(call, known)
    if argument is None:
        return ""
    path, given = path_of(argument), kinds(argument, known)
    paths = [".".join(path) for path, _ in free_paths(argument)]
    what = paths[0] if len(paths) == 1 and path is not None else "the argument"
    advice = ""
    if argument["type"] == "literal" and given & {Kind.NUMBER, Kind.BOOLEAN}:
        advice = f"; write '{json.dumps(argument['value'])}'"
    elif path is not None and Kind.STRING in given and _takes_number(call, argument):
        advice = f"; write to_number({what})"
    return f"{what} is {_listed(sorted(given))}, which {call['value']}() does not accept{advice}" if given else ""


def _takes_number(call: Tree, argument: Tree) -> bool:
    """Return whether a number would be accepted in place of an argument, or of an element of an argument."""
    types = {name for each in Functions.FUNCTION_TABLE[call["value"]]["signature"] for name in each["types"]}
    is_element = all(argument is not child for child in call["children"])
    return ("array-number" if is_element else "number") in types


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}" if words else ""
