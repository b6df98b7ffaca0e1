"""Tests of condition_parts: the answers of the parts agree with the answer of the whole condition."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ExpressionFailed
from shared.routing.condition_parts import Answer, Part, evaluate_parts
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
    assert lines(evaluate_parts(Expression(text, None), SCOPE))[: len(expected)] == expected


def test_a_failed_part_has_a_reason_and_later_parts_are_not_reached() -> None:
    part = evaluate_parts(Expression("contains(b, 'x') && a", None), SCOPE)
    assert [part.answer, *(inner.answer for inner in part.parts)] == [
        Answer.FAILED,
        Answer.FAILED,
        Answer.NOT_REACHED,
    ]
    assert "contains()" in part.parts[0].reason
    assert evaluate_parts(Expression("length(b) == `1`", None), SCOPE).seen == {"b": None}


@given(conditions(["a", "b", "tags.team", "ids"]), st.fixed_dictionaries({"a": st.sampled_from(LITERALS)}))
def test_parts_agree_with_the_decision_of_the_app(text: str, values: dict[str, Any]) -> None:
    scope = SCOPE | values
    condition = Expression(text, None)
    part = evaluate_parts(condition, scope)
    assert (part.answer, part.reason) == decided(condition, scope)
    check(part)


def decided(condition: Expression, scope: dict[str, Any]) -> tuple[Answer, str]:
    try:
        return (Answer.TRUE if is_true(condition.evaluate(scope)) else Answer.FALSE), ""
    except ExpressionFailed as exc:
        return Answer.FAILED, str(exc)


def check(part: Part) -> None:
    """Check that the answer of each operator follows from the answers of its operands."""
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
