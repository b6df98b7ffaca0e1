"""``manage.py doctor``: tries each thing that the app needs, for real, and says what to do about what fails."""

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
        "doctor": "settings, journal, credential, pipelines",
        "doctor --url https://app.azurewebsites.net": "and the deployed app's endpoint",
    },
    "Exit codes: 0 nothing failed; 1 something failed; 2 wrong usage; 130 interrupted.",
)

_STATUS_WIDTH: Final = 7
_CHECK_WIDTH: Final = 12

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help=f"Where the app is.  [default: {DEFAULT_URL}, if it is there]"),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help=f"The app's system key. Better put it into {KEY_VARIABLE}: a command line can be seen by others.",
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
    """Try everything that the app needs, for real.

    Reads the settings and routes.yaml; writes, reads and removes a record of the journal; reads the secret or gets
    a token; encrypts and decrypts one with the keys of waiting tasks; lists the projects' pipelines; looks for each
    route's pipeline; has Azure DevOps preview a run of each; and goes through Event Grid's validation handshake
    with the app's endpoint. Nothing is queued, and nothing is left behind. Every failure has its next
    step below it.

    With `AZURE_DEVOPS_AUTH=identity` on a laptop, the identity that is tried is yours, not the app's. A preview cannot
    show whether a PAT has the scope Build (Read & execute), which queuing needs: Build (Read) is enough to preview.
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
