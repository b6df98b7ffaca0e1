"""Takes a condition apart: which part of it was true or false, with the values it saw. Pure.

For people who ask why a route did or did not match; the app itself only asks whether.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.errors import ExpressionFailed
from shared.routing.expression_tree import Tree, free_paths, operands, value_at
from shared.routing.templates import Expression, Scope, is_true


class Answer(StrEnum):
    """What came of a condition or a part of it."""

    TRUE = "true"
    FALSE = "false"
    FAILED = "failed"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Part:
    """A condition, or one operand of ``&&``, ``||`` or ``!``.

    :param parts: its own operands; of a comparison and everything else, none.
    :param seen: what the part looked at, by name, and what a comparison compared; of a part with parts, nothing.
    :param reason: why it failed.
    """

    text: str
    answer: Answer
    parts: tuple["Part", ...] = ()
    seen: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def parts_of(condition: Expression, scope: Scope) -> Part:
    """The condition with all its parts, as they were on this scope."""
    return _part(condition.text, condition.tree, scope, is_reached=True)


def _part(text: str, tree: Tree, scope: Scope, *, is_reached: bool) -> Part:
    answer, reason = _answer(text, scope) if is_reached else (Answer.NOT_REACHED, "")
    if tree["type"] == "comparator":
        return Part(text, answer, (), _looked_at(tree, scope) | _compared(text, tree, scope), reason)
    parts: list[Part] = []
    for operand_text, operand in operands(text, tree):
        part = _part(operand_text, operand, scope, is_reached=is_reached and _goes_on(tree, parts))
        # a && b && c is (a && b) && c to the parser, and three parts to whoever wrote it.
        is_chain = operand["type"] == tree["type"] != "not_expression" and not operand_text.startswith("(")
        parts += part.parts if is_chain else [part]
    return Part(text, answer, tuple(parts), {} if parts else _looked_at(tree, scope), reason)


def _goes_on(tree: Tree, parts: list[Part]) -> bool:
    """Whether the operand after these is evaluated: JMESPath stops as soon as the answer is known."""
    stops = {"and_expression": Answer.FALSE, "or_expression": Answer.TRUE}.get(tree["type"])
    return all(part.answer not in {stops, Answer.FAILED} for part in parts)


def _answer(text: str, scope: Scope) -> tuple[Answer, str]:
    try:
        value = Expression(text, None).evaluate(scope)
    except ExpressionFailed as exc:
        return Answer.FAILED, str(exc)
    return (Answer.TRUE if is_true(value) else Answer.FALSE), ""


def _looked_at(tree: Tree, scope: Scope) -> dict[str, Any]:
    return {".".join(path): value_at(scope, path) for path, _ in free_paths(tree)}


def _compared(text: str, tree: Tree, scope: Scope) -> dict[str, Any]:
    """What was made of the names before it was compared, as ``length(model_ids)``."""
    made: dict[str, Any] = {}
    for side_text, side in operands(text, tree):
        if side["type"] not in {"field", "literal", "subexpression"}:
            try:
                made[side_text] = Expression(side_text, None).evaluate(scope)
            except ExpressionFailed:
                continue  # the comparison says why it failed
    return made
