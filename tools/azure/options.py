"""Options of the commands that connect and disconnect workspaces. An option replaces a value of azd's environment."""

from collections.abc import Mapping
from typing import Annotated

import typer

from tools.azure import plan as variables

WorkspacesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--workspace",
        metavar="ID",
        help="A workspace. May be repeated.  [default: those of " + " and ".join(variables.WORKSPACE_VARIABLES) + "]",
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
    environment: Mapping[str, str], workspaces: list[str] | None, options: Mapping[str, str | None]
) -> dict[str, str]:
    """Return the environment, in which the options that are given replace variables."""
    first, second = variables.WORKSPACE_VARIABLES
    given = {name: value for name, value in options.items() if value is not None}
    return {**environment, **given, **({first: ",".join(workspaces), second: ""} if workspaces else {})}
