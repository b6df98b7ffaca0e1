"""Removes what ``manage.py connect`` has made: the work of ``manage.py disconnect``. It can be run again at any time.

After ``azd down``, the app and its resource group are gone, and azd has forgotten the values of its deployment. So each
step finds by names what to delete, and takes what is gone for deleted.
"""

from collections.abc import Callable
from typing import Any, Final

from tools.azure import event_resources
from tools.azure import plan as variables
from tools.azure.event_resources import ALERTS, CONTRIBUTOR, EVENT_GRID, LOGS, READER, ROLES
from tools.azure.plan import Plan, Resource
from tools.azure.resource_manager import ResourceManager, ResourceManagerError
from tools.azure.topics import identity_of, list_topics
from tools.errors import CommandFailed
from tools.presentation import counted

_GONE: Final = 404
_FORBIDDEN: Final = 403
_LOCKED: Final = "ScopeLocked"


def disconnect_all(manager: ResourceManager, plan: Plan, say: Callable[[str], None]) -> None:
    """Stop the events of all workspaces.

    :param say: tells the operator about progress, one line at a time.
    :raises CommandFailed: a step failed. The next run goes on from there.
    """
    plan.require(**{variables.NAME: plan.name, variables.SUBSCRIPTION: plan.subscription})
    topics = list_topics(manager, plan)
    for workspace in plan.workspaces:
        topic = event_resources.topic_of(workspace, topics)
        _remove_alerts(manager, plan, workspace, say)
        if topic is None:
            say(f"the workspace {workspace.name} has no system topic; nothing is left to remove there")
        else:
            _leave_topic(manager, plan, topic, say)
        _remove_reader(manager, plan, workspace, say)


def _remove_alerts(manager: ResourceManager, plan: Plan, workspace: Resource, say: Callable[[str], None]) -> None:
    """Delete the alerts on a workspace's events, unless they went with the app's resource group."""
    if plan.function_app:
        for alert_id in (*event_resources.alert_ids(plan, workspace), *event_resources.earlier_alert_ids(plan)):
            _delete(manager, f"the alert {alert_id.rpartition('/')[2]}", alert_id, ALERTS, say)


def _leave_topic(manager: ResourceManager, plan: Plan, topic: dict[str, Any], say: Callable[[str], None]) -> None:
    """Delete our event subscriptions on a system topic, and the topic if nobody needs it any longer."""
    name = topic["name"]
    try:
        listed = manager.list(f"{topic['id']}/eventSubscriptions", EVENT_GRID)
    except ResourceManagerError as exc:
        raise CommandFailed(
            f"the event subscriptions of {name} cannot be listed: {exc}; ask for the role EventGrid Contributor", 1
        ) from exc
    ours = {each.lower() for each in event_resources.subscription_names(plan)}
    for subscription in listed:
        if subscription["name"].lower() in ours:
            path = f"{topic['id']}/eventSubscriptions/{subscription['name']}"
            _delete(manager, f"the event subscription {subscription['name']}", path, EVENT_GRID, say)
    others = [each for each in listed if each["name"].lower() not in ours]
    if plan.storage_account and plan.container and identity_of(topic):
        scope = event_resources.container_id(plan)
        role_id = event_resources.role_id(scope, identity_of(topic), CONTRIBUTOR)
        _remove_writer(manager, name, role_id, say)
    if event_resources.is_of_an_environment(topic):
        _remove_log(manager, plan, topic, say)
    if others:
        say(f"the system topic {name} stays: it serves {counted(len(others), 'other event subscription')}")
    elif event_resources.is_of_an_environment(topic):
        _delete(manager, f"the system topic {name}", topic["id"], EVENT_GRID, say)
    else:
        say(f"the system topic {name} stays: nextstage has not made it")


def _remove_writer(manager: ResourceManager, topic: str, role_id: str, say: Callable[[str], None]) -> None:
    """Delete the role of a topic on the dead letters, unless a lock keeps it: the account has one in production."""
    what = f"the role with which {topic} writes dead letters"
    try:
        existed = manager.delete(role_id, ROLES)
    except ResourceManagerError as exc:
        if exc.code != _LOCKED:
            raise _failure(what, role_id, exc) from exc
        say(f"{what} stays, because it is locked: {exc.reason}")
    else:
        if existed:
            say(f"deleted {what}")


def _remove_log(manager: ResourceManager, plan: Plan, topic: dict[str, Any], say: Callable[[str], None]) -> None:
    """Delete the setting with which a topic logs deliveries that fail. Left over, it would serve the next such topic.

    Many operators have no right on such settings, and then there hardly is one.
    """
    try:
        existed = manager.delete(event_resources.log_id(plan, topic["id"]), LOGS)
    except ResourceManagerError as exc:
        if exc.status != _FORBIDDEN:
            say(f"the log of deliveries of {topic['name']} that fail stays: {exc.words}")
    else:
        if existed:
            say(f"deleted the log of deliveries of {topic['name']} that fail")


def _remove_reader(manager: ResourceManager, plan: Plan, workspace: Resource, say: Callable[[str], None]) -> None:
    """Delete the app's role on a workspace, which outlives the app's identity."""
    path = f"{workspace.id}/providers/Microsoft.Authorization/roleAssignments"
    try:
        assigned = manager.list(path, ROLES, filter_="atScope()")
    except ResourceManagerError as exc:
        if exc.status != _GONE:  # the workspace exists
            say(f"the roles on the workspace {workspace.name} cannot be listed, so the app's may be left: {exc}")
        return
    for assignment in assigned:
        properties = assignment["properties"]
        principal = str(properties.get("principalId", ""))
        is_reader = str(properties.get("roleDefinitionId", "")).endswith(READER)
        is_here = str(properties.get("scope", "")).lower() == workspace.id.lower()
        is_ours = properties.get("description") == plan.prefix or (plan.identity and principal == plan.identity)
        if is_reader and is_here and is_ours:
            _delete(manager, f"the app's role on the workspace {workspace.name}", assignment["id"], ROLES, say)


def _delete(manager: ResourceManager, what: str, resource_id: str, version: str, say: Callable[[str], None]) -> None:
    try:
        existed = manager.delete(resource_id, version)
    except ResourceManagerError as exc:
        raise _failure(what, resource_id, exc) from exc
    if existed:
        say(f"deleted {what}")


def _failure(what: str, resource_id: str, exc: ResourceManagerError) -> CommandFailed:
    return CommandFailed(f"{what} cannot be deleted: {exc.words}; delete it by hand: {resource_id}", 1)
