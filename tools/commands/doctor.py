"""``manage.py doctor``: tests everything that the app depends on, and suggests a next step for each failure."""

from dataclasses import asdict
from typing import Annotated, Final

import typer

from tools.actions.check_results import CheckResult, Status
from tools.actions.diagnosis import examine
from tools.console import Console
from tools.events.webhook import DEFAULT_FUNCTION, DEFAULT_URL, KEY_VARIABLE
from tools.help_pages import epilog
from tools.options import FunctionOption, JsonOption, installation_of
from tools.presentation import counted, summary

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "doctor": "settings, routes, journal, credential, pipelines",
        "doctor --url https://app.azurewebsites.net": "the same, and the endpoint of the deployed app",
    },
    "Exit codes: 0 nothing failed; 1 something failed; 2 wrong usage; 130 interrupted.",
)

_STATUS_WIDTH: Final = 7
_CHECK_WIDTH: Final = 12

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help=f"The app's URL.  [default: {DEFAULT_URL}, if the app runs there]"),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help=f"The app's system key. Prefer the environment variable {KEY_VARIABLE}: other users can see the command "
        "line.",
    ),
]


@app.command(epilog=EPILOG)
def doctor(
    context: typer.Context,
    *,
    url: UrlOption = None,
    key: KeyOption = None,
    function: FunctionOption = DEFAULT_FUNCTION,
    as_json: JsonOption = False,
) -> None:
    """Test everything that the app depends on.

    The checks use the real services, in this order:

    \b
    - read the settings and routes.yaml
    - write, read and delete a journal record, and compare the journal's clock with this machine's
    - read the secret or get a token
    - encrypt and decrypt a token with the keys for waiting tasks
    - list the pipelines of each project, compare Azure DevOps' clock, and find the pipeline of each route
    - have Azure DevOps preview a run of each route
    - perform Event Grid's validation handshake with the app's endpoint

    Nothing is queued, and nothing is left behind. Each failure is followed by its next step. A clock that differs by
    more than 5 s is a warning: the app allows for the difference.

    With `AZURE_DEVOPS_AUTH=identity` on a laptop, the check uses your identity, not the app's. The permission to queue
    builds is not shown by a preview, and neither is the scope Build (Read & execute) of a PAT: Build (Read) is enough
    for a preview.
    """
    installation, console = installation_of(context), Console()
    results: list[CheckResult] = []
    for result in examine(installation, url or "", key or "", function):
        results.append(result)
        if not as_json:
            _show(console, result)
    if as_json:
        console.json([asdict(result) for result in results])
    else:
        console.line(summary(counted(len(results), "check"), (result.status for result in results)))
    raise typer.Exit(1 if any(result.status is Status.FAILED for result in results) else 0)


def _show(console: Console, result: CheckResult) -> None:
    widths = [_STATUS_WIDTH, _CHECK_WIDTH]
    first, *others = result.detail.splitlines()
    console.row((result.status, result.check, first), widths)
    for line in others:
        console.row(("", "", line), widths)
    if result.next_step:
        console.row(("", "", f"next: {result.next_step}"), widths)
