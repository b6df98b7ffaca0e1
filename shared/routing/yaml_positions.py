"""Finds the position of a character of a YAML scalar in the file. Pure."""

from typing import Final

_WHITE: Final = " \t\r\n"
_ESCAPED_DIGITS: Final = {"x": 2, "u": 4, "U": 8}


def source_offset(source: str, style: str, text: str, offset: int) -> int | None:
    """Return the offset in ``source`` of the character ``text[offset]``, or of the end for ``len(text)``.

    The search accounts for quotes, escapes, folded lines and indentation. If source and text do not agree, return None
    rather than a wrong offset.

    :param source: the scalar as it is written in the file, with its quotes or its ``|``.
    :param style: the style as in PyYAML: ``'``, ``"``, ``|``, ``>`` or the empty string for a plain scalar.
    :param text: the value of the scalar.
    """
    at = _text_start(source, style)
    for position, character in enumerate(text[: offset + 1]):
        step = _step(source, style, at, character)
        if step is None:
            return None
        begins, at = step
        if position == offset:
            return begins
    return at


def _text_start(source: str, style: str) -> int:
    """Return the offset in the source at which the text begins."""
    if style in {"|", ">"}:
        return source.find("\n") + 1
    return 1 if style else 0


def _step(source: str, style: str, at: int, character: str) -> tuple[int, int] | None:
    """Return the offset of the next character of the text, and the offset after it; None if it is not found."""
    while style == '"' and source[at : at + 2] in {"\\\n", "\\\r"}:  # an escaped end of line adds nothing
        at = _skip_white(source, at + 1)
    if style == '"' and source[at : at + 1] == "\\":
        return at, at + 2 + _ESCAPED_DIGITS.get(source[at + 1 : at + 2], 0)
    if style == "'" and source.startswith("''", at):
        return (at, at + 2) if character == "'" else None
    if source[at : at + 1] == character:
        return at, at + 1
    after = _skip_white(source, at)
    if after == at:
        return None
    if character in _WHITE:  # a folded end of line
        return at, after
    return _step(source, style, after, character)  # indentation


def _skip_white(source: str, at: int) -> int:
    while at < len(source) and source[at] in _WHITE:
        at += 1
    return at
