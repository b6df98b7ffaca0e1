"""The examples and exit codes at the end of a help page, formatted for both --help and docs/commands.md."""

from collections.abc import Mapping
from typing import Final

PROGRAM: Final = "manage.py"
COMPLETION_VARIABLE: Final = "_NEXTSTAGE_COMPLETE"
"""The environment variable that completion scripts set. The program then only prints the possible completions."""

RAW: Final = "\b\n"
"""Click's mark before a paragraph: the help page prints that paragraph without wrapping it."""

EXIT_CODES: Final = (
    f"Exit codes of all commands:\n\n{RAW}"
    "    0     done, and nothing needs your attention\n"
    "    1     something needs your attention; the help of a command says what\n"
    "    2     nothing was done: wrong usage, not found, or wrong configuration\n"
    "    130   interrupted"
)

INCOMPLETE: Final = "the list is incomplete, because a record of the journal cannot be read"

_WIDTH: Final = 74
"""The longest line of an example. The help page indents it by two, and must fit a terminal of 80 columns."""


def epilog(examples: Mapping[str, str], attention: str = "") -> str:
    """Return the examples and the meaning of exit code 1, as text that is also valid Markdown.

    :param examples: from the arguments after ``./manage.py`` to a short explanation, which may be empty.
    :param attention: what needs the operator's attention; empty if the command never exits with 1.
    """
    width = max(map(len, examples), default=0)
    lines = [f"    ./{PROGRAM} {command:<{width}}   # {meaning}".rstrip(" #") for command, meaning in examples.items()]
    if max(map(len, lines), default=0) > _WIDTH:
        lines = [f"    # {meaning}\n    ./{PROGRAM} {command}" for command, meaning in examples.items()]
    shown = ["Examples:\n", RAW + "\n".join(lines), ""] if lines else []
    others = f"all exit codes are in `./{PROGRAM} --help`"
    codes = f"Exit code 1: {attention}; {others}." if attention else f"Exit codes: {others}."
    return "\n".join([*shown, codes])
