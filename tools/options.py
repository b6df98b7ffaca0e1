"""Options that several commands have, each said once."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from shared.durations import parse_duration
from shared.journal.records import State
from tools.installation import Installation
from tools.shell_completion import route_names


def installation_of(context: typer.Context) -> Installation:
    """Return the app that the command is about."""
    installation = context.obj
    assert isinstance(installation, Installation)  # noqa: S101 - cli.main gives it to every command
    return installation


def duration(text: str) -> timedelta:
    """Read an option's duration.

    :raises BadParameter: it is not a duration.
    """
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


RouteOption = Annotated[
    str | None, typer.Option("--route", metavar="ROUTE", help="Only this route.", autocompletion=route_names)
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many.")]
StatesOption = Annotated[
    list[State] | None,
    typer.Option("--state", metavar="STATE", help=f"Only records in this state: {', '.join(State)}. May be repeated."),
]
OlderOption = Annotated[
    timedelta | None,
    typer.Option(
        "--older-than", parser=duration, metavar="DURATION", help="Not changed for so long: 90s, 30m, 6h, 1h30m, 2d."
    ),
]
NewerOption = Annotated[
    timedelta | None,
    typer.Option("--newer-than", parser=duration, metavar="DURATION", help="Changed within so long."),
]
WindowsOption = Annotated[bool, typer.Option("--windows", help="Cooldown windows too.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, with all fields and times in ISO 8601.")]
RoutesFileOption = Annotated[
    Path | None,
    typer.Option("--routes", metavar="FILE", help="Another dispatch table than the app's, which ROUTES_FILE names."),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")]
FunctionOption = Annotated[str, typer.Option("--function", metavar="NAME", help="The function that takes events.")]
RoutesArgument = Annotated[
    Path | None,
    typer.Argument(metavar="ROUTES.yaml", help="The file; left out: the app's, which ROUTES_FILE names."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of standard output.")
]
