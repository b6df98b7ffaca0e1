"""Reads the nodes of a YAML file and collects every problem with its line, instead of stopping at the first.

The reader works on nodes because plain values have no positions.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

import yaml

from shared.errors import Problem
from shared.http.masking import without_url_credentials
from shared.routing import yaml_documents
from shared.routing.templates import Fault
from shared.routing.yaml_positions import source_offset
from shared.suggestion import suggestion

TAG: Final = "tag:yaml.org,2002:"
TEXT_TAG: Final = f"{TAG}str"
SET_IT: Final = "set it in the application settings, or locally in local.settings.json, which 'make setup' makes"
"""What to do about an environment value that is not set."""
_PLAIN_TAGS: Final = {f"{TAG}{kind}" for kind in ("str", "int", "float", "bool")}
_MAX_INTEGER: Final = 2**31 - 1
_SHOWN_LENGTH: Final = 60
_ENVIRONMENT_VALUE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_UNCLOSED: Final = re.compile(r"\$\{(?!\{)(\w*)[^}]*\Z")
_BARE: Final = re.compile(r"\$(?:env:)?([A-Za-z_]\w*)")
_PASSWORD: Final = re.compile(r"://[^\s/?#'\"]*:(?!\d+[/?#])[^\s'\"]*@")
FOLDER_EXAMPLE: Final = r"\ml\evaluate"
SINGLE_QUOTES: Final = (
    f"in double quotes, a backslash begins an escape sequence; use single quotes, as in '{FOLDER_EXAMPLE}'"
)
"""What to do about a backslash in double quotes."""
_KEEP_SECRETS: Final = "a pipeline reads its secrets from its own variable group or vault"

Value = TypeVar("Value")


class WrongValue(Exception):
    """The value of a node is invalid. ``try_read`` turns the error into a problem and continues.

    :param faults: what is wrong; a plain string applies to the whole node.
    """

    def __init__(self, *faults: Fault | str) -> None:
        self.faults = tuple(Fault(fault) if isinstance(fault, str) else fault for fault in faults)
        super().__init__("; ".join(fault.text for fault in self.faults))


class NodeReader:
    """The nodes of one YAML file and the problems found in it so far.

    :ivar problems: what is wrong with the file.
    :ivar unset: where the file uses an environment value that is not set. A caller may accept these problems.
    :ivar literal: where literal text is probably meant to be a value. The app accepts it.
    """

    def __init__(self, text: str, environment: Mapping[str, str], secrets: Collection[str] = ()) -> None:
        """
        :param environment: where ``${NAME}`` is looked up.
        :param secrets: the names, in upper case, that must not be looked up because they may contain a secret.
        """
        self._text = text
        self._environment = environment
        self._secrets = secrets
        self.problems: list[Problem] = []
        self.unset: list[Problem] = []
        self.literal: list[Problem] = []
        self._unset_nodes: dict[int, yaml.Node] = {}
        self._excused = 0

    @property
    def invalid_count(self) -> int:
        """Return the number of problems, plus the values that an unset environment value makes unreadable."""
        return len(self.problems) + self._excused

    def root(self, *, follows_aliases: bool = False) -> yaml.Node | None:
        """Return the document's node; None if the file is empty, or if it is not YAML, which is added as a problem.

        :param follows_aliases: as in ``yaml_documents.compose``.
        """
        try:
            return yaml_documents.compose(self._text, follows_aliases=follows_aliases)
        except yaml.YAMLError as exc:
            mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            what = getattr(exc, "problem", None) or str(exc)
            self.problems.append(Problem(line, column, "", f"the file is not valid YAML: {what}{_yaml_hint(exc)}"))
            return None

    def add_problem(self, node: yaml.Node, advice: str, *, text: str | None = None, offset: int | None = None) -> None:
        """Add a problem of a node.

        :param text: the text to show instead of the node's own.
        :param offset: the position of the problem in the node's text, as ``text`` returns it.
        """
        self.problems.append(self._problem(node, Fault(advice, offset), text))

    def doubt(self, node: yaml.Node, fault: Fault) -> None:
        """Add literal text that is probably meant to be a value."""
        self.literal.append(self._problem(node, fault))

    def _problem(self, node: yaml.Node, fault: Fault, text: str | None = None) -> Problem:
        line, column = self.position(node, fault.offset)
        shown = self.shown(node) if text is None else text
        return Problem(line, column, *map(without_url_credentials, (shown, fault.text)))

    def try_read(self, read: Callable[[yaml.Node], Value], node: yaml.Node) -> Value | None:
        """Read a node. If it is invalid, add the problem and return None.

        If the node uses an unset environment value, no problem is added, since it may be valid once the value is set.
        """
        try:
            return read(node)
        except WrongValue as exc:
            if self.is_unset(node):
                self._excused += 1
                return None
            for fault in exc.faults:
                self.add_problem(node, fault.text, offset=fault.offset)
            return None

    def text(self, node: yaml.Node) -> str:
        """Return a scalar's text with ``${NAME}`` replaced. A name that is not set is added to ``unset`` and stays.

        :raises WrongValue: the node is null or not a scalar, or contains a secret.
        """
        text = scalar_text(node)
        names = _ENVIRONMENT_VALUE.findall(text)
        if secret := next((name for name in names if name.upper() in self._secrets), None):
            raise WrongValue(f"uses the secret {secret}; {_KEEP_SECRETS}")
        expanded = _ENVIRONMENT_VALUE.sub(lambda found: self._environment.get(found[1]) or found[0], text)
        if _PASSWORD.search(expanded):
            raise WrongValue(f"must not contain a user name and password in a URL; {_KEEP_SECRETS}")
        if (unclosed := _UNCLOSED.search(expanded)) is not None:
            advice = f"has an environment value that is not closed; write ${{{unclosed[1] or 'NAME'}}}"
            raise WrongValue(Fault(advice, unclosed.start()))
        missing = [name for name in names if not self._environment.get(name)]
        if missing and not self.is_unset(node):
            self._unset_nodes[id(node)] = node
            line, column = self.position(node, text.index(f"${{{missing[0]}}}"), is_expanded=False)
            advice = f"needs the environment value {', '.join(missing)}, which is not set; {SET_IT}"
            self.unset.append(Problem(line, column, self.shown(node), advice))
        return expanded

    def is_unset(self, node: yaml.Node) -> bool:
        """Return whether the node has been read and uses an environment value that is not set."""
        return id(node) in self._unset_nodes

    def position(self, node: yaml.Node, offset: int | None = None, *, is_expanded: bool = True) -> tuple[int, int]:
        """Return line and column, from 1, of a node or of a character of a scalar.

        :param offset: the offset of the character in the scalar's text; None for the beginning of the node.
        :param is_expanded: whether ``offset`` refers to the text with environment values, not to the text as written.
        """
        start = node.start_mark
        at = None
        if offset is not None and isinstance(node, yaml.ScalarNode):
            if is_expanded:
                offset = self._unexpanded_offset(node.value, offset)
            at = source_offset(self._text[start.index : node.end_mark.index], node.style or "", node.value, offset)
        if at is None:
            return start.line + 1, start.column + 1
        before = self._text[start.index : start.index + at]
        last_line = before.rpartition("\n")[2]
        return start.line + 1 + before.count("\n"), len(last_line) + 1 + (0 if "\n" in before else start.column)

    def _unexpanded_offset(self, text: str, offset: int) -> int:
        """Convert an offset in the text with environment values to an offset in the text as written."""
        for found in _ENVIRONMENT_VALUE.finditer(text):
            length = len(self._environment.get(found[1]) or found[0])
            if offset < found.start():
                break
            if offset < found.start() + length:  # within a value: point to its name in the file
                return found.start()
            offset += len(found[0]) - length
        return offset

    def mapping(self, node: yaml.Node, what: str, known: Collection[str] | None = None) -> dict[str, yaml.Node]:
        """Return a mapping's nodes by key. Add a problem for each key that is unreadable, repeated or not ``known``."""
        if not isinstance(node, yaml.MappingNode):
            self.add_problem(node, f"{what} must be a mapping of keys to values")
            return {}
        found: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.add_problem(key_node, 'a key must be a plain string; put a placeholder in quotes: "{{ … }}"')
            elif key_node.value in found:
                self.add_problem(key_node, f"this key appears twice in {what}; remove one")
            elif known is not None and key_node.value not in known:
                self.add_problem(key_node, f"{what} has no such key; {suggestion(key_node.value, known)}")
            else:
                found[key_node.value] = value_node
        return found

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the nodes of a list's items."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.add_problem(node, f"{what} must be a list")
        return []

    def shown(self, node: yaml.Node) -> str:
        """Return the node's text in the file, on one line, shortened, and without credentials in URLs."""
        text = " ".join(self._text[node.start_mark.index : node.end_mark.index].split())
        text = without_url_credentials(text)
        return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


