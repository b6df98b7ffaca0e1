"""Finds placeholders whose values Azure Pipelines would parse as YAML, in parameters of types such as stepList.

There, a value such as ``- script: curl …`` is not text but a step. Within quotes it stays text, because a value
contains no quote and no backslash unless the route's ``allow`` permits them. Pure.
"""

from typing import Final

import yaml

from shared.routing.templates import Template

YAML_TYPES: Final = frozenset(
    {"object", "step", "steplist", "job", "joblist", "deployment", "deploymentlist", "stage", "stagelist", "stringlist"}
)
"""The types of parameters whose values are parsed, in lower case. Source: Azure Pipelines YAML schema, parameters."""

_STAND_IN: Final = "nextstage0value"
_QUOTES: Final = {"'", '"'}


def parses_a_value(template: Template) -> bool:
    """Return whether the value of a placeholder would be parsed as YAML, because it is not within quotes."""
    text = "".join(part if isinstance(part, str) else _STAND_IN for part in template.parts)
    try:
        scalars = [event for event in yaml.parse(text, Loader=yaml.SafeLoader) if isinstance(event, yaml.ScalarEvent)]
    except yaml.YAMLError:
        return _STAND_IN in text
    quoted = sum(scalar.value.count(_STAND_IN) for scalar in scalars if scalar.style in _QUOTES)
    return quoted < text.count(_STAND_IN)


def looks_like_yaml(template: Template) -> bool:
    """Return whether the text is a list or an object, so that a pipeline probably parses it."""
    text = template.text.strip()
    return text.startswith(("[", "- ")) or (text.startswith("{") and not text.startswith("{{"))
