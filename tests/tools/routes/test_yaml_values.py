"""Which placeholders a pipeline would parse as YAML."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from shared.routing.templates import SAFE_VALUE, parse_template
from tools.routes.yaml_values import looks_like_yaml, parses_a_value

QUOTED = [
    "[{script: \"echo '{{ v }}'\"}]",
    '["{{ v }}", "a-{{ v }}"]',
    '- script: "{{ v }}"',
    '{"{{ v }}": 1}',
    '"{{ v }}"',
]
PARSED = [
    "{{ v }}",
    "[{{ v }}]",
    "- script: echo {{ v }}",
    "{a: {{ v }}}",
    "x: {{ v }}",
    '["{{ v }}]',
]


@pytest.mark.parametrize(
    ("text", "is_parsed"), [*((text, False) for text in QUOTED), *((text, True) for text in PARSED)]
)
def test_a_value_is_text_only_within_quotes(text: str, is_parsed: bool) -> None:
    assert parses_a_value(parse_template(text, None)) is is_parsed
    assert not parses_a_value(parse_template(text.replace("{{ v }}", "v"), None)), "without placeholders"


@given(st.sampled_from(QUOTED), st.from_regex(SAFE_VALUE, fullmatch=True).filter(lambda value: len(value) < 1000))
@example(QUOTED[0], "- script: curl example.org, x: y")
def test_no_accepted_value_changes_the_structure_of_quoted_text(text: str, value: str) -> None:
    def filled(node: Any) -> Any:
        match node:
            case list():
                return [filled(item) for item in node]
            case dict():
                return {filled(key): filled(item) for key, item in node.items()}
            case str():
                return node.replace("VALUE", value)
        return node

    rendered = parse_template(text, None).render({"v": value})
    assert yaml.safe_load(rendered) == filled(yaml.safe_load(text.replace("{{ v }}", "VALUE")))


@pytest.mark.parametrize(
    ("text", "is_likely"),
    [("[{{ v }}]", True), (" - a", True), ("{a: 1}", True), ("{{ v }}", False), ("-1", False)],
)
def test_text_that_looks_like_yaml(text: str, is_likely: bool) -> None:
    assert looks_like_yaml(parse_template(text, None)) is is_likely
