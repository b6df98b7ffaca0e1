"""The shapes on the wire, as JSON Schemas: what the app sends and what it is answered.

One file for each document. A schema may refer to another one by its file's name.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The documents there are schemas for."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def validate(name: str, document: object) -> None:
    """Checks a document against ``{name}.json``.

    :raises jsonschema.ValidationError: the document has another shape.
    """
    _validator(name).validate(document)


@cache
def _validator(name: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, registry=_registry())


@cache
def _registry() -> Registry:
    files = [(file.name, json.loads(file.read_text(encoding="utf-8"))) for file in FOLDER.glob("*.json")]
    return Registry().with_resources((name, Resource.from_contents(schema)) for name, schema in files)
