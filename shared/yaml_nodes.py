"""Reads YAML's node tree and notes every problem with its line, instead of stopping at the first.

Nodes rather than plain values, since only nodes know where they stand.
"""

from collections.abc import Callable, Collection
from typing import Any, Final, TypeVar

import yaml

from shared.errors import Problem
from shared.templates import suggestion

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_SHOWN_LENGTH: Final = 60

Value = TypeVar("Value")


class WrongValue(Exception):
    """A node is not what it should be; ``attempt`` notes it, so that the reading goes on."""


class NodeReader:
    """The nodes of one YAML text, and the problems found in it so far."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.problems: list[Problem] = []

    def root(self) -> yaml.Node | None:
        """The document's node; None where the text is empty or, with its problem noted, no YAML."""
        try:
            return yaml.compose(self._text, Loader=_Loader)
        except yaml.YAMLError as exc:
            mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            what = getattr(exc, "problem", None) or str(exc)
            self.problems.append(Problem(line, column, "", f"this is not YAML: {what}"))
            return None

    def note(self, node: yaml.Node, advice: str, *, text: str | None = None) -> None:
        """Note a problem at a node."""
        mark = node.start_mark
        self.problems.append(
            Problem(mark.line + 1, mark.column + 1, self.shown(node) if text is None else text, advice)
        )

    def attempt(self, read: Callable[[yaml.Node], Value], node: yaml.Node) -> Value | None:
        """Read a node; where it is wrong, note that and return None."""
        try:
            return read(node)
        except WrongValue as exc:
            self.note(node, str(exc))
            return None

    def mapping(self, node: yaml.Node, what: str, known: Collection[str] | None = None) -> dict[str, yaml.Node]:
        """A mapping's values by key; notes keys that are no text, come twice or are not ``known``."""
        if not isinstance(node, yaml.MappingNode):
            self.note(node, f"{what} must be a mapping of keys to values")
            return {}
        found: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.note(key_node, 'a key must be plain text; a placeholder must stand in quotes: "{{ … }}"')
            elif key_node.value in found:
                self.note(key_node, f"this key stands twice in {what}; remove one")
            elif known is not None and key_node.value not in known:
                self.note(key_node, f"{what} has no such key; {suggestion(key_node.value, known)}")
            else:
                found[key_node.value] = value_node
        return found

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """A list's items."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.note(node, f"{what} must be a list")
        return []

    def shown(self, node: yaml.Node) -> str:
        """The node as it stands in the file, cut, on one line."""
        text = " ".join(self._text[node.start_mark.index : node.end_mark.index].split())
        return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


def scalar_text(node: yaml.Node) -> str:
    """A scalar's text, just as it is written: ``5.10`` stays ``5.10``.

    :raises WrongValue: it is null, or no scalar.
    """
    if isinstance(node, yaml.MappingNode):
        raise WrongValue('must be text, not a mapping; a placeholder must stand in quotes: "{{ … }}"')
    if not isinstance(node, yaml.ScalarNode):
        raise WrongValue("must be text, not a list")
    if node.tag == f"{_TAG}null":
        raise WrongValue("has no value; give one or remove the key")
    return str(node.value)


def boolean(node: yaml.Node) -> bool:
    """:raises WrongValue: the node is not true or false."""
    if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}bool":
        return str(node.value).lower() in {"true", "yes", "on"}
    raise WrongValue("must be true or false")


def positive_integer(node: yaml.Node) -> int:
    """:raises WrongValue: the node is not a whole number above zero."""
    text = scalar_text(node)
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise WrongValue("must be a whole number above zero")
    return int(text)
