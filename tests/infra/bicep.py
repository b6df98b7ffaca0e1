"""Reads as much of Bicep as the tests ask about: declarations by name, and the keys of object literals."""

import re
from collections.abc import Iterator

from tests.support import ROOT

INFRA = ROOT / "infra"

_CLOSING = {"{": "}", "[": "]", "(": ")"}
_KEY = re.compile(r"\s*(?P<key>[A-Za-z_]\w*|'[^']+')\s*:\s*")


def read(path: str) -> str:
    """A file below ``infra/``, without its comments."""
    return re.sub(r"(?m)^\s*//.*$", "", (INFRA / path).read_text())


def every_file() -> list[str]:
    """Every Bicep file, relative to ``infra/``."""
    return sorted(path.relative_to(INFRA).as_posix() for path in INFRA.rglob("*.bicep"))


def params(path: str) -> dict[str, str | None]:
    """From each parameter's name to its default as text; None where it is required."""
    found = re.findall(r"(?m)^param (\w+) \w+(?: = (.*))?$", read(path))
    return {name: default or None for name, default in found}


def outputs(path: str) -> set[str]:
    return set(re.findall(r"(?m)^output (\w+) ", read(path)))


def object_of(text: str, name: str) -> dict[str, str]:
    """From key to value, as text, of the first object literal in ``var <name> = …``."""
    start = re.search(rf"(?m)^var {name} = ", text)
    assert start is not None, f"no var {name}"
    return object_at(text, text.index("{", start.end()))


def object_at(text: str, start: int) -> dict[str, str]:
    """From key to value, as text, of the object literal that begins there."""
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
    """Where the text or bracket that begins at ``start`` has ended."""
    if text[start] == "'":
        return text.index("'", start + 1) + 1
    closing, at = _CLOSING[text[start]], start + 1
    while text[at] != closing:
        at = _end(text, at) if text[at] in "{[('" else at + 1
    return at + 1
