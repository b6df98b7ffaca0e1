"""The system topics of workspaces, as Azure Resource Manager lists them."""

from typing import Any, Final

from tools.azure.event_resources import EVENT_GRID, is_ours
from tools.azure.plan import Plan, Resource
from tools.azure.resource_manager import ResourceManager, ResourceManagerError
from tools.errors import CommandFailed

_FORBIDDEN: Final = 403


def list_topics(manager: ResourceManager, plan: Plan) -> list[dict[str, Any]]:
    """Return the system topics of the workspaces' subscriptions, or of what can be read there.

    The topic of a workspace may be in any resource group. An operator who may not list the whole subscription sees
    those of the workspace's group. If there is one elsewhere, Event Grid refuses to create another, and says so.

    :raises CommandFailed: they cannot be listed.
    """
    topics = []
    for subscription in dict.fromkeys(workspace.subscription for workspace in plan.workspaces):
        try:
            topics += _list(manager, f"/subscriptions/{subscription}")
        except ResourceManagerError as exc:
            if exc.status != _FORBIDDEN:
                raise
            groups = (each.group_id for each in plan.workspaces if each.subscription == subscription)
            for group in dict.fromkeys(groups):
                topics += _list_group(manager, group)
    return topics


def _list_group(manager: ResourceManager, group: str) -> list[dict[str, Any]]:
    try:
        return _list(manager, group)
    except ResourceManagerError as exc:
        if exc.status != _FORBIDDEN:
            raise
        raise CommandFailed(
            f"the Event Grid system topics in {group} cannot be listed: {exc.reason.rstrip('.')}; ask for the role "
            "EventGrid Contributor on it",
            1,
        ) from exc


def _list(manager: ResourceManager, scope: str) -> list[dict[str, Any]]:
    return manager.list(f"{scope}/providers/Microsoft.EventGrid/systemTopics", EVENT_GRID)


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
