"""Hypothesis strategies for event texts: samples that are changed a little, and text of any kind."""

import json
from typing import Any

from hypothesis import strategies as st

from devstack.events import sample_names, sample_text

SAMPLES = [sample_text(name) for name in sample_names()]

any_text = st.text(st.characters(codec=None), max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in inner for found in paths_of(child, (*path, key)))]


@st.composite
def events_with_a_value_replaced(draw: st.DrawFn) -> str:
    """A sample in which one value, key or branch is another one, or gone."""
    document = json.loads(draw(st.sampled_from(SAMPLES)))
    path = draw(st.sampled_from(paths_of(document)[1:]))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if draw(st.booleans()):
        parent[path[-1]] = draw(json_values)
    else:
        del parent[path[-1]]
    return json.dumps(document)


@st.composite
def events_with_text_damaged(draw: st.DrawFn) -> str:
    """A sample whose text has a piece cut out and something else put in."""
    text = draw(st.sampled_from(SAMPLES))
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(any_text) + text[start + draw(st.integers(0, 30)) :]


payloads = any_text | json_values.map(json.dumps) | events_with_a_value_replaced() | events_with_text_damaged()
