"""``manage.py doctor``: tests everything that the app depends on, and suggests a next step for each failure."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Final

import typer

from shared.credentials import Secret
from tools.actions.check_results import CheckResult, show_results
from tools.actions.diagnosis import examine, examine_deployed
from tools.actions.idempotency import examine_idempotency, request_for
from tools.console import Console
from tools.errors import CommandFailed
from tools.events.endpoints import checked_key
from tools.events.webhook import DEFAULT_FUNCTION, DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE
from tools.help_pages import epilog
from tools.installation import Installation
from tools.options import FunctionOption, JsonOption, YesOption, installation_of
from tools.presentation import pipeline_words
from tools.shell_completion import route_names

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "doctor": "settings, routes, journal, credential, pipelines",
        "doctor --url https://app.azurewebsites.net": "the same, and the endpoint of the deployed app",
        "doctor --deployed": "the app in Azure: does an event reach it, and is it this version?",
        "doctor --idempotency probe": "does Azure DevOps use the ID of a request?",
    },
    "a check failed, or with --idempotency the answer is not known, or a run may be left",
)

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help=f"The app's URL.  [default: {URL_VARIABLE}, or {DEFAULT_URL} if the app runs there; with --deployed, "
        f"{URL_VARIABLE}, or the one that Azure says]",
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
DeployedOption = Annotated[
    bool,
    typer.Option("--deployed", help="Test the app in Azure from end to end, with a test event that queues nothing."),
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
def doctor(  # noqa: PLR0913 - every parameter is an option
    context: typer.Context,
    *,
    url: UrlOption = None,
    key: KeyOption = None,
    function: FunctionOption = DEFAULT_FUNCTION,
    is_deployed: DeployedOption = False,
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

    With --deployed, the command tests the app in Azure instead, as it runs there. It asks azd for the values of its
    environment; without azd, set NEXTSTAGE_FUNCTION_APP_ID, AML_WORKSPACE_IDS, NEXTSTAGE_EVENT_SOURCES and
    JOURNAL_CONNECTION. It signs in to Azure as you. These are the checks:

    \b
    - read the settings and routes.yaml
    - Azure says that the app runs, and lists its function
    - get the system key of the app's Event Grid endpoint
    - send a test event to this endpoint; the app queues nothing for it
    - find in the journal what the app wrote down about it
    - compare version and routes.yaml of the app with those here
    - look at the event subscriptions that lead to the app
    - see in the metrics whether an event has matched the filter of each source
    - see whether the event type of each enabled route is delivered
    - see in the journal what the app has to try again

    A key or a role that was just made takes some minutes, so the test event is sent up to six times within a minute.

    With --idempotency, the command asks first, and then queues one or two runs of a pipeline that you name for it: one
    that may start at any time, and whose parameters all have defaults. The result is honored (the second request queued
    nothing, and the build has the ID), ignored (two runs), or not known. The runs are canceled; runs that may be left
    are listed with their links.
    """
    installation, console = installation_of(context), Console()
    if idempotency is None and (route is not None or yes):
        raise CommandFailed("--route and --yes need --idempotency PIPELINE")
    if idempotency is not None and (url is not None or key is not None or is_deployed):
        raise CommandFailed("--idempotency excludes --url and --key and --deployed, because it only asks Azure DevOps")
    checks: Iterable[CheckResult]
    if idempotency is not None:
        checks = _idempotency(installation, console, idempotency, route, is_confirmed=yes)
    else:
        url = url or installation.environ.get(URL_VARIABLE, "")
        is_deployed = is_deployed or installation.is_deployed
        look = partial(_deployed, None if as_json else console) if is_deployed else examine
        checks = look(installation, url, key or "", function)
    raise typer.Exit(0 if show_results(console, checks, as_json=as_json) else 1)


def _deployed(
    console: Console | None, installation: Installation, url: str, key: str, function: str
) -> Iterator[CheckResult]:
    # Azure's libraries are slow to import.
    from tools.actions.canary import prove  # noqa: PLC0415
    from tools.azure.connecting import Pauses  # noqa: PLC0415
    from tools.azure.deployment import Deployment, deployed  # noqa: PLC0415
    from tools.azure.plan import Plan  # noqa: PLC0415
    from tools.azure.sign_in import pause_seconds, resource_manager  # noqa: PLC0415

    installation = deployed(installation)
    values = installation.environment
    named = Deployment.of(Plan.of(values), values, url or values.get(URL_VARIABLE, ""))
    named = replace(named, function=function)
    if key := checked_key(key or installation.environ.get(KEY_VARIABLE, "")):
        named = replace(named, key=Secret(key))
    pauses = Pauses(pause_seconds(values))
    if console is not None:
        pauses = replace(pauses, say=console.note)
    proof = prove(installation, resource_manager(values, pauses.say), named, pauses)
    return examine_deployed(installation, proof)


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
