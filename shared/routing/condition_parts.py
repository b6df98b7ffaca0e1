"""Splits a condition into its parts and evaluates each part, to explain why a route matched or did not. Pure.

Only the command ``explain`` needs the parts. The app evaluates a condition as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.errors import ExpressionFailed
from shared.routing.expression_tree import Tree, free_paths, operands, value_at
from shared.routing.templates import Expression, Scope, is_true


class Answer(StrEnum):
    """The result of a condition or of a part of it."""

    TRUE = "true"
    FALSE = "false"
    FAILED = "failed"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Part:
    """A condition, or one operand of ``&&``, ``||`` or ``!``.

    :param parts: the operands of ``&&``, ``||`` and ``!``; empty for comparisons and all other expressions.
    :param seen: the values that the part used, by name; for a comparison also the values it computed from them. Empty
        if the part has parts of its own.
    :param reason: why the evaluation failed.
    """

    text: str
    answer: Answer
    parts: tuple["Part", ...] = ()
    seen: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def evaluate_parts(condition: Expression, scope: Scope) -> Part:
    """Evaluate a condition and all its parts on a scope."""
    return _part(condition.text, condition.tree, scope, is_reached=True)


def _part(text: str, tree: Tree, scope: Scope, *, is_reached: bool) -> Part:
    answer, reason = _answer(text, scope) if is_reached else (Answer.NOT_REACHED, "")
    if tree["type"] == "comparator":
        return Part(text, answer, (), _used_values(tree, scope) | _computed_values(text, tree, scope), reason)
    parts: list[Part] = []
    for operand_text, operand in operands(text, tree):
        part = _part(operand_text, operand, scope, is_reached=is_reached and _reaches_next_operand(tree, parts))
        # The parser reads a && b && c as (a && b) && c. Show it as three parts, as it is written.
        is_chain = operand["type"] == tree["type"] != "not_expression" and not operand_text.startswith("(")
        parts += part.parts if is_chain else [part]
    return Part(text, answer, tuple(parts), {} if parts else _used_values(tree, scope), reason)


def _reaches_next_operand(tree: Tree, parts: list[Part]) -> bool:
    """Return whether the next operand is evaluated. JMESPath stops as soon as the result is known."""
    stops = {"and_expression": Answer.FALSE, "or_expression": Answer.TRUE}.get(tree["type"])
    return all(part.answer not in {stops, Answer.FAILED} for part in parts)


def _answer(text: str, scope: Scope) -> tuple[Answer, str]:
    try:
        value = Expression(text, None).evaluate(scope)
    except ExpressionFailed as exc:
        return Answer.FAILED, str(exc)
    return (Answer.TRUE if is_true(value) else Answer.FALSE), ""


def _used_values(tree: Tree, scope: Scope) -> dict[str, Any]:
    return {".".join(path): value_at(scope, path) for path, _ in free_paths(tree)}


def _computed_values(text: str, tree: Tree, scope: Scope) -> dict[str, Any]:
    """Return the computed sides of a comparison, such as ``length(model_ids)``, with their values."""
    computed: dict[str, Any] = {}
    for side_text, side in operands(text, tree):
        if side["type"] not in {"field", "literal", "subexpression"}:
            try:
                computed[side_text] = Expression(side_text, None).evaluate(scope)
            except ExpressionFailed:
                continue  # the reason of the comparison explains the failure
    return computed