def bare_name(text: str, *, anywhere: bool) -> Fault | None:
    """Return what is wrong with ``$NAME`` in a string; None if there is none.

    :param anywhere: whether the string is never meant for a shell, so that it must not contain ``$NAME`` at all.
    """
    found = _BARE.search(text)
    if found is None or not (anywhere or found[0] == text.strip()):
        return None
    return Fault(f"is literal text, not an environment value; write ${{{found[1]}}}", found.start())


def scalar_text(node: yaml.Node) -> str:
    """Return a scalar's text as it is written: ``5.10`` stays ``5.10``.

    :raises WrongValue: the node is null or not a scalar.
    """
    if isinstance(node, yaml.MappingNode):
        raise WrongValue('must be a single value, not a mapping; put a placeholder in quotes: "{{ … }}"')
    if not isinstance(node, yaml.ScalarNode):
        raise WrongValue("must be a single value, not a list")
    if node.tag == f"{TAG}null":
        raise WrongValue("has no value; give one or remove the key")
    return str(node.value)


def boolean(node: yaml.Node) -> bool:
    """Return a boolean.

    :raises WrongValue: the node is not true or false.
    """
    if isinstance(node, yaml.ScalarNode) and node.tag == f"{TAG}bool":
        return str(node.value).lower() in {"true", "yes", "on"}
    raise WrongValue("must be true or false")


