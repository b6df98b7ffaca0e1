"""Conditions and placeholders of routes.yaml: JMESPath, rendered into text that is safe to hand to a pipeline.

Pure. Expressions are compiled once, when the routes are loaded.
"""

import math
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from shared.errors import ExpressionFailed, MissingValue, UnsafeValue

Scope = Mapping[str, Any]
"""What an expression sees: the handler's names, ``event`` (the envelope) and ``data``."""

Names = Mapping[str, Collection[str]]
"""The top-level names of a scope, each with the names below it (empty: anything may be below it)."""

# Whoever may write to the workspace chooses tags and names, and these land in pipeline scripts. So by default
# only what no shell, macro or logging command gives a meaning passes.
SAFE_VALUE: Final = re.compile(r"[A-Za-z0-9._\-:/@ =,+]*")
MAX_VALUE_LENGTH: Final = 1024
# Never pass, whatever a route allows: macro, template and runtime expressions, and agent logging commands
# (azure-devops-docs: pipelines/process/variables, pipelines/scripts/logging-commands).
_NEVER: Final = ("$(", "${{", "$[", "##vso[", "##[")
_NEVER_CATEGORIES: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format, surrogate, line and paragraph separators

_PLACEHOLDER: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


class InvalidExpression(ValueError):
    """The text is no JMESPath expression, or uses a name or function that does not exist."""


class Expression:
    """One compiled JMESPath expression.

    :raises InvalidExpression: it does not parse, or uses a name outside ``names`` or an unknown function.
    """

    def __init__(self, text: str, names: Names | None) -> None:
        """:param names: the names that exist; None where that is not known."""
        self.text = text.strip()
        try:
            self._compiled = jmespath.compile(self.text)
        except JMESPathError as exc:
            # The library's message is several lines with a drawn arrow; its first line says what is wrong.
            raise InvalidExpression(f"is not JMESPath: {str(exc).splitlines()[0]}") from exc
        unknown = [
            _unknown("function", node["value"], Functions.FUNCTION_TABLE)
            for node in _nodes(self._compiled.parsed)
            if node["type"] == "function_expression" and node["value"] not in Functions.FUNCTION_TABLE
        ]
        if names is not None:
            paths = dict.fromkeys(_free_paths(self._compiled.parsed))
            unknown += [complaint for path in paths if (complaint := _unknown_name(path, names)) is not None]
        if unknown:
            raise InvalidExpression("; ".join(unknown))

    def evaluate(self, scope: Scope) -> Any:
        """Evaluate on an event's scope; any failure is the value's, not ours.

        :raises ExpressionFailed: a function was given a value of a kind that it does not take.
        """
        try:
            return self._compiled.search(scope)
        except Exception as exc:  # the values are foreign: jmespath lets TypeError and ValueError through as well
            raise ExpressionFailed(f"'{self.text}' cannot be evaluated on this event: {shown(str(exc), 200)}") from exc


