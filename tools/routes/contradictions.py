"""Explains why an expression can never be true, or never be evaluated. Pure."""

from typing import Final

from shared.routing.expression_tree import Tree, free_paths, operands
from shared.suggestion import suggestion
from tools.routes.conditions import Known, kinds, may_be_true, path_of, refused_argument
from tools.routes.event_values import Options
from tools.routes.possible_values import Exactly, Kind, kind_of

_MAX_NAMED: Final = 6


def why_never(text: str, tree: Tree, known: Known) -> str:
    """Return which part is wrong and what would be right, or an empty string if that is unknown.

    :param text: an expression that can never be true.
    :param tree: the tree of the expression.
    """
    inner = operands(text, tree)
    match tree["type"]:
        case "comparator":
            return _comparison(tree, inner, known)
        case "and_expression" | "or_expression":
            return _wrong_part(tree, inner, known)
        case "subexpression" if tree["children"][0]["type"] == "not_expression":
            rest = text.strip().removeprefix("!")
            return f"'!' binds more tightly than '.', so this looks up a name in a boolean; write !({rest})"
    return _wrong_argument(tree, known)


def _wrong_part(tree: Tree, parts: list[tuple[str, Tree]], known: Known) -> str:
    never_true = [(text, part) for text, part in parts if not may_be_true(part, known)]
    for text, part in never_true:
        if reason := why_never(text, part, known):
            return reason
    if never_true or tree["type"] == "or_expression":
        return ""
    return f"these exclude each other: {' and '.join(text for text, _ in parts)}"


def _comparison(tree: Tree, sides: list[tuple[str, Tree]], known: Known) -> str:
    """Return the possible values of a path that is compared with a literal."""
    for (text, side), (_, other) in (sides, sides[::-1]):
        if other["type"] == "literal" and (path := path_of(side)) is not None:
            is_equality = tree["value"] in {"eq", "ne"}
            return _allowed_values(text, known.options(path), other["value"], is_equality=is_equality)
    return ""


def _allowed_values(text: str, found: Options, value: object, *, is_equality: bool) -> str:
    exact = [option.value for option in found if isinstance(option, Exactly)]
    if len(exact) == len(found) <= _MAX_NAMED and all(isinstance(each, str) for each in exact):
        near = suggestion(value, exact) if isinstance(value, str) else ""
        is_near = near.startswith("did you mean")
        return f"{text} is {_listed([repr(each) for each in exact])}" + (f"; {near}" if is_near else "")
    wanted = {option.kind for option in found} - {Kind.NULL}
    if kind_of(value) in wanted or not wanted:
        return ""
    advice = ""
    if wanted == {Kind.STRING} and kind_of(value) is Kind.NUMBER:
        advice = f"; write '{value}'" if is_equality else f"; write to_number({text})"
    elif wanted == {Kind.NUMBER} and kind_of(value) is Kind.STRING:
        advice = f"; write `{value}`"
    return f"{text} is {_listed(sorted(wanted))}, but the literal is {kind_of(value)}{advice}"


def _wrong_argument(tree: Tree, known: Known) -> str:
    if tree["type"] != "function_expression":
        return ""
    argument = refused_argument(tree, known)
    if argument is None:
        return ""
    paths = [".".join(path) for path, _ in free_paths(argument)]
    what = paths[0] if len(paths) == 1 and path_of(argument) is not None else "the argument"
    given = _listed(sorted(kinds(argument, known)))
    return f"{what} is {given}, which {tree['value']}() does not accept" if given else ""


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}" if words else ""
