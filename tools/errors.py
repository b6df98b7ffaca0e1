"""The errors that stop a command, or one part of its work."""

from typing import Final

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as in shells."""


class CommandFailed(Exception):
    """The command cannot do what was requested.

    The message is one line, or one for each mistake: what happened, to what, what to do next.

    :param exit_code: 2 if the request or the configuration is wrong, 1 if the work could not be finished.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UnreadableFile(Exception):
    """One file or blob cannot be read. The command continues with the others."""
