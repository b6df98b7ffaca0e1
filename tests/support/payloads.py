"""Hypothesis strategies for the text of events: slightly changed samples, and arbitrary strings."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from devstack.events import sample_names, sample_text
from handlers import EVENT_TYPES
from tools.events.samples import sample_event

SAMPLES = [sample_text(name) for name in sample_names()]

any_text = st.text(st.characters(codec=None), max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in inner for found in paths_of(child, (*path, key)))]


@st.composite
def events_with_a_value_replaced(draw: st.DrawFn) -> str:
    """Return a sample with one value replaced or removed."""
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
    """Return a sample with a part of its text replaced."""
    text = draw(st.sampled_from(SAMPLES))
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(any_text) + text[start + draw(st.integers(0, 30)) :]


@st.composite
def events_as_declared(draw: st.DrawFn) -> str:
    """Return an event of any type with values of the declared kinds and with any spelling of its keys."""
    declared = draw(st.sampled_from(list(EVENT_TYPES.values())))
    event = sample_event(declared.name)
    event["data"] = {}
    for name in declared.names.values():
        if name.key:
            key = draw(st.sampled_from([name.key, name.key[:1].upper() + name.key[1:], name.key.upper()]))
            event["data"][key] = draw(st.sampled_from(name.one_of) if name.one_of else _OF_KIND[name.kind])
    return json.dumps(event)


_OF_KIND: Final = {
    "string": st.text(max_size=20) | st.integers(),
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers().map(str),
    "list": st.lists(st.text(max_size=5)).map(",".join),
    "boolean": st.booleans(),
    "object": st.none() | st.dictionaries(any_text, json_values, max_size=3),
}

payloads = (
    any_text
    | json_values.map(json.dumps)
    | events_with_a_value_replaced()
    | events_with_text_damaged()
    | events_as_declared()
)
