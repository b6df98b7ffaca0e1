"""A JMESPath expression as jmespath's parser gives it: a tree of nodes, each with a type, children and often a value.

Pure. Neither the parser nor the nodes are described in jmespath's documentation; what is relied on here is held by
tests/shared/routing/test_expression_tree.py, and jmespath's version is pinned.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, takewhile
from typing import Any, Final

from jmespath.lexer import Lexer

Tree = Mapping[str, Any]
"""``{"type": …, "children": […], "value": …}``; a slice's children are numbers or None."""

# In these the first child alone is evaluated on the scope; the others see what the first one found.
NARROWING: Final = {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe"}
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


def nodes(tree: Tree) -> Iterator[Tree]:
    """The tree's nodes in the order in which they stand in the text, each before what is below it."""
    yield tree
    for child in _in_order(tree):
        yield from nodes(child)


def free_paths(tree: Tree) -> Iterator[tuple[tuple[str, ...], Tree]]:
    """The names an expression looks up in its scope, each with those below it (``data.runTags.team``) and its node."""
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
    """Return what JMESPath finds under a path; None if there is nothing."""
    for name in path:
        scope = scope.get(name) if isinstance(scope, Mapping) else None
    return scope


def operands(text: str, tree: Tree) -> list[tuple[str, Tree]]:
    """What ``&&``, ``||``, ``!`` or a comparison is made of, each with its text; nothing for every other expression.

    All of these are evaluated on the scope of the whole.
    """
    if tree["type"] not in _OPERATORS:
        return []
    tokens = list(Lexer().tokenize(text))
    depths = list(accumulate(_DEPTHS.get(token["type"], 0) for token in tokens))
    first, end = 0, len(tokens) - 1
    while tokens[first]["type"] == "lparen" and min(depths[first : end - 1]) > first:  # these enclose the whole
        first, end = first + 1, end - 1
    if tree["type"] == "not_expression":
        pieces = [(first + 1, end)]
    else:
        # The last one outside of all brackets: these operators bind to the left.
        kinds = _OPERATORS[tree["type"]]
        operator = max(at for at in range(first, end) if depths[at] == first and tokens[at]["type"] in kinds)
        pieces = [(first, operator), (operator + 1, end)]
    texts = [text[tokens[begin]["start"] : tokens[stop]["start"]].strip() for begin, stop in pieces]
    return list(zip(texts, tree["children"], strict=True))


def name_offsets(text: str, tree: Tree) -> dict[int, int]:
    """From the ``id`` of each node that has a name to where that name stands in the text.

    The nodes hold no places. But names come in the same order in the tree as in the text; where they do not, nothing
    is said rather than something wrong.
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
