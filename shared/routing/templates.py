"""Conditions and templates of routes.yaml: compiles JMESPath and renders values that are safe for a pipeline.

Expressions are compiled once, when the routes are loaded. Pure.
"""

import json
import math
import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError, LexerError, ParseError
from jmespath.functions import Functions

from shared.errors import ExpressionFailed, MissingValue, UnsafeValue
from shared.events.event import ENVELOPE_NAMES
from shared.routing import expression_tree
from shared.routing.allowed_values import ValuePattern
from shared.routing.expression_tree import Tree
from shared.suggestion import suggestion

Scope = Mapping[str, Any]
"""The values that an expression sees: the names of the event type, ``event`` (the envelope) and ``data``."""

Names = Mapping[str, Collection[str]]
"""Maps each top-level name of a scope to the names below it; an empty collection permits any name below it."""

GATHERED_NAMES: Final = ("gathered_count", "gathered_since")
"""The names that the parameters and variables of a route with ``gather`` can use in addition."""


def scope_names(names: Collection[str]) -> Names:
    """Return the names in the scope of an event, given those of its type. Any name is possible below tags and data."""
    return {**dict.fromkeys(names, ()), "event": ENVELOPE_NAMES, "data": ()}


# Anyone with write access to the workspace or to a container can choose tags and names, and these end up in pipeline
# scripts. By default, a value may therefore contain only characters that have no special meaning in shells, macros and
# logging commands.
SAFE_VALUE: Final = re.compile(r"[A-Za-z0-9._\-:/@ =,+]*")
MAX_VALUE_LENGTH: Final = 1024
# Forbidden whatever a route allows: macro, template and runtime expressions, and logging commands of the agent.
# Source: azure-devops-docs, pipelines/process/variables and pipelines/scripts/logging-commands.
_NEVER: Final = ("$(", "${{", "$[", "##vso[", "##[")
_NEVER_CATEGORIES: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format, surrogate, line and paragraph separators

# All expressions and threads share one interpreter. It has no state, and creating one takes longer than evaluating most
# conditions.
_INTERPRETER: Final = expression_tree.Interpreter()

_PLACEHOLDER: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_SINGLE_BRACES: Final = re.compile(r"(?<![${])\{([^{}]+)\}(?!\})")
_NAME_ALONE: Final = re.compile(r"\s*(\w+(?:\.\w+)*)\s*")


_TOO_DEEP: Final = "is nested too deeply; write contains([…], name) in place of many '||', or several routes"


class Fault(NamedTuple):
    """One mistake in an expression or template.

    :param text: what is wrong, and after the last semicolon what would be right.
    :param offset: where the mistake begins; None if unknown.
    """

    text: str
    offset: int | None = None


class InvalidExpression(ValueError):
    """The text is not a JMESPath expression, or uses a name or function that does not exist.

    :param faults: every mistake.
    """

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.text for fault in faults))


class Expression:
    """One compiled JMESPath expression.

    :raises InvalidExpression: the text does not parse, uses a name outside ``names`` or an unknown function, or calls
        a function with too few or too many arguments.
    """

    def __init__(self, text: str, names: Names | None) -> None:
        """:param names: the names that exist; None to accept any name."""
        self.text = text.strip()
        margin = len(text) - len(text.lstrip())
        try:
            self.tree: Tree = jmespath.compile(self.text).parsed
            """The parsed expression; see ``shared/routing/expression_tree.py``."""
            expression_tree.check_depth(self.tree)
        except RecursionError as exc:
            raise InvalidExpression(Fault(_TOO_DEEP)) from exc
        except ValueError as exc:  # also for a number with too many digits
            offset = getattr(exc, "lex_position", None)
            raise InvalidExpression(
                Fault(f"is not JMESPath: {_parse_error(self.text, exc)}", None if offset is None else offset + margin)
            ) from exc
        if unknown := _unknown_uses(self.tree, names):
            offsets = expression_tree.name_offsets(self.text, self.tree)
            raise InvalidExpression(
                *(self._fault(complaint, offsets.get(id(node)), margin) for node, complaint in unknown)
            )

    def _fault(self, complaint: str, offset: int | None, margin: int) -> Fault:
        if offset is None:
            return Fault(complaint)
        if (quoted := _DOUBLE_QUOTES.match(self.text, offset)) is not None:
            complaint = f"{complaint.partition(';')[0]}; if it is a string, write '{quoted[1]}' in single quotes"
        return Fault(complaint, offset + margin)

    def evaluate(self, scope: Scope) -> Any:
        """Evaluate the expression on an event's scope.

        :raises ExpressionFailed: the event's values do not fit, for example a function received null.
        """
        try:
            return _INTERPRETER.visit(self.tree, scope)  # type: ignore[arg-type]  # its stubs want their own type
        except Exception as exc:  # for unexpected values, jmespath also raises TypeError and ValueError
            raise ExpressionFailed(f"'{self.text}' cannot be evaluated on this event: {shown(str(exc), 200)}") from exc


