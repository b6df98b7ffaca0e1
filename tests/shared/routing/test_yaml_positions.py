"""Tests of yaml_positions: a character of a scalar is found in the file, in every style of scalars."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shared.routing.yaml_nodes import NodeReader
from shared.routing.yaml_positions import source_offset

STYLES = ["", "'", '"', "|", ">"]


def value_node(text: str) -> yaml.ScalarNode:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    (_, value), *_ = node.value
    assert isinstance(value, yaml.ScalarNode)
    return value


def found(text: str, offset: int) -> int | None:
    node = value_node(text)
    at = source_offset(text[node.start_mark.index : node.end_mark.index], node.style or "", node.value, offset)
    return None if at is None else node.start_mark.index + at


@pytest.mark.parametrize(
    "written",
    [
        "when: a == b and X",
        "when: 'it''s ''quoted'' X'",
        'when: "a \\"b\\" \\t \\x41 \\u0041 X"',
        'when: "folded\n  over \\\n  lines X"',
        "when: plain\n  over\n\n  lines X",
        "when: |\n  literal\n    deeper X\n",
        "when: >-\n  folded\n  lines X\n",
        "when: |2 # a comment\n    deeper X\n",
    ],
)
def test_every_style(written: str) -> None:
    text = value_node(written).value
    assert found(written, text.index("X")) == written.index("X")
    first = len(text) - len(text.lstrip())
    assert found(written, first) == written.index(text[first], written.find("\n") if "|" in written else len("when:"))


def test_the_end_of_the_text() -> None:
    assert found("when: a ==", 4) == len("when: a ==")
    assert found("when: 'a =='", 4) == len("when: 'a =='") - 1


def test_no_offset_if_source_and_text_differ() -> None:
    assert source_offset("&anchor abc", "", "abc", 2) is None
    assert source_offset("''a'", "'", "xa", 1) is None
    assert source_offset("", "", "abc", 2) is None


@given(
    st.text(st.sampled_from("ab'\"\\ \n\t:#{}é|>-&"), max_size=30),
    st.sampled_from(STYLES),
    st.integers(5, 40),
    st.data(),
)
def test_the_offset_points_to_the_character(text: str, style: str, width: int, data: st.DataObject) -> None:
    written = yaml.dump({"when": text}, default_style=style or None, width=width, allow_unicode=True)
    node = value_node(written)
    if not node.value:
        return
    offset = data.draw(st.integers(0, len(node.value) - 1))
    at = found(written, offset)
    assert at is not None
    character, source = node.value[offset], written[at]
    assert source == character or (character in " \n" and source in " \n") or source == "\\"


def test_a_position_after_an_environment_value() -> None:
    text = 'when: "${LONG}/${SHORT} X ${UNSET} Y"'
    environment = {"LONG": "a-very-long-value", "SHORT": "s"}
    reader = NodeReader(text, environment)
    node = value_node(text)
    filled = reader.text(node)
    assert filled == "a-very-long-value/s X ${UNSET} Y"
    for character in "/XY":
        assert reader.position(node, filled.index(character)) == (1, text.index(character) + 1)
    assert reader.position(node, filled.index("long")) == (1, text.index("$") + 1), (
        "a position within a value is that of its name"
    )
    assert [(problem.line, problem.column) for problem in reader.unset] == [(1, text.index("${UNSET}") + 1)]
    assert reader.text(node) == filled
    assert len(reader.unset) == 1, "reported once"
    assert reader.position(node, None) == (1, 7)
