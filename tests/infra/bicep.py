"""A reader for the parts of Bicep that the tests check: declarations by name, and the keys of object literals."""

import re
from collections.abc import Iterator

from tests.support import ROOT

INFRA = ROOT / "infra"

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
    found = re.findall(r"(?m)^param (\w+) \w+(?: = (.*))?$", read(path))
    return {name: default or None for name, default in found}


def outputs(path: str) -> set[str]:
    return set(re.findall(r"(?m)^output (\w+) ", read(path)))


def object_of(text: str, name: str) -> dict[str, str]:
    """Return keys and values, as written, of the first object literal in ``var <name> = …``."""
    start = re.search(rf"(?m)^var {name} = ", text)
    assert start is not None, f"no var {name}"
    return object_at(text, text.index("{", start.end()))


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