class Condition:
    """A route's ``when``. True for every answer but JMESPath's false-like ones: null, false, '', [] and {}."""

    def __init__(self, text: str, names: Names | None) -> None:
        self.expression = Expression(text, names)

    def holds(self, scope: Scope) -> bool:
        """:raises ExpressionFailed: it cannot be evaluated on this scope."""
        answer = self.expression.evaluate(scope)
        return answer is not None and answer is not False and answer not in ("", [], {})


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text with ``{{ JMESPath }}`` in it; ``parts`` are in order."""

    text: str
    parts: tuple[str | Expression, ...]

    def render(self, scope: Scope, allow: re.Pattern[str] | None = None) -> str:
        """Fill the placeholders in.

        :param allow: what a value may look like instead of ``SAFE_VALUE``.
        :raises ExpressionFailed: an expression cannot be evaluated on this scope.
        :raises MissingValue: a placeholder finds null, a list or an object.
        :raises UnsafeValue: a value could be read as script or macro.
        """
        pattern = allow or SAFE_VALUE
        rendered = "".join(
            part if isinstance(part, str) else _safe_text(part, part.evaluate(scope), pattern) for part in self.parts
        )
        # Once more over the whole: a value's last character and the literal after it must not form a macro.
        if (found := forbidden_in(rendered)) is not None:
            raise UnsafeValue(f"{shown(rendered)} holds {found}, which never passes into a pipeline")
        return rendered

    def render_any(self, scope: Scope) -> str:
        """Fill the placeholders in for a key, which is only hashed: any single value will do.

        :raises ExpressionFailed, MissingValue: as ``render``.
        """
        return "".join(part if isinstance(part, str) else _text(part, part.evaluate(scope)) for part in self.parts)


def parse_template(text: str, names: Names | None) -> Template:
    """Compile a template.

    :raises InvalidExpression: a placeholder does not parse or is not closed, or the literal text holds what never
        passes into a pipeline.
    """
    pieces = _PLACEHOLDER.split(text)
    for literal in pieces[::2]:
        if "{{" in literal or "}}" in literal:
            raise InvalidExpression("has a placeholder that is not closed; write {{ expression }}")
        if (found := forbidden_in(literal)) is not None:
            raise InvalidExpression(f"holds {found}, which never passes into a pipeline")
    parts = [Expression(piece, names) if index % 2 else piece for index, piece in enumerate(pieces)]
    return Template(text, tuple(part for part in parts if part != ""))


def forbidden_in(text: str) -> str | None:
    """Name the first thing in a text that must never reach a pipeline, or None."""
    lowered = text.lower()
    for sequence in _NEVER:
        if sequence in lowered:
            return f"'{sequence}'"
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        if unicodedata.category(character) in _NEVER_CATEGORIES:
            return f"the control character U+{ord(character):04X}"
    return None


def shown(value: str, limit: int = 80) -> str:
    """A foreign text for a message: quoted, ASCII, cut."""
    return ascii(value if len(value) <= limit else value[:limit] + "...")


def _text(expression: Expression, value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case None:
            raise MissingValue(f"'{expression.text}' finds nothing in this event")
        case list():
            raise MissingValue(f"'{expression.text}' finds a list; join(',', …) makes one text of it")
        case _:
            raise MissingValue(f"'{expression.text}' finds {type(value).__name__}, not a single value")


def _safe_text(expression: Expression, value: object, pattern: re.Pattern[str]) -> str:
    text = _text(expression, value)
    if len(text) > MAX_VALUE_LENGTH:
        raise UnsafeValue(f"'{expression.text}' is {len(text)} characters long; {MAX_VALUE_LENGTH} may pass")
    if (found := forbidden_in(text)) is not None:
        raise UnsafeValue(f"'{expression.text}' is {shown(text)}; {found} never passes into a pipeline")
    if not pattern.fullmatch(text):
        raise UnsafeValue(
            f"'{expression.text}' is {shown(text)}, which does not match {pattern.pattern}; "
            "if such values are right here, say so with the route's 'allow'"
        )
    return text


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node["children"]:
        if isinstance(child, dict):  # a slice's children are numbers
            yield from _nodes(child)


# In these the first child alone is evaluated on the scope; the others see what the first one found.
_NARROWING: Final = {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe"}


def _free_paths(node: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The names an expression looks up in its scope, each with the name below it where there is one."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        yield (node["value"],)
    elif kind == "subexpression" and [child["type"] for child in children[:2]] == ["field", "field"]:
        yield (children[0]["value"], children[1]["value"])
    elif kind == "expref":
        return
    else:
        for child in children[:1] if kind in _NARROWING else children:
            if isinstance(child, dict):
                yield from _free_paths(child)


def _unknown_name(path: tuple[str, ...], names: Names) -> str | None:
    top = path[0]
    if top not in names:
        return _unknown("name", top, names)
    below = names[top]
    if below and len(path) > 1 and path[1] not in below:
        return _unknown("name", f"{top}.{path[1]}", [f"{top}.{name}" for name in below])
    return None


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    return f"uses the {kind} '{name}', which does not exist here; {suggestion(name, known)}"


def suggestion(word: str, known: Collection[str]) -> str:
    """``did you mean 'x'?``, or all that is known where nothing is near."""
    by_lowercase = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), by_lowercase, n=1)
    return f"did you mean '{by_lowercase[near[0]]}'?" if near else f"known: {', '.join(sorted(known))}"
