"""Objects and lists among the parameters: what Azure DevOps receives, and that no value breaks out of its string."""

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from shared.azure_devops.values import Likeness, value_likeness
from shared.errors import InvalidRoutes, MissingValue, UnsafeValue
from shared.routing.templates import Template
from tests.support.builders import ENVIRONMENT, routes

ANYTHING = re.compile(r"(?s).*")


def parameter(written: str, key: str = "parameters") -> Template:
    entry = f"name: a\nevent: RunCompleted\npipeline: p\n{key}:\n  config: {written}"
    return routes(entry, environment={**ENVIRONMENT, "STAGE": 'dev"x'}).routes[0].parameters["config"]


def problem(written: str, key: str = "parameters") -> tuple[int, int, str]:
    with pytest.raises(InvalidRoutes) as caught:
        parameter(written, key)
    (found,) = caught.value.problems
    return found.line, found.column, found.advice


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ('{canary: 10, owner: "{{ experiment_name }}"}', '{"canary": 10, "owner": "train"}'),
        ('["{{ run_id }}", b, 3]', '["run-1", "b", 3]'),
        ("{}", "{}"),
        ("[]", "[]"),
        ("{a: {b: [{c: d}, []]}}", '{"a": {"b": [{"c": "d"}, []]}}'),
        # As written, like a parameter that is a single value
        ("[5.10, -1, 1.0e+3, 0.5]", "[5.10, -1, 1.0e+3, 0.5]"),
        ("[007, 0x1F, 1_000, .5, 1:30, .inf, 1e3]", '["007", "0x1F", "1_000", ".5", "1:30", ".inf", "1e3"]'),
        ("[true, False, yes, off, 'true', '5']", '[true, false, "yes", "off", "true", "5"]'),
        ("[null, ~, '']", '[null, null, ""]'),
        ("{a: null, b: ~, c: ''}", '{"a": null, "b": null, "c": ""}'),
        ("[2026-01-01, 2026-02-30]", '["2026-01-01", "2026-02-30"]'),
        ("""{"a\\"b": 'c"d\\e', é: ü}""", '{"a\\"b": "c\\"d\\\\e", "é": "ü"}'),
        ('["of {{ run_id }} in ${STAGE}"]', '["of run-1 in dev\\"x"]'),
        ("[&y [a], *y]", '[["a"], ["a"]]'),
    ],
)
def test_azure_devops_receives_json(written: str, sent: str) -> None:
    rendered = parameter(written).render({"experiment_name": "train", "run_id": "run-1"})
    assert rendered == sent
    json.loads(rendered)
    assert yaml.safe_load(rendered) == json.loads(rendered), "Azure Pipelines reads it as YAML"


@pytest.mark.parametrize("written", ["10", "5.10", "true", "x", "'[1]'"])
def test_a_single_value_stays_a_string(written: str) -> None:
    assert parameter(written).render({}) == written.strip("'")


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("«{{ run_id }}", 'has a key without a value; write null, or put a placeholder in quotes: "{{ … }}"'),
        ("«{ run_id }", 'has a key without a value; write null, or put a placeholder in quotes: "{{ … }}"'),
        ("«[{{ run_id }}]", 'has a key without a value; write null, or put a placeholder in quotes: "{{ … }}"'),
        ("{a: [b, '{{ «nope }}']}", "uses the name 'nope', which does not exist here; known: "),
        ("{a: '«{{ run_id'}", "has a placeholder that is not closed"),
        ("{a: «$(x)}", "contains '$(', which must never reach a pipeline"),
        ("{«'{{ run_id }}': a}", "a key contains a placeholder; write plain text"),
        ("{«'$(x)': a}", "a key contains '$('; write plain text"),
        ("{«[a]: b}", "a key must be a plain string"),
        ("{a: 1, «a: 2}", "this key appears twice in an object; remove one"),
        ("{«<<: {a: 1}}", "merging is not possible here; write the keys of the object out"),
        ("{a: «'${AZURE_DEVOPS_EXT_PAT}'}", "uses the secret AZURE_DEVOPS_EXT_PAT"),
        ("«&x [*x]", "is too large; at most 1000 values on 32 levels are allowed"),
        (f"«[{'a, ' * 1000}]", "is too large"),
        (f"«{'[' * 40}{']' * 40}", "is too large"),
    ],
)
def test_mistakes(written: str, advice: str) -> None:
    line, column, text = problem(written.replace("«", ""))
    assert text.startswith(advice)
    assert (line, column) == (8, len("      config: ") + written.index("«") + 1)


def test_the_run_is_found_by_it_after_a_lost_answer() -> None:
    """Azure DevOps keeps parameters as JSON, and lists an object in its own form."""
    rendered = parameter("{canary: 10, owner: '{{ experiment_name }}'}").render({"experiment_name": "train"})
    assert value_likeness(rendered, '{\r\n  "owner": "train",\r\n  "canary": 10\r\n}') is Likeness.FIT
    assert value_likeness(rendered, '{"owner": "other", "canary": 10}') is Likeness.DIFFERENT


def test_a_variable_is_a_single_value() -> None:
    assert problem("{a: 1}", "variables")[2].startswith("must be a single value, not a mapping")


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_each_placeholder_needs_a_single_value(value: Any) -> None:
    with pytest.raises(MissingValue):
        parameter('{a: ["{{ run_id }}"]}').render({"run_id": value})


@given(st.text(max_size=50) | st.text('"\\\\,:{}[]n', max_size=10))
@example('"')
@example("\\\\")
@example('", "b": "')
def test_no_value_breaks_out_of_its_string(value: str) -> None:
    template = parameter('{a: "{{ run_id }}", b: ["x {{ run_id }}"]}')
    try:
        rendered = template.render({"run_id": value}, ANYTHING)
    except UnsafeValue:
        return
    assert json.loads(rendered) == {"a": value, "b": [f"x {value}"]}
