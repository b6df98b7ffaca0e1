"""Compiles objects and lists in routes.yaml to templates of JSON, as Azure DevOps takes them. Pure."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Final

import yaml

from shared.routing.templates import Expression, Template, forbidden_in
from shared.routing.yaml_nodes import TAG, NodeReader, WrongValue

_MAX_DEPTH: Final = 32
_MAX_VALUES: Final = 1000
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")

Part = str | Expression


class JsonReader:
    """Reads one object or list.

    :param template: reads a string, which may contain placeholders.
    """

    def __init__(self, nodes: NodeReader, template: Callable[[yaml.Node], Template]) -> None:
        self._nodes = nodes
        self._template = template
        self._count = 0

    def read(self, node: yaml.Node) -> Template:
        """Return the template. The problems of its strings and keys are added.

        :raises WrongValue: the node is too large, too deep or contains an unquoted placeholder.
        """
        parts: list[Part] = []
        for part in self._parts(node, 0):
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            else:
                parts.append(part)
        text = "".join(part if isinstance(part, str) else f"{{{{ {part.text} }}}}" for part in parts)
        return Template(text, tuple(parts), is_json=True)

    def _parts(self, node: yaml.Node, depth: int) -> Iterator[Part]:
        self._count += 1
        if depth > _MAX_DEPTH or self._count > _MAX_VALUES:  # an alias may contain itself
            raise WrongValue(f"is too large; at most {_MAX_VALUES} values on {_MAX_DEPTH} levels are allowed")
        if isinstance(node, yaml.MappingNode):
            if any(is_empty(value) for _, value in node.value):
                raise WrongValue('has a key without a value; write null, or put a placeholder in quotes: "{{ … }}"')
            entries = self._nodes.mapping(node, "an object")
            for key_node, _ in node.value:
                self._check_key(key_node)
            yield "{"
            for number, (key, value) in enumerate(entries.items()):
                yield f"{', ' * bool(number)}{_json(key)}: "
                yield from self._parts(value, depth + 1)
            yield "}"
        elif isinstance(node, yaml.SequenceNode):
            yield "["
            for number, item in enumerate(node.value):
                yield ", " * bool(number)
                yield from self._parts(item, depth + 1)
            yield "]"
        else:
            yield from self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Iterator[Part]:
        """Yield a scalar as it is written: ``5.10`` stays ``5.10``, and ``yes`` is a string."""
        kind, text = node.tag.removeprefix(TAG), str(node.value)
        if kind == "null":
            yield "null"
        elif kind == "bool" and text.lower() in {"true", "false"}:
            yield text.lower()
        elif kind in {"int", "float"} and _NUMBER.fullmatch(text):
            yield text
        elif (template := self._nodes.try_read(self._template, node)) is not None:
            yield '"'
            yield from (_json(part)[1:-1] if isinstance(part, str) else part for part in template.parts)
            yield '"'

    def _check_key(self, node: yaml.Node) -> None:
        key = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
        if node.tag == f"{TAG}merge":
            self._nodes.add_problem(node, "merging is not possible here; write the keys of the object out")
        elif (found := forbidden_in(key)) is not None or "{{" in key:
            self._nodes.add_problem(node, f"a key contains {found or 'a placeholder'}; write plain text")


def is_empty(node: yaml.Node) -> bool:
    """Return whether nothing is written where a value belongs, as after ``run_id`` in ``{ run_id }``."""
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{TAG}null" and node.value == ""


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
