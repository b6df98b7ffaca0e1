"""Conditions and placeholders of routes.yaml: JMESPath, rendered into text that is safe to hand to a pipeline.

Pure. Expressions are compiled once, when the routes are loaded.
"""

import math
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError, LexerError, ParseError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from shared.errors import ExpressionFailed, MissingValue, UnsafeValue
from shared.routing import expression_tree
from shared.routing.expression_tree import Tree
from shared.suggestion import suggestion

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

# One for all expressions and threads: it keeps nothing of what it evaluates, and to make one takes longer than to
# evaluate most conditions.
_INTERPRETER: Final = TreeInterpreter()

_PLACEHOLDER: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


class Fault(NamedTuple):
    """One mistake in a text.

    :param offset: where in the text it begins; None where that is not known.
    """

    text: str
    offset: int | None = None


class InvalidExpression(ValueError):
    """The text is no JMESPath expression, or uses a name or function that does not exist.

    :param faults: all of them.
    """

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.text for fault in faults))


class Expression:
    """One compiled JMESPath expression.

    :raises InvalidExpression: it does not parse, uses a name outside ``names`` or an unknown function, or calls one
        with too few or too many values.
    """

    def __init__(self, text: str, names: Names | None) -> None:
        """:param names: the names that exist; None where that is not known."""
        self.text = text.strip()
        margin = len(text) - len(text.lstrip())
        try:
            self.tree: Tree = jmespath.compile(self.text).parsed
            """What jmespath made of the text; see ``shared/routing/expression_tree.py``."""
        except JMESPathError as exc:
            offset = getattr(exc, "lex_position", None)
            raise InvalidExpression(
                Fault(f"is not JMESPath: {_parse_error(exc)}", None if offset is None else offset + margin)
            ) from exc
        if unknown := _unknown_uses(self.tree, names):
            offsets = expression_tree.name_offsets(self.text, self.tree)
            places = [(complaint, offsets.get(id(node))) for node, complaint in unknown]
            raise InvalidExpression(*(Fault(text, None if at is None else at + margin) for text, at in places))

    def evaluate(self, scope: Scope) -> Any:
        """Evaluate on an event's scope; any failure is the value's, not ours.

        :raises ExpressionFailed: a function was given a value of a kind that it does not take.
        """
        try:
            return _INTERPRETER.visit(self.tree, scope)  # type: ignore[arg-type]  # its stubs want their own type
        except Exception as exc:  # the values are foreign: jmespath lets TypeError and ValueError through as well
            raise ExpressionFailed(f"'{self.text}' cannot be evaluated on this event: {shown(str(exc), 200)}") from exc


def is_true(answer: Any) -> bool:
    """Whether JMESPath takes a value for true: everything but null, false, '', [] and {}."""
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
        passes into a pipeline; with every fault.
    """
    parts: list[str | Expression] = []
    faults: list[Fault] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        parts.append(text[end : found.start()])
        faults += _literal_faults(text[end : found.start()], end)
        end = found.end()
        try:
            parts.append(Expression(found[1], names))
        except InvalidExpression as exc:
            faults += [_moved(fault, found.start(1)) for fault in exc.faults]
    parts.append(text[end:])
    faults += _literal_faults(text[end:], end)
    if faults:
        raise InvalidExpression(*faults)
    return Template(text, tuple(part for part in parts if part != ""))


def _literal_faults(literal: str, start: int) -> list[Fault]:
    unclosed = [at for brackets in ("{{", "}}") if (at := literal.find(brackets)) >= 0]
    faults = [Fault("has a placeholder that is not closed; write {{ expression }}", start + at) for at in unclosed]
    if (found := forbidden_in(literal)) is not None:
        faults.append(Fault(f"holds {found}, which never passes into a pipeline", start))
    return faults


def _moved(fault: Fault, by: int) -> Fault:
    return Fault(fault.text, None if fault.offset is None else fault.offset + by)


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


# What people write who think of another language, and how JMESPath says it.
_MEANT: Final = {"=": "==", "and": "&&", "or": "||", "&": "&&"}


def _parse_error(exc: JMESPathError) -> str:
    """The library's reason, without the arrow that it draws."""
    if isinstance(exc, LexerError):
        # Its value is all the rest of the text.
        return f"{exc.message}{_hint(exc.lexer_value)}"
    if not isinstance(exc, ParseError) or exc.token_value is None:  # there is no text, or not enough
        return "the expression is not complete"
    is_named = exc.msg.endswith(f" {exc.token_value}")
    return exc.msg + ("" if is_named else f" at '{exc.token_value}'") + _hint(exc.token_value)


def _hint(token: object) -> str:
    return f"; write {_MEANT[token]}" if isinstance(token, str) and token in _MEANT else ""


def _unknown_uses(tree: Tree, names: Names | None) -> list[tuple[Tree, str]]:
    """Each node that uses what does not exist, with what is to be said of it; each thing once."""
    uses: dict[str, Tree] = {}
    for node in expression_tree.nodes(tree):
        if node["type"] == "function_expression" and (complaint := _wrong_call(node)) is not None:
            uses.setdefault(complaint, node)
    if names is not None:
        for path, node in expression_tree.free_paths(tree):
            if (complaint := _unknown_name(path, names)) is not None:
                uses.setdefault(complaint, node)
    return [(node, complaint) for complaint, node in uses.items()]


def _wrong_call(node: Tree) -> str | None:
    name, given = node["value"], len(node["children"])
    if name not in Functions.FUNCTION_TABLE:
        return _unknown("function", name, Functions.FUNCTION_TABLE)
    signature = Functions.FUNCTION_TABLE[name]["signature"]
    least, is_open = len(signature), bool(signature and signature[-1].get("variadic"))
    if given == least or (is_open and given > least):
        return None
    values = f"{given} value" + ("" if given == 1 else "s")
    return f"calls the function '{name}' with {values}; it takes {least}" + (" or more" if is_open else "")


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
