"""What may come of an operation on values that are partly known: never less than does come of it."""

import math
from typing import Any

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.routing.templates import is_true
from tools.routes.possible_values import (
    ANYTHING,
    EDGES,
    Exactly,
    Kind,
    Option,
    Some,
    compared,
    false_part,
    kind_of,
    possible,
    true_part,
)

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    0.5,
    2,
    math.inf,
    -math.inf,
    math.nan,
    "",
    "a",
    "b",
    [],
    [1],
    {},
    {"a": 1},
]
OPTIONS: list[Option] = [
    *(Exactly(value) for value in VALUES),
    *ANYTHING,
    Some(Kind.TEXT, besides=("a",)),
    Some(Kind.TEXT, besides=("",)),
    Some(Kind.NUMBER, low=0, high=1),
    Some(Kind.NUMBER, low=1),
]


def fits(option: Option, value: Any) -> bool:
    """Whether a value is one that the option stands for."""
    if isinstance(option, Exactly):
        both_are_nan = all(isinstance(each, float) and math.isnan(each) for each in (value, option.value))
        return kind_of(value) is option.kind and (value == option.value or both_are_nan)
    if kind_of(value) is not option.kind:
        return False
    if option.kind is Kind.NUMBER:
        return bool(option.low < value < option.high)
    return option.kind is not Kind.TEXT or value not in option.besides


@pytest.mark.parametrize("value", VALUES)
def test_anything_is_anything(value: Any) -> None:
    assert any(fits(option, value) for option in ANYTHING)


@settings(deadline=None)
@given(st.sampled_from(OPTIONS), st.sampled_from(VALUES))
def test_an_option_is_taken_apart_into_true_and_false(option: Option, value: Any) -> None:
    if fits(option, value):
        part = true_part(option) if is_true(value) else false_part(option)
        assert part is not None
        assert fits(part, value)


@settings(deadline=None)
@given(
    st.sampled_from(["eq", "ne", "lt", "lte", "gt", "gte"]),
    st.lists(st.sampled_from(OPTIONS), min_size=1, max_size=3),
    st.lists(st.sampled_from(OPTIONS), min_size=1, max_size=3),
    st.sampled_from(VALUES),
    st.sampled_from(VALUES),
)
def test_a_comparison_comes_to_nothing_that_was_not_foreseen(
    comparison: str, left: list[Option], right: list[Option], one: Any, other: Any
) -> None:
    if not any(fits(option, one) for option in left) or not any(fits(option, other) for option in right):
        return
    sign = {"eq": "==", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}[comparison]
    foreseen = compared(comparison, left, right)
    try:
        answer = jmespath.search(f"a {sign} b", {"a": one, "b": other})
    except TypeError:
        assert foreseen.may_fail
    else:
        assert any(fits(option, answer) for option in foreseen.options)


def test_intervals_tell_apart() -> None:
    below, above = [Some(Kind.NUMBER, high=0.3)], [Exactly(0.3)]
    assert not compared("gte", below, above).may_be_true
    assert not compared("lt", below, above).may_be_false
    assert not compared("eq", below, above).may_be_true
    assert not compared("eq", below, [Some(Kind.NUMBER, low=0.3)]).may_be_true
    assert compared("lt", [Some(Kind.NUMBER)], above).may_be_false


def test_too_many_options_become_kinds() -> None:
    many = possible([Exactly(number) for number in range(100)])
    assert many.kinds == {Kind.NUMBER}
    assert len(many.options) == 1 + len(EDGES)
    assert possible([Exactly(1), Exactly(1), Exactly(value=True)]).options == (Exactly(1), Exactly(value=True))
