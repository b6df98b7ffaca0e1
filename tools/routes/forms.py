"""Finds strings that are not written as the names are with which they are compared: ``extension == '.csv'``. Pure."""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from shared.routing.expression_tree import Tree
from tools.routes.conditions import Known, on_scope, path_of
from tools.routes.event_values import Path, form_of

ANY: Final = "\0:\0"
"""A string that no form changes, and that keeps the form of what is before or after it."""
_AROUND: Final = {"starts_with": ("", ANY), "ends_with": (ANY, ""), "contains": (ANY, ANY)}
"""What may be before and after the text that a function searches for."""


def wrong_forms(tree: Tree, known: Known) -> Iterator[tuple[str, str, str]]:
    """Yield each string of an expression that is not in the form of the name that it is compared with.

    Each is the string, what is wrong, and what would be right.
    """
    for name, value, before, after in compared(tree):
        path = path_of(name)
        wrong = None if path is None else wrong_form(known.event, path, value, before, after)
        if wrong is not None:
            yield f"{value}", *wrong


def wrong_form(event: str, path: Path, value: object, before: str = "", after: str = "") -> tuple[str, str] | None:
    """Return what is wrong with a string that a path is compared with, and what would be right; None if nothing is.

    :param value: the string. Other values are not wrong.
    :param before: what stands for what may be before the string, as ``after`` does for what may be after it.
    """
    form = form_of(event, path)
    whole = f"{before}{value}{after}"
    if form is None or not isinstance(value, str) or (found := form.of(whole)) == whole:
        return None
    meant = found.removeprefix(before).removesuffix(after)
    message = f"may never match, because {'.'.join(path)} is written {form.words}"
    return message, f"write '{meant}'" if meant else ""


def compared(tree: Tree) -> Iterator[tuple[Tree, object, str, str]]:
    """Yield each name with a literal that it is compared with, and what stands for the rest before and after it."""
    for node in on_scope(tree):
        children = node["children"]
        if node["type"] == "comparator" and node["value"] in {"eq", "ne"}:
            for name, other in (children, children[::-1]):
                yield from ((name, value, "", "") for value in _literals(other))
        elif node["type"] == "function_expression" and node["value"] in _AROUND:
            place, wanted = children
            yield from ((place, value, *_AROUND[node["value"]]) for value in _literals(wanted))
            lists = [value for value in _literals(place) if isinstance(value, list)]
            yield from ((wanted, value, "", "") for value in chain.from_iterable(lists))


def _literals(tree: Tree) -> list[object]:
    """Return the value of a literal, or of a list of literals; empty for other expressions."""
    if tree["type"] == "multi_select_list":
        return [[child["value"] for child in tree["children"] if child["type"] == "literal"]]
    return [tree["value"]] if tree["type"] == "literal" else []
