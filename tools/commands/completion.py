"""``manage.py completion``: Typer's shell script that completes commands, options, routes, states and event types."""

from enum import StrEnum
from typing import Annotated, Final

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

from tools.console import Console
from tools.help_pages import COMPLETION_VARIABLE, PROGRAM, epilog

app = typer.Typer()


class Shell(StrEnum):
    """A shell with a completion script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


# Typer's scripts for zsh and fish call the program by its bare name, which must then be on the PATH. The replacement
# calls the program as the user typed it, as Typer's script for bash does.
_BY_NAME: Final = {Shell.ZSH: f"complete_zsh {PROGRAM}", Shell.FISH: f"(commandline -cp) {PROGRAM}"}
_AS_TYPED: Final = {Shell.ZSH: "complete_zsh ${~words[1]}", Shell.FISH: "(commandline -cp) (commandline -opc)[1]"}

ShellArgument = Annotated[Shell, typer.Argument(metavar="SHELL", help=f"{', '.join(Shell)}.")]


@app.command(
    epilog=epilog(
        {
            "completion bash >> ~/.bashrc": "for bash",
            "completion zsh >> ~/.zshrc": "for zsh, after compinit",
            "completion fish >> ~/.config/fish/config.fish": "for fish",
        }
    )
)
def completion(shell: ShellArgument) -> None:
    """Print a completion script for a shell.

    After `./manage.py`, the script completes commands, options, and the names of routes, states and event types.
    Add it to the file that the shell reads when it starts.
    """
    script = get_completion_script(prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE, shell=shell)
    if shell in _BY_NAME:
        script = script.replace(_BY_NAME[shell], _AS_TYPED[shell])
    Console().code(script)
