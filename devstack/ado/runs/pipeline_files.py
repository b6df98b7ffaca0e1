"""Reads the pipelines that routes.yaml names from pipelines/*.yml, so that a new route needs no other declaration.

Source of the format: https://learn.microsoft.com/azure/devops/pipelines/yaml-schema/
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import yaml

from shared.routing import yaml_documents

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

FOLDER = "pipelines"
_SUFFIXES = (".yml", ".yaml")
_FIRST_ID, _IDS = 100, 900  # the IDs of the pipelines that no declaration lists


class InvalidPipelineFile(Exception):
    """The file is not a pipeline. The message says why."""


def find(app_dir: Path, name: str) -> Path | None:
    candidates = (app_dir / FOLDER / f"{name}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def read(path: Path) -> dict[str, Any]:
    """Return the ``parameters`` and ``stages`` of a pipeline, in the form of a declaration.

    :raises InvalidPipelineFile: the file cannot be read, or is not a pipeline.
    """
    try:
        document = yaml_documents.load(path.read_text(encoding="utf-8-sig"))
        json.dumps(document)  # not possible for !!binary and !!set, which Azure Pipelines does not know
    except (OSError, TypeError, ValueError, yaml.YAMLError) as exc:
        raise InvalidPipelineFile(" ".join(str(exc).split())) from exc
    if not isinstance(document, dict):
        raise InvalidPipelineFile("the YAML must be an object")
    parameters, stages = document.get("parameters") or [], document.get("stages") or []
    if isinstance(parameters, dict):  # the short form, which maps names to defaults
        parameters = [{"name": name, "type": "object", "default": default} for name, default in parameters.items()]
    if not isinstance(parameters, list) or not all(isinstance(each, dict) for each in parameters):
        raise InvalidPipelineFile("'parameters' must be a list of {name: …, type: …}")
    if not isinstance(stages, list | dict):
        raise InvalidPipelineFile("'stages' must be a list of {stage: …}")
    return {
        "parameters": [{"type": "string", **_without_display_name(each)} for each in parameters],
        "stages": [each["stage"] for each in stages if isinstance(each, dict) and "stage" in each],
    }


def _without_display_name(parameter: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parameter.items() if key != "displayName"}


def named_by_routes(routes_file: Path) -> list[str]:
    r"""Return the pipelines that the routes name, as ``name`` or ``\folder\name``, each once.

    The app and ``manage.py check`` report what is wrong in routes.yaml, so this function skips it.
    """
    try:
        document = yaml_documents.load(routes_file.read_text(encoding="utf-8-sig"))
        routes = document["routes"]
        named = [route.get("pipeline") for route in routes]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return []
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))


def free_id(path: str, taken: Collection[int]) -> int:
    """Return an ID for a pipeline. It follows from the name, so that it stays the same after a restart."""
    start = zlib.crc32(path.lower().encode())
    return next(number for step in range(_IDS) if (number := _FIRST_ID + (start + step) % _IDS) not in taken)
