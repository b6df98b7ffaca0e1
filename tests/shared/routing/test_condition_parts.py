"""A condition taken apart: every part's answer is the one that the whole was made of."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ExpressionFailed
from shared.routing.condition_parts import Answer, Part, parts_of
from shared.routing.templates import Expression, is_true
from tests.support.expressions import LITERALS, conditions

SCOPE = {"a": "x", "b": None, "ids": [1, 2], "tags": {"team": "fraud"}}


def lines(part: Part, margin: str = "") -> list[str]:
    seen = ", ".join(f"{name}={value!r}" for name, value in part.seen.items())
    own = f"{margin}{part.answer}: {part.text}" + (f" [{seen}]" if seen else "")
    return [own, *(line for inner in part.parts for line in lines(inner, margin + "  "))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a == 'x'", ["true: a == 'x' [a='x']"]),
        ("tags.team == 'risk'", ["false: tags.team == 'risk' [tags.team='fraud']"]),
        ("length(ids) > `2`", ["false: length(ids) > `2` [ids=[1, 2], length(ids)=2]"]),
        (
            "a == 'y' && b && tags",
            [
                "false: a == 'y' && b && tags",
                "  false: a == 'y' [a='x']",
                "  not reached: b [b=None]",
                "  not reached: tags [tags={'team': 'fraud'}]",
            ],
        ),
        (
            "a == 'x' || b",
            ["true: a == 'x' || b", "  true: a == 'x' [a='x']", "  not reached: b [b=None]"],
        ),
        (
            "a && (b || !(ids))",
            [
                "false: a && (b || !(ids))",
                "  true: a [a='x']",
                "  false: (b || !(ids))",
                "    false: b [b=None]",
                "    false: !(ids)",
                "      true: (ids) [ids=[1, 2]]",
            ],
        ),
        (
            "(a && b) && a",
            ["false: (a && b) && a", "  false: (a && b)", "    true: a [a='x']", "    false: b [b=None]"],
        ),
    ],
)
def test_parts(text: str, expected: list[str]) -> None:
    assert lines(parts_of(Expression(text, None), SCOPE))[: len(expected)] == expected


def test_what_fails_says_why_and_what_is_behind_it_is_not_reached() -> None:
    part = parts_of(Expression("contains(b, 'x') && a", None), SCOPE)
    assert [part.answer, *(inner.answer for inner in part.parts)] == [
        Answer.FAILED,
        Answer.FAILED,
        Answer.NOT_REACHED,
    ]
    assert "contains()" in part.parts[0].reason
    assert parts_of(Expression("length(b) == `1`", None), SCOPE).seen == {"b": None}


@settings(deadline=None)
@given(conditions(["a", "b", "tags.team", "ids"]), st.fixed_dictionaries({"a": st.sampled_from(LITERALS)}))
def test_the_whole_is_what_the_app_decides_on_and_its_parts_make_it(text: str, values: dict[str, Any]) -> None:
    scope = SCOPE | values
    condition = Expression(text, None)
    part = parts_of(condition, scope)
    assert (part.answer, part.reason) == decided(condition, scope)
    check(part)


def decided(condition: Expression, scope: dict[str, Any]) -> tuple[Answer, str]:
    try:
        return (Answer.TRUE if is_true(condition.evaluate(scope)) else Answer.FALSE), ""
    except ExpressionFailed as exc:
        return Answer.FAILED, str(exc)


def check(part: Part) -> None:
    """Each operator's answer follows from its operands' answers."""
    answers = [inner.answer for inner in part.parts]
    reached = [answer for answer in answers if answer is not Answer.NOT_REACHED]
    if part.answer in {Answer.TRUE, Answer.FALSE} and answers:
        decisive = reached[-1]
        is_negation = len(answers) == 1
        assert (part.answer == decisive) is not is_negation
    if part.answer is Answer.NOT_REACHED:
        assert not reached
    for inner in part.parts:
        check(inner)
