"""The examples and exit codes at the end of a help page, formatted for both --help and docs/commands.md."""

from collections.abc import Mapping
from typing import Final

PROGRAM: Final = "manage.py"
COMPLETION_VARIABLE: Final = "_NEXTSTAGE_COMPLETE"
"""The environment variable that completion scripts set. The program then only prints the possible completions."""

RAW: Final = "\b\n"
"""Click's mark before a paragraph: the help page prints that paragraph without wrapping it."""

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 something needs your attention; 2 nothing was done: wrong usage, not found, or wrong "
    "configuration; 130 interrupted."
)

LIST_EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 the list is incomplete, because a record of the journal cannot be read; 2 nothing was done: "
    "wrong usage, not found, or wrong configuration; 130 interrupted."
)


def epilog(examples: Mapping[str, str], exit_codes: str = EXIT_CODES) -> str:
    """Return the examples and the exit codes, as text that is also valid Markdown.

    :param examples: from the arguments after ``python manage.py`` to a short explanation, which may be empty.
    """
    width = max(map(len, examples))
    lines = [
        f"    python {PROGRAM} {command:<{width}}   # {meaning}" if meaning else f"    python {PROGRAM} {command}"
        for command, meaning in examples.items()
    ]
    return "\n".join(["Examples:\n", RAW + lines[0], *lines[1:], "", exit_codes])