def is_true(answer: Any) -> bool:
    """Return whether a value is true in JMESPath: everything except null, false, '', [] and {}."""
    return answer is not None and answer is not False and answer not in ("", [], {})


class Template(NamedTuple):
    """Literal text with placeholders of the form ``{{ JMESPath }}``. ``parts`` has both, in order.

    :param is_json: whether the text is JSON. Each placeholder is then within a string.
    """

    text: str
    parts: tuple[str | Expression, ...]
    is_json: bool = False

    def render(self, scope: Scope, allow: ValuePattern | None = None) -> str:
        """Replace each placeholder with its value.

        :param allow: the pattern that each value must match, instead of ``SAFE_VALUE``.
        :raises ExpressionFailed: an expression cannot be evaluated on this scope.
        :raises MissingValue: the value of a placeholder is null, a list or an object.
        :raises UnsafeValue: a pipeline could interpret a value as script or macro.
        """
        pattern = allow or SAFE_VALUE
        values = (
            part if isinstance(part, str) else self._escaped(_safe_text(part, part.evaluate(scope), pattern))
            for part in self.parts
        )
        rendered = "".join(values)
        # Check the whole text again, since a value and the literal after it could together form a macro.
        if (found := forbidden_in(rendered)) is not None:
            raise UnsafeValue(f"{shown(rendered)} contains {found}, which must never reach a pipeline")
        return rendered

    def _escaped(self, value: str) -> str:
        return json.dumps(value, ensure_ascii=False)[1:-1] if self.is_json else value

    def render_any(self, scope: Scope) -> str:
        """Replace each placeholder with its value, whatever characters it contains.

        For keys, which are hashed and never reach a pipeline.

        :raises ExpressionFailed, MissingValue: as in ``render``.
        """
        return "".join(part if isinstance(part, str) else _text(part, part.evaluate(scope)) for part in self.parts)


def parse_template(text: str, names: Names | None) -> Template:
    """Compile a template.

    :param names: the names that exist; None to accept any name.
    :raises InvalidExpression: a placeholder does not parse or is not closed, or the literal text contains something
        that must never reach a pipeline. The error lists every fault.
    """
    parts: list[str | Expression] = []
    faults: list[Fault] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        parts.append(text[end : found.start()])
        if text[end : found.start()].endswith("$"):
            advice = f"${{{{ }}}} is the syntax of Azure Pipelines; write {{{{ {found[1].strip()} }}}}"
            faults.append(Fault(advice, found.start() - 1))
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
    found = forbidden_in(literal)
    if found is not None and not faults:
        advice = "; for a value of the event, write {{ expression }}" if "$" in found else ""
        faults.append(Fault(f"contains {found}, which must never reach a pipeline{advice}", start))
    return faults


def literal_placeholders(text: str, names: Names, *, identifies: bool = False) -> list[Fault]:
    """Return what is literal text, but probably not meant so: ``{ run_id }``, and ``run_id`` as the whole text.

    :param identifies: whether the text tells events apart. Then a name that is also a word, such as ``path``, is
        probably meant as a name.
    """
    found = []
    alone = _NAME_ALONE.fullmatch(text)
    is_name = alone is not None and (identifies or "_" in alone[1].partition(".")[0])
    for braces in [alone] if alone is not None and is_name else _SINGLE_BRACES.finditer(text):
        try:
            expression = Expression(braces[1], names)
        except InvalidExpression:
            continue
        if any(expression_tree.free_paths(expression.tree)):
            advice = f"is literal text, not a value of the event; did you mean {{{{ {expression.text} }}}}?"
            found.append(Fault(advice, braces.start()))
    return found


def _moved(fault: Fault, by: int) -> Fault:
    return Fault(fault.text, None if fault.offset is None else fault.offset + by)


