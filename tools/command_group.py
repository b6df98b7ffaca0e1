"""The group of all commands. It imports only what the command that runs needs, because some modules are slow."""

import ast
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import typer
from typer._coercion import build_runtime_param
from typer.core import TyperGroup

from tools import commands

_FILES: Final = {path.stem.replace("_", "-"): path for path in sorted(Path(commands.__path__[0]).glob("[!_]*.py"))}


class CommandGroup(TyperGroup):
    """Finds a command by the name of its module, and lists the commands in the order of use."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        """Return the names of all commands."""
        return [name for names in grouped().values() for name in names]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # noqa: ARG002
        """Import one command and return it; None if there is no such command."""
        if cmd_name not in _FILES:
            self.commands = dict.fromkeys(_FILES, self)  # Typer suggests one of these names
            return None
        holder = typer.Typer(rich_markup_mode=None, add_completion=False)
        holder.add_typer(import_module(f"{commands.__name__}.{_FILES[cmd_name].stem}").app)
        return typer.main.get_group(holder).commands[cmd_name]

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ARG002
        """Write the commands with the first lines of their help, each group under its title."""
        width = max(map(len, _FILES))
        for title, names in grouped().items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary(name)) for name in names])


def grouped() -> Mapping[str, list[str]]:
    """Return the names of the commands, by the titles of their groups."""
    groups = {title: [name for name in names if name in _FILES] for title, names in commands.GROUPS.items()}
    known = {name for names in groups.values() for name in names}
    groups[commands.OTHERS] = [name for name in _FILES if name not in known]
    return {title: names for title, names in groups.items() if names}


def summary(name: str) -> str:
    """Return the first line of a command's help, without importing the command."""
    body = ast.parse(_FILES[name].read_text(encoding="utf-8")).body
    command = next(node for node in body if isinstance(node, ast.FunctionDef) and node.decorator_list)
    return (ast.get_docstring(command) or "").partition("\n")[0]


class _Conversion:
    """Converts the values of a parameter, and imports Pydantic only for a value that needs it.

    Typer would use Pydantic for all parameters, even if they are not given. Its import takes longer than most commands.
    """

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the converted value."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        wanted = self._descriptor
        if wanted.parameter_info.parser is None and wanted.annotation in _PLAIN:
            return _PLAIN[wanted.annotation](value)
        return value if value is param.default else build_runtime_param(wanted).coerce(value, param, ctx)


_PLAIN: Final[Mapping[Any, Callable[[Any], Any]]] = {str: str, list[str]: list, Path: Path}

# Typer has no public way to do this. Its version is pinned, and a test finds the import of Pydantic.
typer.core.build_runtime_param = _Conversion  # type: ignore[assignment, attr-defined]
