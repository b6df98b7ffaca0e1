"""``manage.py disconnect``: stops the events of Azure ML workspaces and other sources to the app."""

import json
from typing import Final

import typer

from tools.azure import plan as variables
from tools.azure.options import (
    ContainerOption,
    FunctionAppOption,
    NameOption,
    SourceOption,
    StorageOption,
    SubscriptionOption,
    WorkspacesOption,
    with_options,
)
from tools.azure.plan import Plan
from tools.console import Console
from tools.help_pages import epilog
from tools.options import installation_of

app = typer.Typer()

EPILOG: Final = epilog(
    {"disconnect": "all of azd's environment", "disconnect --source ID": "one source only"},
    "something may not be read or deleted; the next run goes on from there",
)


@app.command(epilog=EPILOG)
def disconnect(
    context: typer.Context,
    *,
    workspaces: WorkspacesOption = None,
    sources: SourceOption = None,
    name: NameOption = None,
    subscription: SubscriptionOption = None,
    function_app: FunctionAppOption = None,
    storage_account: StorageOption = None,
    container: ContainerOption = None,
) -> None:
    """Stop events of Azure resources to the app.

    It deletes what `manage.py connect` has made next to each of them, and nothing else: the event subscriptions,
    the alerts, the log of deliveries that fail, the role of the topic on the dead letters, and the app's role on the
    workspace. If a lock on the storage account protects the role of the topic, that role stays. The system topic goes
    too if an environment of nextstage has made it, and no other event subscription uses it.

    `azd down` runs it at its end. Then the app is gone already, and so are its alerts and dead letters. You can run it
    again at any time.
    """
    from tools.azure.deployment import deployed  # noqa: PLC0415 - the Azure libraries are slow to import
    from tools.azure.disconnecting import disconnect_all  # noqa: PLC0415 - the same
    from tools.azure.sign_in import resource_manager  # noqa: PLC0415 - the same

    installation, console = deployed(installation_of(context), name), Console()
    options = {
        variables.NAME: name,
        variables.SUBSCRIPTION: subscription,
        variables.FUNCTION_APP: function_app,
        variables.STORAGE_ACCOUNT: storage_account,
        variables.CONTAINER: container,
    }
    named = json.dumps([{"source": source} for source in sources]) if sources else None
    values = with_options(installation.environ, workspaces, named, options)
    plan = Plan.of(values)
    disconnect_all(resource_manager(installation.environ, console.note), plan, console.note)
