"""Options that several commands share."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from shared.durations import parse_duration
from shared.journal.records import State
from tools.installation import Installation
from tools.shell_completion import route_names


def installation_of(context: typer.Context) -> Installation:
    """Return the installation that the command works on."""
    installation = context.obj
    assert isinstance(installation, Installation)  # noqa: S101 - cli.main gives it to every command
    return installation


def duration(text: str) -> timedelta:
    """Parse the duration given to an option.

    :raises BadParameter: the text is not a duration.
    """
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise typer.BadParameter(f"'{text}' {exc}") from exc


RouteOption = Annotated[
    str | None, typer.Option("--route", metavar="ROUTE", help="Only this route.", autocompletion=route_names)
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, metavar="N", help="The maximum number of records or events.")
]
StatesOption = Annotated[
    list[State] | None,
    typer.Option("--state", metavar="STATE", help=f"Only records in this state: {', '.join(State)}. May be repeated."),
]
OlderOption = Annotated[
    timedelta | None,
    typer.Option(
        "--older-than",
        parser=duration,
        metavar="DURATION",
        help="Only records whose last change is longer ago than this: 90s, 30m, 6h, 1h30m, 2d.",
    ),
]
NewerOption = Annotated[
    timedelta | None,
    typer.Option(
        "--newer-than",
        parser=duration,
        metavar="DURATION",
        help="Only records whose last change is at most this long ago.",
    ),
]
WindowsOption = Annotated[bool, typer.Option("--windows", help="Include cooldown windows.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, with all fields and with times in ISO 8601.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
RoutesFileOption = Annotated[
    Path | None,
    typer.Option("--routes", metavar="FILE", help="Use this dispatch table instead of the app's (ROUTES_FILE)."),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are warnings.")]
FunctionOption = Annotated[str, typer.Option("--function", metavar="NAME", help="The function that receives events.")]
RoutesArgument = Annotated[
    Path | None,
    typer.Argument(metavar="ROUTES.yaml", help="The dispatch table. By default the app's (ROUTES_FILE)."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of standard output.")
]
