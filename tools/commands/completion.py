"""``manage.py completion``: what makes a shell complete our commands, options, routes, states and event types.

Typer's own ``--install-completion`` knows a program by one word, and ours is most often called by two: ``python
manage.py``. So the scripts are ours, and what they ask is Typer's.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.completion import get_completion_inspect_parameters

from tools.console import Console
from tools.help_pages import epilog

VARIABLE: Final = "_NEXTSTAGE_COMPLETE"
"""Set by the scripts: the program is asked what may follow, not to do anything."""

EPILOG: Final = epilog(
    {
        "completion bash >> ~/.bashrc": "",
        "completion zsh >> ~/.zshrc": "",
        "completion fish >> ~/.config/fish/config.fish": "",
    },
    "Exit codes: 0 done; 2 wrong usage.",
)

_SCRIPTS: Final = Path(__file__).parents[1] / "completion"


class Shell(StrEnum):
    """The shells there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


ShellArgument = Annotated[Shell, typer.Argument(metavar="SHELL", help=f"{', '.join(Shell)}.")]


def completion(shell: ShellArgument) -> None:
    """Print the script that makes a shell complete these commands.

    It works for 'python manage.py' as well as for 'manage.py', with whichever Python is typed, and completes commands,
    options, the names of routes, states and types of event. Add it to what the shell reads when it starts.
    """
    Console().text((_SCRIPTS / f"manage.{shell}").read_text(encoding="utf-8"))


def prepare() -> None:
    """Make the shells' protocols known, which Typer does only where it offers its own scripts too."""
    get_completion_inspect_parameters()
