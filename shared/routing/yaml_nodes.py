"""Reads YAML's node tree and notes every problem with its line, instead of stopping at the first.

Nodes rather than plain values, since only nodes know where they stand.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

import yaml

from shared.errors import Problem
from shared.routing.templates import Fault
from shared.routing.yaml_positions import source_offset
from shared.suggestion import suggestion

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_SHOWN_LENGTH: Final = 60
_ENVIRONMENT_VALUE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Value = TypeVar("Value")


class WrongValue(Exception):
    """A node is not what it should be; ``attempt`` notes it, so that the reading goes on.

    :param faults: what is wrong; a plain text for the node as a whole.
    """

    def __init__(self, *faults: Fault | str) -> None:
        self.faults = tuple(Fault(fault) if isinstance(fault, str) else fault for fault in faults)
        super().__init__("; ".join(fault.text for fault in self.faults))


class NodeReader:
    """The nodes of one YAML text, and the problems found in it so far.

    :ivar unset: where the text needs an environment value that is not set, for a caller that would read on without.
    """

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        """:param environment: where ``${NAME}`` is looked up."""
        self._text = text
        self._environment = environment
        self.problems: list[Problem] = []
        self.unset: list[Problem] = []
        self._unset_nodes: dict[int, yaml.Node] = {}
        self._excused = 0

    @property
    def count_of_mistakes(self) -> int:
        """How many problems there are, and values that cannot be read for want of an environment value."""
        return len(self.problems) + self._excused

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

    def note(self, node: yaml.Node, advice: str, *, text: str | None = None, offset: int | None = None) -> None:
        """Note a problem at a node.

        :param text: to be shown instead of the node's own.
        :param offset: where in the node's text (see ``text``) it is.
        """
        line, column = self.position(node, offset)
        self.problems.append(Problem(line, column, self.shown(node) if text is None else text, advice))

    def attempt(self, read: Callable[[yaml.Node], Value], node: yaml.Node) -> Value | None:
        """Read a node; where it is wrong, note that and return None.

        What is wrong with a text that lacks an environment value is not said: it may be right with the value.
        """
        try:
            return read(node)
        except WrongValue as exc:
            if self.is_unset(node):
                self._excused += 1
                return None
            for fault in exc.faults:
                self.note(node, fault.text, offset=fault.offset)
            return None

    def text(self, node: yaml.Node) -> str:
        """A scalar's text with the environment's values filled in; a value that is not set is noted and stays ``${…}``.

        :raises WrongValue: the node is null, or no scalar.
        """
        text = scalar_text(node)
        missing = [name for name in _ENVIRONMENT_VALUE.findall(text) if not self._environment.get(name)]
        if missing and not self.is_unset(node):
            self._unset_nodes[id(node)] = node
            line, column = self.position(node, text.index(f"${{{missing[0]}}}"), is_filled_in=False)
            advice = (
                f"needs the environment value {', '.join(missing)}, which is not set; set it in the application "
                "settings, or locally in local.settings.json"
            )
            self.unset.append(Problem(line, column, self.shown(node), advice))
        return _ENVIRONMENT_VALUE.sub(lambda found: self._environment.get(found[1]) or found[0], text)

    def is_unset(self, node: yaml.Node) -> bool:
        """Whether the node's text has been read and lacks an environment value."""
        return id(node) in self._unset_nodes

    def position(self, node: yaml.Node, offset: int | None = None, *, is_filled_in: bool = True) -> tuple[int, int]:
        """Line and column, from 1, of a node or of a place in a scalar's text.

        :param offset: in the text; None for the node's beginning.
        :param is_filled_in: the text is the one with the environment's values.
        """
        start = node.start_mark
        at = None
        if offset is not None and isinstance(node, yaml.ScalarNode):
            if is_filled_in:
                offset = self._before_filling_in(node.value, offset)
            at = source_offset(self._text[start.index : node.end_mark.index], node.style or "", node.value, offset)
        if at is None:
            return start.line + 1, start.column + 1
        before = self._text[start.index : start.index + at]
        last_line = before.rpartition("\n")[2]
        return start.line + 1 + before.count("\n"), len(last_line) + 1 + (0 if "\n" in before else start.column)

    def _before_filling_in(self, text: str, offset: int) -> int:
        """Where a place in the filled-in text is in the text as it is written."""
        for found in _ENVIRONMENT_VALUE.finditer(text):
            length = len(self._environment.get(found[1]) or found[0])
            if offset < found.start():
                break
            if offset < found.start() + length:  # within a value: what is meant is where the file names it
                return found.start()
            offset += len(found[0]) - length
        return offset

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


def plain_value(node: yaml.Node) -> str | int | float | bool:
    """A scalar as YAML reads it: a text, number or boolean.

    :raises WrongValue: it is something else.
    """
    scalar_text(node)
    value = yaml.SafeLoader("").construct_object(node)
    if not isinstance(value, str | int | float | bool):
        raise WrongValue("must be a text, a number, true or false; put anything else in quotes")
    return value
