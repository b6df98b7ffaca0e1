"""What ``azd provision`` has made in an environment ``dev``, and an Azure ML workspace that it is for.

The names are those with which ``infra/main.bicep`` begins its own. Tests and ``python -m devstack.arm`` start with it.
"""

from __future__ import annotations

from typing import Any

SUBSCRIPTION = "0f0f0f0f-1111-2222-3333-444444444444"
ENVIRONMENT = "dev"
LOCATION = "westeurope"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-{ENVIRONMENT}"
APP = f"{GROUP}/providers/Microsoft.Web/sites/func-nextstage-dev"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/stnextstagedev"
CONTAINER = "dead-letters"
IDENTITY = "1d1d1d1d-1111-2222-3333-444444444444"
"""The principal ID of the app's managed identity."""
ACTION_GROUP = f"{GROUP}/providers/Microsoft.Insights/actionGroups/ag-nextstage-dev"
FUNCTIONS = ("aml_event", "register_wait", "sweep")


def workspace_id(name: str = "ws", group: str = "ml", subscription: str = SUBSCRIPTION) -> str:
    provider = "Microsoft.MachineLearningServices/workspaces"
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{provider}/{name}"


WORKSPACE = workspace_id()


def workspace(workspace_id: str = WORKSPACE, location: str = LOCATION) -> dict[str, Any]:
    """Return a workspace as Azure ML answers it, without most of its properties."""
    return {
        "id": workspace_id,
        "location": location,
        "kind": "Default",
        "sku": {"name": "Basic", "tier": "Basic"},
        "identity": {"type": "SystemAssigned", "principalId": "2e2e2e2e-1111-2222-3333-444444444444"},
        "properties": {
            "friendlyName": workspace_id.rpartition("/")[2],
            "provisioningState": "Succeeded",
            "publicNetworkAccess": "Enabled",
        },
    }


def account(name: str = "landing", group: str = "data", kind: str = "StorageV2") -> dict[str, Any]:
    """Return a storage account for data, without most of its properties."""
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts/{name}"
    return {"id": path, "location": LOCATION, "kind": kind, "properties": {"provisioningState": "Succeeded"}}


def environment(
    name: str = ENVIRONMENT, identity: str = IDENTITY, subscription: str = SUBSCRIPTION
) -> list[dict[str, Any]]:
    """Return the resources of an azd environment that connect needs."""
    group = f"/subscriptions/{subscription}/resourceGroups/rg-{name}"
    app = f"{group}/providers/Microsoft.Web/sites/func-nextstage-{name}"
    storage = f"{group}/providers/Microsoft.Storage/storageAccounts/stnextstage{name.replace('-', '')}"
    host = f"func-nextstage-{name}.azurewebsites.net"
    succeeded = {"provisioningState": "Succeeded"}
    return [
        {"id": group, "location": LOCATION, "tags": {"azd-env-name": name}, "properties": succeeded},
        {
            "id": app,
            "location": LOCATION,
            "kind": "functionapp,linux",
            "identity": {"type": "UserAssigned", "principalId": identity},
            "properties": {"state": "Running", "defaultHostName": host, "sku": "FlexConsumption"},
        },
        *(
            {
                "id": f"{app}/functions/{function}",
                "name": f"func-nextstage-{name}/{function}",
                "properties": {"name": function, "isDisabled": False, "language": "python"},
            }
            for function in FUNCTIONS
        ),
        {"id": storage, "location": LOCATION, "kind": "StorageV2", "properties": succeeded},
        {"id": f"{storage}/blobServices/default", "properties": {}},
        {"id": f"{storage}/blobServices/default/containers/{CONTAINER}", "properties": {"publicAccess": "None"}},
        {
            "id": f"{group}/providers/Microsoft.Insights/actionGroups/ag-nextstage-{name}",
            "location": "global",
            "properties": {"enabled": True, "groupShortName": "nextstage"},
        },
    ]


def resources() -> list[dict[str, Any]]:
    """Return the environment ``dev`` and the workspace ``ws``."""
    return [*environment(), workspace()]
