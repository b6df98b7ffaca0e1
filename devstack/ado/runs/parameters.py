"""Template parameters: which values each type accepts, and how Azure DevOps converts a default to a string."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import yaml

from shared.routing import yaml_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class ParameterDeclaration:
    """One template parameter of a pipeline.

    ``default`` is the value if a run does not set the parameter. None means that the parameter is required.
    ``values`` are the allowed values. Empty means any value of the type. All values are strings.
    """

    name: str
    type: str
    default: str | None = None
    values: tuple[str, ...] = ()

    def refusal(self, value: str) -> str | None:
        """Return why a value is refused, without quoting the value, or None if it is valid."""
        items = _items(value) if self.type == "stringList" else [value]
        if items is None or not all(_CHECKS[self.type](item) for item in items):
            return f"The value of the '{self.name}' parameter is not a valid {self.type}."
        if self.values and not all(self._is_listed(item) for item in items):
            return f"The value of the '{self.name}' parameter is not allowed. Allowed values: {', '.join(self.values)}."
        return None

    def expanded(self, value: str) -> str:
        """Return a value as it is inserted into the pipeline's YAML, where each value has only one spelling."""
        match self.type:
            case "string":
                return value
            case "boolean":
                return value.capitalize()
            case "number":
                return f"{Decimal(value).normalize():f}"
        return json.dumps(yaml_documents.load(value))

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield a key, ``values`` or ``default``, and why it is invalid."""
        item_type = "string" if self.type == "stringList" else self.type
        if any(ParameterDeclaration(self.name, item_type).refusal(value) for value in self.values):
            yield "values", f"must all be of type {item_type}"
        elif self.default is not None and (refusal := self.refusal(self.default)):
            yield "default", refusal

    def _is_listed(self, item: str) -> bool:
        if self.type == "number":
            return float(item) in [float(value) for value in self.values]
        if self.type == "boolean":
            return item.lower() in [value.lower() for value in self.values]
        return item in self.values


def as_text(value: object) -> str:
    """Return a YAML value as the string in a run: booleans are capitalized, lists and objects are JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    return json.dumps(value)


def _is_text(_value: str) -> bool:
    return True


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_boolean(value: str) -> bool:
    return value.lower() in {"true", "false"}


def _is_yaml(value: str) -> bool:
    try:
        yaml_documents.load(value)
    except yaml.YAMLError:
        return False
    return True


def _items(value: str) -> list[str] | None:
    """Return the items of a stringList, which is a YAML or JSON list of strings, or None if it is invalid."""
    try:
        items = yaml_documents.load(value)
    except yaml.YAMLError:
        return None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return items
    return None


_CHECKS: dict[str, Callable[[str], bool]] = {
    "string": _is_text,
    "number": _is_number,
    "boolean": _is_boolean,
    "stringList": _is_text,
    "object": _is_yaml,
    "step": _is_yaml,
    "stepList": _is_yaml,
    "job": _is_yaml,
    "jobList": _is_yaml,
    "deployment": _is_yaml,
    "deploymentList": _is_yaml,
    "stage": _is_yaml,
    "stageList": _is_yaml,
}
