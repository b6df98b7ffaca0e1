"""Random JMESPath conditions for property tests, over a few names, which makes relations between them likely."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

LITERALS: list[Any] = [None, True, False, 0, 1, 0.3, "0.3", "", "train", "Failed", "candidate", [], ["x"], {}]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]


def literal(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def conditions(paths: Sequence[str]) -> st.SearchStrategy[str]:
    """Return a strategy for conditions over these paths and ``LITERALS``."""
    path = st.sampled_from(list(paths))
    value = st.sampled_from(LITERALS).map(literal)
    called = st.builds("{}({})".format, st.sampled_from(["length", "type", "to_number", "not_null"]), path)
    searched = st.builds("contains({}, {})".format, path, value)
    side = path | value | called | path.map("{}[0]".format) | path.map("{}[?@ == 'x']".format)
    compared = st.builds("{} {} {}".format, side, st.sampled_from(COMPARISONS), side)
    return st.recursive(
        compared | path | searched,
        lambda inner: (
            st.builds("{} && {}".format, inner, inner)
            | st.builds("{} || {}".format, inner, inner)
            | inner.map("({})".format)
            | inner.map("!({})".format)
            | inner.map("!{}".format)
            | inner.map("({}).k".format)
            | inner.map("length({})".format)
        ),
        max_leaves=5,
    )
