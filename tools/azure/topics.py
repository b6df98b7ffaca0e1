"""The system topics of workspaces, as Azure Resource Manager lists them."""

from typing import Any

from tools.azure.event_resources import EVENT_GRID, is_ours
from tools.azure.plan import Plan, Resource
from tools.azure.resource_manager import ResourceManager, ResourceManagerError
from tools.errors import CommandFailed


def list_topics(manager: ResourceManager, plan: Plan) -> list[dict[str, Any]]:
    """Return all system topics of the workspaces' subscriptions.

    :raises CommandFailed: they cannot be listed.
    """
    topics = []
    for subscription in dict.fromkeys(workspace.subscription for workspace in plan.workspaces):
        path = f"/subscriptions/{subscription}/providers/Microsoft.EventGrid/systemTopics"
        try:
            topics += manager.list(path, EVENT_GRID)
        except ResourceManagerError as exc:
            raise CommandFailed(
                f"the Event Grid system topics of the workspace's subscription {subscription} cannot be listed: {exc}; "
                "ask for the role EventGrid Contributor on the workspace's resource group",
                1,
            ) from exc
    return topics


def identity_of(topic: dict[str, Any]) -> str:
    """Return the object ID of a topic's system-assigned identity; an empty string if it has none."""
    return str((topic.get("identity") or {}).get("principalId") or "")


def check_identity(plan: Plan, workspace: Resource, topic: dict[str, Any] | None) -> None:
    """Check that a system topic of somebody else can write dead letters. One of ours gets its identity from us.

    :raises CommandFailed: it has no identity of its own. The message says how to add one.
    """
    if topic is None or identity_of(topic) or is_ours(plan, workspace, topic):
        return
    raise CommandFailed(
        f"the Event Grid system topic {topic['name']} of the workspace {workspace.name} has no identity to write dead "
        "letters with; give it a system-assigned one: in the portal on its page Identity, or with az eventgrid "
        f"system-topic update --ids {topic['id']} --identity systemassigned"
    )
