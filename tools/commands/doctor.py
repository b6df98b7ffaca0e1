"""``manage.py doctor``: tests everything that the app depends on, and suggests a next step for each failure."""

import sys
from dataclasses import asdict
from typing import Annotated, Final

import typer

from tools.actions.check_results import CheckResult, Status
from tools.actions.diagnosis import examine
from tools.actions.idempotency import examine_idempotency, request_for
from tools.console import Console
from tools.errors import CommandFailed
from tools.events.webhook import DEFAULT_FUNCTION, DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE
from tools.help_pages import epilog
from tools.installation import Installation
from tools.options import FunctionOption, JsonOption, YesOption, installation_of
from tools.presentation import counted, pipeline_words, summary
from tools.shell_completion import route_names

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "doctor": "settings, routes, journal, credential, pipelines",
        "doctor --url https://app.azurewebsites.net": "the same, and the endpoint of the deployed app",
        "doctor --idempotency probe": "does Azure DevOps use the ID of a request?",
    },
    "a check failed, or with --idempotency the answer is not known, or a run may be left",
)

_STATUS_WIDTH: Final = 7
_CHECK_WIDTH: Final = 12

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help=f"The app's URL.  [default: {URL_VARIABLE}, or {DEFAULT_URL} if the app runs there]",
    ),
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
IdempotencyOption = Annotated[
    str | None,
    typer.Option(
        "--idempotency",
        metavar="PIPELINE",
        help="Do this instead of the checks: queue a run of this pipeline twice with the same ID, find out whether "
        "Azure DevOps uses the ID, and cancel what was queued.",
    ),
]
ProbeRouteOption = Annotated[
    str | None,
    typer.Option(
        "--route",
        metavar="ROUTE",
        help="With --idempotency: the route whose organization and project have the pipeline. Needed only if the "
        "routes name several.",
        autocompletion=route_names,
    ),
]


@app.command(epilog=EPILOG)
def doctor(
    context: typer.Context,
    *,
    url: UrlOption = None,
    key: KeyOption = None,
    function: FunctionOption = DEFAULT_FUNCTION,
    idempotency: IdempotencyOption = None,
    route: ProbeRouteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Test everything that the app depends on.

    The checks use the real services, in this order:

    \b
    - read the settings and routes.yaml
    - write, read and delete a journal record
    - compare the clocks of the journal and of this machine
    - read the secret or get a token
    - encrypt and decrypt a token with the keys for waiting tasks
    - list the pipelines of each project, and compare Azure DevOps' clock
    - find the pipeline of each route
    - have Azure DevOps preview a run of each route
    - perform Event Grid's validation handshake with the app's endpoint
    - compare the routes.yaml that the app runs with this one

    Nothing is queued, and nothing is left behind. Each failure is followed by its next step. A clock that differs by
    more than 5 s is a warning: the app allows for the difference.

    With `AZURE_DEVOPS_AUTH=identity` on a laptop, the check uses your identity, not the app's. The permission to queue
    builds is not shown by a preview, and neither is the scope Build (Read & execute) of a PAT: Build (Read) is enough
    for a preview.

    With --idempotency, the command asks first, and then queues one or two runs of a pipeline that you name for it: one
    that may start at any time, and whose parameters all have defaults. The result is honored (the second request queued
    nothing, and the build has the ID), ignored (two runs), or not known. The runs are canceled; runs that may be left
    are listed with their links.
    """
    installation, console = installation_of(context), Console()
    if idempotency is None and (route is not None or yes):
        raise CommandFailed("--route and --yes need --idempotency PIPELINE")
    if idempotency is not None and (url is not None or key is not None):
        raise CommandFailed("--idempotency excludes --url and --key, because it only asks Azure DevOps")
    results: list[CheckResult] = []
    checks = (
        examine(installation, url or installation.environ.get(URL_VARIABLE, ""), key or "", function)
        if idempotency is None
        else _idempotency(installation, console, idempotency, route, is_confirmed=yes)
    )
    for result in checks:
        results.append(result)
        if not as_json:
            _show(console, result)
    if as_json:
        console.json([asdict(result) for result in results])
    else:
        console.line(summary(counted(len(results), "check"), (result.status for result in results)))
    raise typer.Exit(1 if any(result.status is Status.FAILED for result in results) else 0)


def _idempotency(
    installation: Installation, console: Console, pipeline: str, route: str | None, *, is_confirmed: bool
) -> list[CheckResult]:
    request = request_for(installation.configuration.routes.routes, pipeline, route)
    client = installation.pipelines()
    if not is_confirmed:
        if not sys.stdin.isatty():
            raise CommandFailed("--idempotency queues runs; confirm it with --yes")
        if not console.confirm(f"queue up to two runs of {pipeline_words(request)}, and cancel them?"):
            raise CommandFailed("not confirmed; nothing was sent", exit_code=1)
    return examine_idempotency(client, request)


def _show(console: Console, result: CheckResult) -> None:
    widths = [_STATUS_WIDTH, _CHECK_WIDTH]
    first, *others = result.detail.splitlines()
    console.row((result.status, result.check, first), widths)
    for line in others:
        console.row(("", "", line), widths)
    if result.next_step:
        console.row(("", "", f"next: {result.next_step}"), widths)
