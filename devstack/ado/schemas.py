"""Validates the declaration and the bodies of requests against schemas.json."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

_SCHEMAS = json.loads(Path(__file__).with_name("schemas.json").read_text(encoding="utf-8"))
RECORD_FIELDS = tuple(_SCHEMAS["$defs"]["timeline_record"]["properties"])
"""The fields of a timeline record."""


def problems(name: str, document: object) -> list[str]:
    """Return one line for each problem in a document, with the key."""
    found = sorted(_validator(name).iter_errors(document), key=lambda error: error.json_path)
    return [
        f"{error.json_path.removeprefix('$').removeprefix('.') or '(top level)'}: {error.message}" for error in found
    ]


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$defs": _SCHEMAS["$defs"], "$ref": f"#/$defs/{name}"})