def positive_integer(node: yaml.Node) -> int:
    """Return a whole number above zero.

    :raises WrongValue: the node is anything else.
    """
    return positive(scalar_text(node))


def positive(text: str) -> int:
    """Return a whole number above zero.

    :raises WrongValue: the text is anything else.
    """
    if not text.isascii() or not text.isdigit() or not text.strip("0"):
        raise WrongValue("must be a whole number above zero")
    if len(text) > len(str(_MAX_INTEGER)) or int(text) > _MAX_INTEGER:
        raise WrongValue(f"must be at most {_MAX_INTEGER}")
    return int(text)


def plain_value(node: yaml.Node) -> str | int | float | bool:
    """Return a scalar as YAML reads it: a string, number or boolean.

    :raises WrongValue: the node is anything else.
    """
    scalar_text(node)
    try:
        value = yaml.SafeLoader("").construct_object(node) if node.tag in _PLAIN_TAGS else None
    except (LookupError, ValueError):  # the tag does not fit the value, as in '!!int x'
        value = None
    if not isinstance(value, str | int | float | bool):
        raise WrongValue("must be a string, a number, true or false; put any other value in quotes")
    return value


def _yaml_hint(exc: yaml.YAMLError) -> str:
    """Return what to write instead of a backslash, which in double quotes begins an escape sequence."""
    problem = getattr(exc, "problem", None) or ""
    return f"; {SINGLE_QUOTES}" if "escape" in problem or "hex" in problem else ""