def forbidden_in(text: str) -> str | None:
    """Return a name for the first part of a string that must never reach a pipeline, or None if there is none."""
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
    """Return untrusted text for a message: quoted, in ASCII and shortened."""
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
            raise MissingValue(f"'{expression.text}' has no value in this event")
        case list():
            raise MissingValue(f"'{expression.text}' is a list, not a single value; write join(',', …)")
        case float():
            raise MissingValue(f"'{expression.text}' is not a finite number")
        case _:
            kind = "an object" if isinstance(value, dict) else f"of type {type(value).__name__}"
            raise MissingValue(f"'{expression.text}' is {kind}, not a single value")


def _safe_text(expression: Expression, value: object, pattern: ValuePattern) -> str:
    text = _text(expression, value)
    if len(text) > MAX_VALUE_LENGTH:
        raise UnsafeValue(f"'{expression.text}' is {len(text)} characters long; at most {MAX_VALUE_LENGTH} are allowed")
    if (found := forbidden_in(text)) is not None:
        raise UnsafeValue(f"'{expression.text}' is {shown(text)}; {found} must never reach a pipeline")
    if not pattern.fullmatch(text):
        raise UnsafeValue(
            f"'{expression.text}' is {shown(text)}, which does not match {pattern.pattern}; "
            "if such values are safe in this pipeline, permit them with the route's 'allow'"
        )
    return text


# Operators of other languages, and their form in JMESPath.
_OPERATORS: Final = {"=": "==", "and": "&&", "or": "||", "&": "&&", "not": "!"}
# Literals of other languages, and their form in JMESPath.
_LITERALS: Final = {"true": "true", "false": "false", "null": "null", "none": "null"}
_DOUBLE_QUOTES: Final = re.compile(r'"([^"\\]*)"')
_NUMBER: Final = re.compile(r"-?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")


def _parse_error(text: str, exc: ValueError) -> str:
    """Return jmespath's reason, without its drawing of the position, and what to write instead, if that is known."""
    if "{{" in text:
        return "'{{' begins a placeholder, but this is an expression already; write it without '{{' and '}}'"
    if isinstance(exc, LexerError):
        # exc.lexer_value is the whole rest of the text, so it is not quoted.
        return f"{exc.message}{_hint(exc.lexer_value)}"
    if not isinstance(exc, JMESPathError):
        return "a number has too many digits"
    if not isinstance(exc, ParseError) or exc.token_value is None:  # the text is empty or ends too early
        return "the expression is not complete"
    is_named = exc.msg.endswith(f" {exc.token_value}")
    reason = exc.msg + ("" if is_named else f" at '{exc.token_value}'")
    if exc.msg == "invalid token" and (number := _NUMBER.match(text, exc.lex_position)) is not None:
        return f"{reason}; write `{float(number[0]) if number[0][0] == '.' else number[0]}` in backquotes"
    return reason + _hint(exc.token_value)


def _hint(token: object) -> str:
    return f"; write {_OPERATORS[token]}" if isinstance(token, str) and token in _OPERATORS else ""


def _unknown_uses(tree: Tree, names: Names | None) -> list[tuple[Tree, str]]:
    """Return each node with an unknown name or a wrong call, and the complaint. Each complaint appears once."""
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
    arguments = f"{given} argument" + ("" if given == 1 else "s")
    return f"calls the function '{name}' with {arguments}; it takes {least}" + (" or more" if is_open else "")


def _unknown_name(path: tuple[str, ...], names: Names) -> str | None:
    top = path[0]
    if top not in names and top.lower() in _LITERALS:
        literal = _LITERALS[top.lower()]
        return f"uses the name '{top}', which does not exist here; write `{literal}` in backquotes" + (
            "" if literal == "null" else f", or '{literal}' if the other side is a string"
        )
    if top in GATHERED_NAMES and top not in names:
        where = "only 'parameters' and 'variables' of a route with 'gather' have it"
        return f"uses the name '{top}', which does not exist here; {where}"
    if top not in names:
        complaint = _unknown("name", top, names)
        is_below_data = names == scope_names(()) and "did you mean" not in complaint
        return f"{complaint}; write data.{'.'.join(path)}" if is_below_data else complaint
    below = names[top]
    if below and len(path) > 1 and path[1] not in below:
        return _unknown("name", f"{top}.{path[1]}", [f"{top}.{name}" for name in below])
    return None


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    return f"uses the {kind} '{name}', which does not exist here; {suggestion(name, known)}"
