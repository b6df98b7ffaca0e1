"""Finds a place in a YAML scalar's text in the file that it was read from. Pure."""

from typing import Final

_WHITE: Final = " \t\r\n"
_ESCAPED_DIGITS: Final = {"x": 2, "u": 4, "U": 8}


def source_offset(source: str, style: str, text: str, offset: int) -> int | None:
    """Where in ``source`` the character ``text[offset]`` stands; the place after the last one for ``len(text)``.

    Quotes, escapes, folded lines and indentation are followed; where that does not work out, nothing is said rather
    than something wrong.

    :param source: the scalar as it is written, with its quotes or its ``|``.
    :param style: PyYAML's: ``'``, ``"``, ``|``, ``>`` or the empty text for a plain scalar.
    """
    at = _first(source, style)
    for position, character in enumerate(text[: offset + 1]):
        step = _step(source, style, at, character)
        if step is None:
            return None
        begins, at = step
        if position == offset:
            return begins
    return at


def _first(source: str, style: str) -> int:
    """Where the text begins."""
    if style in {"|", ">"}:
        return source.find("\n") + 1
    return 1 if style else 0


def _step(source: str, style: str, at: int, character: str) -> tuple[int, int] | None:
    """Where the next character of the text stands in the source, and where what follows it begins."""
    while style == '"' and source[at : at + 2] in {"\\\n", "\\\r"}:  # an escaped end of line stands for nothing
        at = _after_white(source, at + 1)
    if style == '"' and source[at : at + 1] == "\\":
        return at, at + 2 + _ESCAPED_DIGITS.get(source[at + 1 : at + 2], 0)
    if style == "'" and source.startswith("''", at):
        return (at, at + 2) if character == "'" else None
    if source[at : at + 1] == character:
        return at, at + 1
    after = _after_white(source, at)
    if after == at:
        return None
    if character in _WHITE:  # a folded end of line
        return at, after
    return _step(source, style, after, character)  # indentation


def _after_white(source: str, at: int) -> int:
    while at < len(source) and source[at] in _WHITE:
        at += 1
    return at
