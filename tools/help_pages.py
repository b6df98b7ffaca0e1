"""The end of a command's help page: examples and exit codes, in one form for --help and docs/commands.md."""

from collections.abc import Mapping
from typing import Final

PROGRAM: Final = "manage.py"
RAW: Final = "\b\n"
"""Keeps the help page from filling the paragraph that follows."""

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 something is left that needs a look; 2 nothing was done: wrong usage, not found, or wrong "
    "configuration; 130 interrupted."
)


def epilog(examples: Mapping[str, str], exit_codes: str = EXIT_CODES) -> str:
    """Return the examples and the exit codes, as text that is Markdown too.

    :param examples: from what follows ``python manage.py`` to what it does, in a few words, or nothing.
    """
    width = max(map(len, examples))
    lines = [
        f"    python {PROGRAM} {command:<{width}}   # {meaning}" if meaning else f"    python {PROGRAM} {command}"
        for command, meaning in examples.items()
    ]
    return "\n".join(["Examples:\n", RAW + lines[0], *lines[1:], "", exit_codes])
