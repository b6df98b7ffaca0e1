"""``manage.py connect``: brings the events of Azure ML workspaces and other sources to the deployed app."""

from typing import Annotated, Final

import typer

from tools.actions.check_results import show_results
from tools.azure import plan as variables
from tools.azure.options import (
    ContainerOption,
    FunctionAppOption,
    NameOption,
    SourcesOption,
    StorageOption,
    SubscriptionOption,
    WorkspacesOption,
    with_options,
)
from tools.azure.plan import Plan
from tools.console import Console
from tools.events.webhook import URL_VARIABLE
from tools.help_pages import epilog
from tools.options import installation_of

app = typer.Typer()

EPILOG: Final = epilog(
    {
        "connect": "with the values of azd's environment",
        "connect --check": "what a deployment needs, before it",
    },
    "something is missing or was refused, or the app does not work; what was done stays, and the next run goes on from "
    "there",
)

IdentityOption = Annotated[
    str | None,
    typer.Option(
        "--identity",
        metavar="ID",
        help=f"The object ID of the app's identity, for --waits.  [default: {variables.IDENTITY}]",
    ),
]
ActionGroupOption = Annotated[
    str | None,
    typer.Option(
        "--action-group",
        metavar="ID",
        help=f"The action group that alerts notify; may be empty.  [default: {variables.ACTION_GROUP}]",
    ),
]
LogWorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--log-workspace",
        metavar="ID",
        help="The Log Analytics workspace that gets a log of deliveries that fail; may be empty.  "
        f"[default: {variables.LOG_WORKSPACE}]",
    ),
]
StatusesOption = Annotated[
    str | None,
    typer.Option(
        "--run-statuses",
        metavar="LIST",
        help="Only RunStatusChanged events with these statuses are delivered: a list of Completed, Failed and Canceled."
        f"  [default: {variables.RUN_STATUSES}, or all]",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help=f"The app's URL, for the test at the end.  [default: {URL_VARIABLE}, or the one that Azure says]",
    ),
]
WaitsOption = Annotated[
    bool | None,
    typer.Option(
        "--waits/--no-waits", help=f"Let the app read the workspace's runs.  [default: {variables.WAITS}, or no]"
    ),
]


@app.command(epilog=EPILOG)
def connect(  # noqa: PLR0913 - one parameter for each option
    context: typer.Context,
    *,
    workspaces: WorkspacesOption = None,
    sources: SourcesOption = None,
    name: NameOption = None,
    subscription: SubscriptionOption = None,
    function_app: FunctionAppOption = None,
    storage_account: StorageOption = None,
    container: ContainerOption = None,
    identity: IdentityOption = None,
    action_group: ActionGroupOption = None,
    log_workspace: LogWorkspaceOption = None,
    run_statuses: StatusesOption = None,
    waits: WaitsOption = None,
    url: UrlOption = None,
    only_check: Annotated[
        bool, typer.Option("--check", help="Only check what a deployment needs. Makes and changes nothing.")
    ] = False,
) -> None:
    """Bring events of Azure resources to the app.

    `azd up` runs it after each deployment. After another kind of deployment, run it yourself, with the options. IDs are
    resource IDs, unless an option says otherwise. It creates in this order, for each workspace and each source:

    \b
    - its Event Grid system topic, if there is none and it is not a topic itself
    - the topic's role on the container for dead letters
    - event subscriptions that lead to the app's function
    - with --waits: the app's role Reader on the workspace
    - alerts on events that are not delivered
    - with --log-workspace: a log of deliveries that fail, if it made the topic

    It waits until Azure lists the app's function, and until a new role has arrived, at most 12 minutes. A topic of
    somebody else is used and never changed. It deletes the event subscriptions of sources that have changed, on the
    topics that it connects. You can run it at any time, also after an interruption: it leaves what is right as it is.

    At the end, it tests whether the app works, as `doctor --deployed` does: it sends a test event to the app's Event
    Grid endpoint, which queues nothing, and looks for the app's note in the journal.

    In an environment of azd you are signed in as with `azd auth login`, elsewhere as with `az login`, or as
    DefaultAzureCredential finds.

    --check finds what would otherwise fail after minutes of provisioning: it reads the resources and their topics, says
    if you may not make their event subscriptions, asks whether the region offers the app's version of Python, and
    whether a resource provider is registered that the profile private needs. It waits until the roles of a new app are
    two minutes old.
    """
    from tools.actions.canary import prove  # noqa: PLC0415 - the Azure libraries are slow to import
    from tools.azure import checking  # noqa: PLC0415 - the same
    from tools.azure.connecting import Pauses, connect_all  # noqa: PLC0415 - the same
    from tools.azure.deployment import Deployment, deployed, is_private  # noqa: PLC0415 - the same
    from tools.azure.sign_in import pause_seconds, resource_manager  # noqa: PLC0415 - the same

    installation, console = deployed(installation_of(context), name), Console()
    options = {
        variables.NAME: name,
        variables.SUBSCRIPTION: subscription,
        variables.FUNCTION_APP: function_app,
        variables.STORAGE_ACCOUNT: storage_account,
        variables.CONTAINER: container,
        variables.IDENTITY: identity,
        variables.ACTION_GROUP: action_group,
        variables.LOG_WORKSPACE: log_workspace,
        variables.RUN_STATUSES: run_statuses,
        variables.WAITS: None if waits is None else str(waits),
    }
    values = with_options(installation.environ, workspaces, sources, options)
    plan = Plan.of(values)
    manager = resource_manager(installation.environ, console.note)
    pauses = Pauses(pause_seconds(values), say=console.note)
    if only_check:
        python = values.get(checking.PYTHON) or checking.DEFAULT_PYTHON
        checking.check(manager, plan, values.get(checking.LOCATION, ""), python, console.note)
        if is_private(values):
            checking.check_provider(manager, plan.subscription, console.note)
        checking.wait_for_roles(manager, plan, console.note, pauses, installation.clock)
    else:
        connect_all(manager, plan, console.note, pauses)
        console.note("testing the app with an event that queues nothing")
        deployment = Deployment.of(plan, values, url or values.get(URL_VARIABLE, ""))
        proof = prove(installation, manager, deployment, pauses)
        raise typer.Exit(0 if show_results(console, proof) else 1)
