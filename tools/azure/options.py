"""Options of the commands that connect and disconnect. An option replaces a value of azd's environment."""

from collections.abc import Mapping
from typing import Annotated

import typer

from tools.azure import plan as variables
from tools.azure.sources import SOURCES

WorkspacesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--workspace",
        metavar="ID",
        help="A workspace. May be repeated.  [default: those of " + " and ".join(variables.WORKSPACE_VARIABLES) + "]",
    ),
]
SourcesOption = Annotated[
    str | None,
    typer.Option(
        "--sources",
        metavar="JSON",
        help="Further sources of events, such as storage accounts: a list as in docs/event-sources.md.  "
        f"[default: {SOURCES}]",
    ),
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="ID",
        help=f"Another source of events, such as a storage account. May be repeated.  [default: those of {SOURCES}]",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="The name of the installation, of which the names of new resources consist. With it, azd is not asked for "
        f"values.  [default: {variables.NAME}]",
    ),
]
SubscriptionOption = Annotated[
    str | None,
    typer.Option(
        "--subscription",
        metavar="ID",
        help=f"The ID of the app's subscription, also a part of the names.  [default: {variables.SUBSCRIPTION}, or the "
        "function app's]",
    ),
]
FunctionAppOption = Annotated[
    str | None,
    typer.Option("--function-app", metavar="ID", help=f"The function app.  [default: {variables.FUNCTION_APP}]"),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage-account",
        metavar="ID",
        help=f"The storage account for dead letters.  [default: {variables.STORAGE_ACCOUNT}]",
    ),
]
ContainerOption = Annotated[
    str | None,
    typer.Option("--container", metavar="NAME", help=f"Its container for them.  [default: {variables.CONTAINER}]"),
]


def with_options(
    environment: Mapping[str, str],
    workspaces: list[str] | None,
    sources: str | None,
    options: Mapping[str, str | None],
) -> dict[str, str]:
    """Return the environment, in which the options that are given replace variables.

    :param sources: a JSON list. If only workspaces are given, the sources of the environment are not meant.
    """
    first, second = variables.WORKSPACE_VARIABLES
    given = {name: value for name, value in options.items() if value is not None}
    named = {first: ",".join(workspaces or ()), second: "", SOURCES: sources or ""} if workspaces or sources else {}
    return {**environment, **given, **named}
