"""Tests of the assumptions about jmespath's trees, which its documentation does not describe."""

import jmespath
import pytest
from hypothesis import given

from shared.routing.expression_tree import Tree, free_paths, name_offsets, nodes, operands
from tests.support.expressions import conditions


def names_at(text: str) -> list[tuple[int, str]]:
    tree = jmespath.compile(text).parsed
    offsets = name_offsets(text, tree)
    named = [node for node in nodes(tree) if id(node) in offsets]
    return [(offsets[id(node)], node["value"]) for node in named]


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a.b.c == d && !e || f",
        "a[?b == 'x'].c | d[0].e",
        "sort_by(a, &b)[*].c[]",
        "{x: a, y: b.c}.x",
        '[a, "b c".d, join(`","`, e)]',
        "a.*.b[1:2].c",
        "contains(a, 'b') && length(c) > `1`",
    ],
)
def test_the_offset_of_every_name(text: str) -> None:
    found = names_at(text)
    assert found
    for offset, name in found:
        assert text[offset:].removeprefix('"').startswith(name)
    assert [offset for offset, _ in found] == sorted(offset for offset, _ in found)


def test_no_offsets_if_tree_and_text_differ() -> None:
    tree = jmespath.compile("a == b").parsed
    assert name_offsets("b == a", tree) == {}


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a.b.c", ["a.b.c"]),
        ("a.b[0].c", ["a"]),
        ("a.b == c", ["a.b", "c"]),
        ("length(a.b)", ["a.b"]),
        ("a[?b].c", ["a"]),
        ("map(&a, b)", ["b"]),
        ("@.a", []),
        ("a | b", ["a"]),
    ],
)
def test_free_paths(text: str, paths: list[str]) -> None:
    assert [".".join(path) for path, _ in free_paths(jmespath.compile(text).parsed)] == paths


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a && b || c", ["a && b", "c"]),
        ("a || b && c", ["a", "b && c"]),
        ("a && b && c", ["a && b", "c"]),
        ("((a == 'x'))", ["a", "'x'"]),
        ("(a || b) && (c)", ["(a || b)", "(c)"]),
        ("!(a && b)", ["(a && b)"]),
        ("!a == b", ["!a", "b"]),
        ("a[?b && c == 'x'] == f(d || e)", ["a[?b && c == 'x']", "f(d || e)"]),
        ("'a && b' == c", ["'a && b'", "c"]),
        ("a", []),
        ("f(a && b)", []),
        ("!a.b", []),  # jmespath parses this as (!a).b
    ],
)
def test_operands(text: str, parts: list[str]) -> None:
    assert [part for part, _ in operands(text, jmespath.compile(text).parsed)] == parts


@given(conditions(["a", "b.c", "data.x"]))
def test_the_text_of_an_operand_parses_to_its_tree(text: str) -> None:
    waiting: list[tuple[str, Tree]] = [(text, jmespath.compile(text).parsed)]
    while waiting:
        part, tree = waiting.pop()
        assert jmespath.compile(part).parsed == tree
        waiting += operands(part, tree)
