"""A reader for the parts of Bicep that the tests check: declarations by name, and the keys of object literals."""

import re
from collections.abc import Iterator
from typing import Final

from tests.support import ROOT

INFRA = ROOT / "infra"

BUILT_IN_ROLES: Final = {
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "8a0f0c08-91a1-4084-bc3d-661d67233fed": "Storage Queue Data Message Processor",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "974c5e8b-45b9-4653-ba55-915f855fc88b": "Storage Queue Data Contributor",
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a": "Storage Queue Data Message Sender",
    "d5a91429-5739-47e2-a06b-3470a27159e7": "EventGrid Data Sender",
}
"""Names of roles by their ids. Source: Azure RBAC documentation, built-in roles."""

_CLOSING = {"{": "}", "[": "]", "(": ")"}
_KEY = re.compile(r"\s*(?P<key>[A-Za-z_]\w*|'[^']+')\s*:\s*")


def read(path: str) -> str:
    """Return the text of a file in ``infra/`` without its comments."""
    return re.sub(r"(?m)^\s*//.*$", "", (INFRA / path).read_text())


def every_file() -> list[str]:
    """Return the paths of all Bicep files, relative to ``infra/``."""
    return sorted(path.relative_to(INFRA).as_posix() for path in INFRA.rglob("*.bicep"))


def params(path: str) -> dict[str, str | None]:
    """Return the default of each parameter by name, as written; None if the parameter is required."""
    found = re.findall(r"(?m)^param (\w+) \w+(\??)(?: = (.*))?$", read(path))
    return {name: default or ("''" if nullable else None) for name, nullable, default in found}


def outputs(path: str) -> set[str]:
    return set(re.findall(r"(?m)^output (\w+) ", read(path)))


def object_at(text: str, start: int) -> dict[str, str]:
    """Return keys and values, as written, of the object literal that starts at this position."""
    return dict(_entries(text[start + 1 : _end(text, start) - 1]))


def _entries(body: str) -> Iterator[tuple[str, str]]:
    at = 0
    while (match := _KEY.match(body, at)) is not None:
        end = match.end()
        while end < len(body) and body[end] not in "\n,":
            end = _end(body, end) if body[end] in "{[('" else end + 1
        yield match["key"].strip("'"), body[match.end() : end].strip()
        at = end + 1


def _end(text: str, start: int) -> int:
    """Return the position after the string or bracket that starts at ``start``."""
    if text[start] == "'":
        return text.index("'", start + 1) + 1
    closing, at = _CLOSING[text[start]], start + 1
    while text[at] != closing:
        at = _end(text, at) if text[at] in "{[('" else at + 1
    return at + 1
