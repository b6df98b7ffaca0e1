"""The tree of a JMESPath expression, as jmespath's parser returns it, and how it is evaluated.

Each node has a type, children and often a value. jmespath's documentation describes neither the parser nor the nodes,
so its version is pinned, and tests/shared/routing/test_expression_tree.py checks every assumption made here. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, takewhile
from typing import Any, Final

from jmespath.lexer import Lexer
from jmespath.visitor import TreeInterpreter

from shared.events.keys import look_up

Tree = Mapping[str, Any]
"""``{"type": …, "children": […], "value": …}``. The children of a slice are numbers or None."""

# Of these, only the first child is evaluated on the scope. The others are evaluated on the result of the first.
NARROWING: Final = {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe"}
MAX_DEPTH: Final = 150
"""How many levels a tree may have. Each ``&&`` in a row adds a level."""
_NAMED: Final = {"field", "function_expression", "key_val_pair"}
_OPERATORS: Final = {
    "and_expression": {"and"},
    "or_expression": {"or"},
    "not_expression": {"not"},
    "comparator": {"eq", "ne", "lt", "lte", "gt", "gte"},
}
_DEPTHS: Final = {
    **dict.fromkeys(("lparen", "lbracket", "lbrace", "filter"), 1),
    **dict.fromkeys(("rparen", "rbracket", "rbrace"), -1),
}


class Interpreter(TreeInterpreter):
    """jmespath's interpreter, except that it finds the keys of objects in any case. An exact match comes first."""

    def visit_field(self, node: Tree, value: Any) -> Any:
        """Return the value under the key that the node names; None if there is none."""
        try:
            return value[node["value"]]
        except (KeyError, TypeError):  # a TypeError if the value is not an object
            return look_up(value, node["value"])


def nodes(tree: Tree) -> Iterator[Tree]:
    """Yield the nodes of a tree in the order of the text, each before its descendants."""
    yield tree
    for child in _in_order(tree):
        yield from nodes(child)


def check_depth(tree: Tree) -> None:
    """Check that functions that call themselves for each level of a tree can follow it.

    :raises RecursionError: the tree has too many levels.
    """
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _in_order(node)]
        if not level:
            return
    raise RecursionError


def free_paths(tree: Tree) -> Iterator[tuple[tuple[str, ...], Tree]]:
    """Yield each path that an expression looks up in its scope, such as ``data.runTags.team``, and its first node."""
    kind, children = tree["type"], tree["children"]
    if kind == "field":
        yield (tree["value"],), tree
    elif kind == "subexpression" and children[0]["type"] == "field":
        names = [child["value"] for child in takewhile(lambda child: child["type"] == "field", children)]
        yield tuple(names), children[0]
    elif kind == "expref":
        return
    else:
        for child in children[:1] if kind in NARROWING else children:
            if isinstance(child, dict):
                yield from free_paths(child)


def value_at(scope: Any, path: Iterable[str]) -> Any:
    """Return the value that ``Interpreter`` finds under a path, or None if there is none."""
    for name in path:
        scope = look_up(scope, name)
    return scope


def operands(text: str, tree: Tree) -> list[tuple[str, Tree]]:
    """Return the operands of ``&&``, ``||``, ``!`` or a comparison, each with its text.

    Each operand is evaluated on the scope of the whole expression. Other expressions have no operands.
    """
    if tree["type"] not in _OPERATORS:
        return []
    tokens = list(Lexer().tokenize(text))
    depths = list(accumulate(_DEPTHS.get(token["type"], 0) for token in tokens))
    first, end = 0, len(tokens) - 1
    # Skip parentheses around the whole text.
    while tokens[first]["type"] == "lparen" and min(depths[first : end - 1]) > first:
        first, end = first + 1, end - 1
    if tree["type"] == "not_expression":
        pieces = [(first + 1, end)]
    else:
        # The operators are left-associative, so the root of the tree is the last operator outside of all brackets.
        kinds = _OPERATORS[tree["type"]]
        operator = max(at for at in range(first, end) if depths[at] == first and tokens[at]["type"] in kinds)
        pieces = [(first, operator), (operator + 1, end)]
    texts = [text[tokens[begin]["start"] : tokens[stop]["start"]].strip() for begin, stop in pieces]
    return list(zip(texts, tree["children"], strict=True))


def name_offsets(text: str, tree: Tree) -> dict[int, int]:
    """Map the ``id`` of each node that has a name to the offset of that name in the text.

    The nodes contain no offsets, but the names of the tree are in the same order as those of the text. If they are not,
    the result is empty rather than wrong.
    """
    named = [node for node in nodes(tree) if node["type"] in _NAMED]
    tokens = [token for token in Lexer().tokenize(text) if token["type"].endswith("quoted_identifier")]
    if [node["value"] for node in named] != [token["value"] for token in tokens]:
        return {}
    return {id(node): token["start"] for node, token in zip(named, tokens, strict=True)}


def _in_order(tree: Tree) -> list[Tree]:
    children = tree["children"]
    if tree["type"] == "filter_projection":
        left, right, condition = children
        children = [left, condition, right]
    return [child for child in children if isinstance(child, dict)]
