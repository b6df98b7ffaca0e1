"""The end of a command's help page: examples and exit codes, in one form for --help and docs/commands.md."""

from collections.abc import Mapping
from typing import Final

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 something is left that needs a look; 2 nothing was done: wrong usage, not found, or wrong "
    "configuration; 130 interrupted."
)


def epilog(examples: Mapping[str, str], exit_codes: str = EXIT_CODES) -> str:
    """Examples, then the exit codes.

    :param examples: from what follows ``python manage.py`` to what it does, in a few words, or none.
    """
    width = max(map(len, examples))
    lines = [
        f"  python manage.py {command:<{width}}   # {meaning}" if meaning else f"  python manage.py {command}"
        for command, meaning in examples.items()
    ]
    # A lone backspace keeps the help page from filling the lines that follow.
    return "\n".join(["\b", "Examples:", *lines, "", exit_codes])
