"""An interpreter for the part of Azure Logic Apps' workflow definition language that ``infra/notifications`` uses.

It is stricter than Logic Apps: all arguments of a function are evaluated, also those of the branch that ``if`` does not
take. Source: Logic Apps documentation, workflow definition language and reference of workflow expression functions.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

_TOKENS: Final = re.compile(r"\s*('(?:[^']|'')*'|\d+|\w+|\?\[|[\[\](),])")

_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64ToString": lambda text: base64.b64decode(text, validate=True).decode(),
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "concat": lambda *texts: "".join(texts),
    "createArray": lambda *values: list(values),
    "empty": lambda value: not value,
    "encodeURIComponent": lambda text: quote(text, safe=""),
    "if": lambda condition, yes, no: yes if condition else no,
    "json": json.loads,
    "last": lambda values: values[-1],
    "replace": lambda text, old, new: text.replace(old, new),
    "setProperty": lambda document, name, value: {**document, name: value},
    "split": lambda text, separator: text.split(separator),
    "startsWith": lambda text, start: text.lower().startswith(start.lower()),
}


class Workflow:
    """One run of a workflow.

    :param parameters: what ``parameters()`` returns, by name.
    :param trigger_body: what ``triggerBody()`` returns.
    """

    def __init__(self, parameters: Mapping[str, Any], trigger_body: object) -> None:
        self.outputs: dict[str, Any] = {}
        self._functions: Mapping[str, Callable[..., Any]] = {
            **_FUNCTIONS,
            "outputs": self.outputs.__getitem__,
            "parameters": parameters.__getitem__,
            "triggerBody": lambda: trigger_body,
        }

    def evaluated(self, document: Any) -> Any:
        """Return a part of a definition with the values of its expressions."""
        match document:
            case dict():
                return {name: self.evaluated(value) for name, value in document.items()}
            case list():
                return [self.evaluated(value) for value in document]
            case str() if document.startswith("@") and not document.startswith(("@@", "@{")):
                return self._value(document[1:])
            case str():
                return re.sub(r"@\{(.*?)\}", lambda found: self._text(found[1]), document)
            case _:
                return document

    def _text(self, expression: str) -> str:
        value = self._value(expression)
        return "" if value is None else str(value)

    def _value(self, expression: str) -> Any:
        tokens, at = [], 0
        while at < len(expression):
            found = _TOKENS.match(expression, at)
            assert found is not None, f"cannot read {expression[at:]!r}"
            tokens.append(found[1])
            at = found.end()
        tokens.reverse()
        value = self._operand(tokens)
        assert not tokens, f"unexpected {tokens[::-1]} in {expression!r}"
        return value

    def _operand(self, tokens: list[str]) -> Any:
        token = tokens.pop()
        if token.startswith("'"):
            value: Any = token[1:-1].replace("''", "'")
        elif token.isdigit():
            value = int(token)
        else:
            value = self._functions[token](*self._arguments(tokens))
        while tokens and tokens[-1] in {"[", "?["}:
            opening = tokens.pop()
            name = self._operand(tokens)
            assert tokens.pop() == "]"
            value = value.get(name) if opening == "?[" else value[name]
        return value

    def _arguments(self, tokens: list[str]) -> list[Any]:
        assert tokens.pop() == "("
        values: list[Any] = []
        while tokens[-1] != ")":
            values.append(self._operand(tokens))
            if tokens[-1] == ",":
                tokens.pop()
        tokens.pop()
        return values
