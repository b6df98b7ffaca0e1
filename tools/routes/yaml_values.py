"""Finds placeholders whose values Azure Pipelines would parse as YAML, in parameters of types such as stepList.

There, a value such as ``- script: curl …`` is not text but a step. Within quotes it stays text, because a value
contains no quote and no backslash unless the route's ``allow`` permits them. Pure.
"""

from collections.abc import Iterator
from typing import Final

import yaml

from shared.routing.templates import Template

YAML_TYPES: Final = frozenset(
    {"object", "step", "steplist", "job", "joblist", "deployment", "deploymentlist", "stage", "stagelist", "stringlist"}
)
"""The types of parameters whose values are parsed, in lower case. Source: Azure Pipelines YAML schema, parameters."""

_STAND_IN: Final = "nextstage0value"


def parses_a_value(template: Template) -> bool:
    """Return whether the value of a placeholder would be parsed as YAML, because it is not within quotes."""
    if all(isinstance(part, str) for part in template.parts):
        return False
    text = "".join(part if isinstance(part, str) else _STAND_IN for part in template.parts)
    try:
        nodes = list(_scalars(yaml.compose(text, Loader=yaml.SafeLoader)))
    except yaml.YAMLError:
        return True
    return any(_STAND_IN in node.value and node.style not in {"'", '"'} for node in nodes)


def looks_like_yaml(template: Template) -> bool:
    """Return whether the text is a list or an object, so that a pipeline probably parses it."""
    text = template.text.strip()
    return text.startswith(("[", "- ")) or (text.startswith("{") and not text.startswith("{{"))


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    match node:
        case yaml.ScalarNode():
            yield node
        case yaml.SequenceNode(value=items):
            for item in items:
                yield from _scalars(item)
        case yaml.MappingNode(value=pairs):
            for pair in pairs:
                for item in pair:
                    yield from _scalars(item)
