"""``manage.py doctor``: tries each thing that the app needs, for real, and says what to do about what fails."""

from typing import Annotated, Final

import typer

from tools.actions.examining import Endpoint, examine
from tools.actions.findings import Finding, Status
from tools.console import Console
from tools.events.webhook import DEFAULT_FUNCTION, DEFAULT_URL, KEY_VARIABLE
from tools.help_pages import epilog
from tools.options import FunctionOption, JsonOption, installation_of
from tools.wording import counted, summary

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
    findings: list[Finding] = []
    for finding in examine(installation, Endpoint(url or "", key or "", function)):
        findings.append(finding)
        if not as_json:
            _show(console, finding)
    if as_json:
        console.json([finding.document() for finding in findings])
    else:
        console.line(summary(counted(len(findings), "check"), (finding.status for finding in findings)))
    raise typer.Exit(1 if any(finding.status is Status.FAILED for finding in findings) else 0)


def _show(console: Console, finding: Finding) -> None:
    widths = [_STATUS_WIDTH, _CHECK_WIDTH]
    first, *others = finding.detail.splitlines()
    console.row((finding.status, finding.check, first), widths)
    for line in others:
        console.row(("", "", line), widths)
    if finding.next_step:
        console.row(("", "", f"next: {finding.next_step}"), widths)
