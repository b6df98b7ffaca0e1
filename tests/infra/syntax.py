"""A parser for the parts of Bicep that ``infra/`` uses.

Source: the grammar in the Bicep documentation, "Bicep file structure and syntax" and "Expressions".
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

_SPACE: Final = re.compile(r"(?:[ \t]|//[^\n]*|#disable-next-line[^\n]*)*")
_TOKEN: Final = re.compile(r"(?P<word>[A-Za-z_]\w*)|(?P<number>\d+)|(?P<sign>\?\?|==|!=|&&|\|\||=>|\.\.\.|::|[^\w\s])")
_BINARY: Final = (("??",), ("||",), ("&&",), ("==", "!="), ("<", ">"), ("+", "-"), ("*", "/", "%"))
"""Operators by precedence, the loosest first."""
_CONSTANTS: Final = {"true": True, "false": False, "null": None}


class Node(NamedTuple):
    """A part of an expression: its kind, and what belongs to it."""

    kind: str
    parts: tuple[Any, ...]


class Declaration(NamedTuple):
    """A param, var, output, resource or module.

    :param type: the type of a resource, the path of a module, otherwise empty.
    :param value: the default of a param, None if it is required; the value of a var or output; the body of a resource
        or module.
    :param nested: the resources that are declared inside this one.
    """

    keyword: str
    name: str
    type: str
    value: Node | None
    is_existing: bool
    nested: "tuple[Declaration, ...]"


class _Token(NamedTuple):
    kind: str
    value: Any


def parse(text: str) -> list[Declaration]:
    """Return the declarations of a Bicep file."""
    parser = _Parser(_tokens(text))
    return list(parser.declarations())


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while (at := _after(_SPACE, text, at)) < len(text):
        if text[at] == "\n":
            found.append(_Token("newline", "\n"))
            at += 1
        elif text[at] == "'":
            parts, at = _string(text, at + 1)
            found.append(_Token("string", parts))
        else:
            match = _TOKEN.match(text, at)
            assert match is not None, text[at : at + 40]
            found.append(_Token(str(match.lastgroup), match[0]))
            at = match.end()
    return [*found, _Token("newline", "\n"), _Token("end", "")]


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _string(text: str, at: int) -> tuple[list[str | Node], int]:
    """Return the parts of a string, literal or expressions, and the position after its closing quote."""
    parts: list[str | Node] = [""]
    while text[at] != "'":
        if text.startswith("${", at):
            end = _end_of_expression(text, at + 2)
            parts += [_Parser(_tokens(text[at + 2 : end])).expression(), ""]
            at = end + 1
        else:
            at += text[at] == "\\"
            parts[-1] = f"{parts[-1]}{text[at]}"
            at += 1
    return parts, at + 1


def _end_of_expression(text: str, at: int) -> int:
    while text[at] != "}":
        at = _string(text, at + 1)[1] if text[at] == "'" else at + 1
    return at


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def declarations(self) -> "list[Declaration]":
        found = []
        while not self._is("end", "") and not self._is("sign", "}"):
            if self._takes("newline") or self._takes_decorator():
                continue
            if (declared := self._declaration()) is not None:
                found.append(declared)
        return found

    def _declaration(self) -> Declaration | None:
        keyword = self._word()
        if keyword == "targetScope":
            self._take("sign", "=")
            self.expression()
            return None
        name = self._word()
        if keyword in {"resource", "module"}:
            (type_name,) = self._take("string")
            is_existing = self._takes("word", "existing")
            self._take("sign", "=")
            nested: list[Declaration] = []
            return Declaration(keyword, name, type_name, self._body(nested), is_existing, tuple(nested))
        if keyword != "var":
            self._word()
        no_value = Node("literal", (None,)) if self._takes("sign", "?") else None
        value = self.expression() if self._takes("sign", "=") else no_value
        return Declaration(keyword, name, "", value, False, ())

    def _body(self, nested: list[Declaration]) -> Node:
        if self._takes("word", "if"):
            condition = self._in_brackets(self.expression)
            return Node("if", (condition, self._object(nested)))
        if self._is("sign", "["):
            return self._array()
        return self._object(nested)

    def expression(self) -> Node:
        condition = self._binary(0)
        if not self._takes_on_any_line("?"):
            return condition
        yes = self.expression()
        assert self._takes_on_any_line(":")
        return Node("choice", (condition, yes, self.expression()))

    def _binary(self, level: int) -> Node:
        if level == len(_BINARY):
            return self._unary()
        left = self._binary(level + 1)
        while self._tokens[self._at].kind == "sign" and (sign := self._tokens[self._at].value) in _BINARY[level]:
            self._at += 1
            left = Node("binary", (sign, left, self._binary(level + 1)))
        return left

    def _unary(self) -> Node:
        if self._takes("sign", "!"):
            return Node("not", (self._unary(),))
        node = self._primary()
        while True:
            if self._takes("sign", "!"):
                continue
            if self._takes("sign", ".") or self._takes("sign", "::"):
                node = Node("member", (node, self._word()))
            elif self._takes("sign", "["):
                node = Node("index", (node, self.expression()))
                self._take("sign", "]")
            else:
                return node

    def _primary(self) -> Node:
        token = self._tokens[self._at]
        if token.kind == "sign":
            node: Node = {"(": self._group, "{": self._object, "[": self._array}[token.value]()
            return node
        self._at += 1
        if token.kind == "string":
            return Node("string", tuple(token.value))
        if token.kind == "number" or token.value in _CONSTANTS:
            return Node("literal", (int(token.value) if token.kind == "number" else _CONSTANTS[token.value],))
        return self._named(token)

    def _group(self) -> Node:
        node: Node = self._in_brackets(self.expression)
        return node

    def _named(self, token: _Token) -> Node:
        assert token.kind == "word", token
        if self._takes("sign", "=>"):
            return Node("lambda", (token.value, self.expression()))
        if self._is("sign", "("):
            return Node("call", (token.value, *self._in_brackets(self._arguments)))
        return Node("name", (token.value,))

    def _arguments(self) -> list[Node]:
        found: list[Node] = []
        while not self._is("sign", ")"):
            found.append(self.expression())
            self._takes("sign", ",")
            self._skip_lines()
        return found

    def _object(self, nested: list[Declaration] | None = None) -> Node:
        self._take("sign", "{")
        entries: list[tuple[Node | None, Node]] = []
        while not self._takes("sign", "}"):
            if self._takes("newline") or self._takes("sign", ","):
                continue
            if self._takes("sign", "..."):
                entries.append((None, self.expression()))
            elif nested is not None and self._is("word", "resource") and self._tokens[self._at + 1].kind == "word":
                declared = self._declaration()
                assert declared is not None
                nested.append(declared)
            else:
                token = self._tokens[self._at]
                self._at += 1
                key = Node("string", tuple(token.value) if token.kind == "string" else (token.value,))
                self._take("sign", ":")
                entries.append((key, self.expression()))
        return Node("object", tuple(entries))

    def _array(self) -> Node:
        self._take("sign", "[")
        self._skip_lines()
        if self._takes("word", "for"):
            names = self._in_brackets(self._loop_names) if self._is("sign", "(") else [self._word()]
            assert self._word() == "in"
            items = self.expression()
            self._take("sign", ":")
            body = self._body([])
            self._skip_lines()
            self._take("sign", "]")
            return Node("for", (names, items, body))
        found: list[Node] = []
        while not self._takes("sign", "]"):
            found.append(self.expression())
            self._takes("sign", ",")
            self._skip_lines()
        return Node("array", tuple(found))

    def _loop_names(self) -> list[str]:
        first = self._word()
        self._take("sign", ",")
        return [first, self._word()]

    def _in_brackets(self, read: Callable[[], Any]) -> Any:
        self._take("sign", "(")
        self._skip_lines()
        found = read()
        self._skip_lines()
        self._take("sign", ")")
        return found

    def _takes_decorator(self) -> bool:
        return self._takes("sign", "@") and bool(self.expression())

    def _takes_on_any_line(self, sign: str) -> bool:
        start = self._at
        self._skip_lines()
        if self._takes("sign", sign):
            self._skip_lines()
            return True
        self._at = start
        return False

    def _skip_lines(self) -> None:
        while self._takes("newline"):
            pass

    def _is(self, kind: str, value: str | None = None) -> bool:
        token = self._tokens[self._at]
        return token.kind == kind and value in {None, token.value if isinstance(token.value, str) else None}

    def _takes(self, kind: str, value: str | None = None) -> bool:
        found = self._is(kind, value)
        self._at += found
        return found

    def _take(self, kind: str, value: str | None = None) -> Any:
        assert self._is(kind, value), f"expected {value or kind}, found {self._tokens[self._at : self._at + 5]}"
        self._at += 1
        return self._tokens[self._at - 1].value

    def _word(self) -> str:
        return str(self._take("word"))
