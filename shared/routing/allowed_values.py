"""Compiles the pattern of a route's ``allow``.

RE2 matches in time linear to the value. ``re`` backtracks: for some patterns, each further character of a value doubles
the time, and the writers of the workspace choose the values. The syntax is RE2's: https://github.com/google/re2/wiki/Syntax
"""

from typing import Final, Protocol

_LOOKAROUND: Final = "RE2 has no lookaround; write out what a value may be, as in 'v[0-9]+|latest'"
_BACKREFERENCE: Final = "RE2 has no backreferences; write out the repeated part, as in 'aa|bb'"
_POSSESSIVE: Final = "RE2 never backtracks; write a plain group or a single '*', '+' or '?'"
_ANCHOR: Final = "the pattern always has to match the whole value; remove this anchor"
_INSTEAD: Final = {
    **dict.fromkeys(("(?=", "(?!", "(?<=", "(?<!"), _LOOKAROUND),
    **dict.fromkeys(("(?P=", *(f"\\{digit}" for digit in range(1, 10))), _BACKREFERENCE),
    **dict.fromkeys(("(?>", "++", "*+", "?+"), _POSSESSIVE),
    "\\Z": _ANCHOR,
}
_SYNTAX: Final = "see https://github.com/google/re2/wiki/Syntax"


class ValuePattern(Protocol):
    """A compiled pattern, of RE2 or ``re``."""

    @property
    def pattern(self) -> str:
        """The text of the pattern."""

    def fullmatch(self, text: str, /) -> object | None:
        """Return a match of the whole text, or None."""


class InvalidPattern(ValueError):
    """RE2 does not accept the pattern. The message states what to write instead.

    :ivar offset: where the mistake begins.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def compile_pattern(text: str) -> ValuePattern:
    """Compile a pattern.

    :raises InvalidPattern: RE2 does not accept it.
    """
    import re2  # noqa: PLC0415 - slow to import, and few routes have a pattern

    options = re2.Options()
    options.log_errors = False
    try:
        compiled: ValuePattern = re2.compile(text, options)
    except re2.error as exc:
        reason = exc.args[0].decode(errors="replace")
        part = reason.partition(": ")[2]
        if part == "(?P" and "(?P=" in text:
            part = "(?P="
        raise InvalidPattern(
            f"is not a regular expression: {reason}; {_INSTEAD.get(part, _SYNTAX)}", text.find(part)
        ) from exc
    return compiled
