"""Reads the Azure Pipelines YAML files next to routes.yaml, for the parameters that a pipeline declares.

Source of the format: https://learn.microsoft.com/azure/devops/pipelines/yaml-schema/parameters
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from shared.routing import yaml_documents

FOLDER: Final = "pipelines"
_SUFFIXES: Final = (".yml", ".yaml")


class UnreadablePipeline(Exception):
    """The file is not a pipeline. The message says why."""


@dataclass(frozen=True, slots=True)
class DeclaredParameter:
    """A runtime parameter.

    :param type: the type; ``string`` if the file sets none.
    :param default: the default as a string; None if a run must give the value.
    :param values: the allowed values as strings; empty if all are allowed.
    """

    name: str
    type: str = "string"
    default: str | None = None
    values: tuple[str, ...] = ()

    def refusal(self, value: str) -> str | None:
        """Return why Azure Pipelines refuses a value; None if it does not refuse it, or that is unknown."""
        if self.type not in _READERS:
            return None
        read, refusal = _READERS[self.type]
        if read(value) is None:
            return refusal
        if self.values and read(value) not in map(read, self.values):
            return f"must be one of {', '.join(self.values)}"
        return None


def find(routes_file: Path, pipeline: int | str) -> Path | None:
    """Return ``pipelines/<name>.yml`` next to routes.yaml; None if there is no such file, or the route gives an id."""
    if isinstance(pipeline, int):
        return None
    name = pipeline.rpartition("\\")[2]
    candidates = (routes_file.parent / FOLDER / f"{name}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def read(path: Path) -> dict[str, DeclaredParameter]:
    """Return the parameters that a file declares, by name in lower case, since Azure Pipelines ignores the case.

    :raises UnreadablePipeline: the file cannot be read, or is not a pipeline.
    """
    try:
        document = yaml_documents.load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as exc:
        raise UnreadablePipeline(f"cannot be read ({type(exc).__name__})") from exc
    except yaml.YAMLError as exc:
        raise UnreadablePipeline(f"is not YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(document, dict):
        raise UnreadablePipeline("is not a pipeline: the YAML must be an object")
    return {parameter.name.lower(): parameter for parameter in _parameters(document.get("parameters"))}


def _parameters(declared: Any) -> list[DeclaredParameter]:
    if declared is None:
        return []
    if isinstance(declared, dict):  # the short form, which maps names to defaults
        return [DeclaredParameter(str(name), "legacyObject", _text(default)) for name, default in declared.items()]
    if not isinstance(declared, list) or not all(isinstance(each, dict) and "name" in each for each in declared):
        raise UnreadablePipeline("is not a pipeline: 'parameters' must be a list of {name: …, type: …}")
    return [
        DeclaredParameter(
            name=str(each["name"]),
            type=str(each.get("type", "string")),
            default=_text(each["default"]) if "default" in each else None,
            values=tuple(_text(value) for value in each.get("values") or ()),
        )
        for each in declared
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


_READERS: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "string": (str, ""),
    "number": (_number, "must be a number"),
    "boolean": (_boolean, "must be true or false"),
}
