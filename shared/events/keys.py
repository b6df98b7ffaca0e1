"""Finds keys without regard to case. An exact match comes first. Pure.

Azure ML spells the keys of an event's data in PascalCase or camelCase, depending on the type. It also changes the case
of the first letters of tags and properties: ``GITHUB_REPOSITORY`` becomes ``githuB_REPOSITORY``.
"""

from collections.abc import Mapping
from typing import Any


def spelling(place: Mapping[str, Any], key: str) -> str:
    """Return the key as the object spells it, or unchanged if the object does not have it."""
    if key in place:
        return key
    wanted = key.lower()
    return next((spelled for spelled in place if spelled.lower() == wanted), key)


def look_up(place: Any, key: str) -> Any:
    """Return the value under a key; None if there is none, or if ``place`` is not an object."""
    return place.get(spelling(place, key)) if isinstance(place, dict) else None
