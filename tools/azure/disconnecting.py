"""Removes what ``manage.py connect`` has made: the work of ``manage.py disconnect``. It can be run again at any time.

After ``azd down``, the app and its resource group are gone, and azd has forgotten the values of its deployment. So each
step finds by names what to delete, and takes what is gone for deleted.
"""

from collections.abc import Callable
from typing import Final

from tools.azure import event_resources
from tools.azure import plan as variables
from tools.azure.answers import Answer, ResourceManagerError
from tools.azure.event_resources import ALERTS, CONTRIBUTOR, EVENT_GRID, LOGS, READER, ROLES
from tools.azure.plan import Plan
from tools.azure.resource_manager import ResourceManager
from tools.azure.sources import WORKSPACE, Resource
from tools.azure.topics import identity_of, list_topics, topic_of
from tools.errors import CommandFailed
from tools.presentation import counted

_GONE: Final = 404
_FORBIDDEN: Final = 403
_LOCKED: Final = "ScopeLocked"


def disconnect_all(manager: ResourceManager, plan: Plan, say: Callable[[str], None]) -> None:
    """Stop the events of all workspaces and sources.

    :param say: tells the operator about progress, one line at a time.
    :raises CommandFailed: a step failed. The next run goes on from there.
    """
    plan.require(**{variables.NAME: plan.name, variables.SUBSCRIPTION: plan.subscription})
    topics = list_topics(manager, plan)
    for resource in plan.resources:
        topic = topic_of(manager, resource, topics)
        _remove_alerts(manager, plan, resource, say)
        if topic is None:
            gone = "does not exist" if resource.is_topic else "has no system topic"
            say(f"the {resource.words} {gone}; nothing is left to remove there")
        else:
            _leave_topic(manager, plan, topic, say)
        if resource.type == WORKSPACE:
            _remove_reader(manager, plan, resource, say)


def _remove_alerts(manager: ResourceManager, plan: Plan, resource: Resource, say: Callable[[str], None]) -> None:
    """Delete the alerts on a resource's events, unless they went with the app's resource group."""
    if plan.function_app:
        for alert_id in (*event_resources.alert_ids(plan, resource), *event_resources.earlier_alert_ids(plan)):
            _delete(manager, f"the alert {alert_id.rpartition('/')[2]}", alert_id, ALERTS, say)


def _leave_topic(manager: ResourceManager, plan: Plan, topic: Answer, say: Callable[[str], None]) -> None:
    """Delete our event subscriptions on a topic, and the topic if it is ours and nobody needs it any longer."""
    topic_id, name, kind = topic.text("id"), topic.text("name"), event_resources.kind_of(topic)
    try:
        listed = manager.list(f"{topic_id}/eventSubscriptions", EVENT_GRID)
    except ResourceManagerError as exc:
        if exc.status != _GONE:  # the topic was deleted meanwhile
            raise CommandFailed(
                f"the event subscriptions of {name} cannot be listed: {exc}; ask for the role EventGrid Contributor", 1
            ) from exc
        listed = []
    ours = [each for one in listed if event_resources.is_our_subscription(plan, each := one.text("name"))]
    for each in ours:
        path = f"{topic_id}/eventSubscriptions/{each}"
        _delete(manager, f"the event subscription {each}", path, EVENT_GRID, say)
    if plan.storage_account and plan.container and identity_of(topic):
        scope = event_resources.container_id(plan)
        role_id = event_resources.role_id(scope, identity_of(topic), CONTRIBUTOR)
        _remove_writer(manager, name, role_id, say)
    if event_resources.is_of_an_environment(topic):
        _remove_log(manager, plan, topic_id, say)
    others = len(listed) - len(ours)
    if others:
        say(f"the {kind} {name} stays: it serves {counted(others, 'other event subscription')}")
    elif event_resources.is_of_an_environment(topic):
        _delete(manager, f"the {kind} {name}", topic_id, EVENT_GRID, say)
    else:
        say(f"the {kind} {name} stays: nextstage has not made it")


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


def _remove_log(manager: ResourceManager, plan: Plan, topic_id: str, say: Callable[[str], None]) -> None:
    """Delete the setting with which a topic logs deliveries that fail. Left over, it would serve the next such topic.

    Many operators have no right on such settings, and then there hardly is one.
    """
    name = topic_id.rpartition("/")[2]
    try:
        existed = manager.delete(event_resources.log_id(plan, topic_id), LOGS)
    except ResourceManagerError as exc:
        if exc.status != _FORBIDDEN:
            say(f"the log of deliveries of {name} that fail stays: {exc.words}")
    else:
        if existed:
            say(f"deleted the log of deliveries of {name} that fail")


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
        properties = assignment.object("properties")
        principal = properties.text("principalId", "")
        is_reader = properties.text("roleDefinitionId", "").endswith(READER)
        is_here = properties.text("scope", "").lower() == workspace.id.lower()
        is_ours = properties.text("description", "") == plan.prefix or (plan.identity and principal == plan.identity)
        if is_reader and is_here and is_ours:
            _delete(manager, f"the app's role on the workspace {workspace.name}", assignment.text("id"), ROLES, say)


def _delete(manager: ResourceManager, what: str, resource_id: str, version: str, say: Callable[[str], None]) -> None:
    try:
        existed = manager.delete(resource_id, version)
    except ResourceManagerError as exc:
        raise _failure(what, resource_id, exc) from exc
    if existed:
        say(f"deleted {what}")


def _failure(what: str, resource_id: str, exc: ResourceManagerError) -> CommandFailed:
    return CommandFailed(f"{what} cannot be deleted: {exc.words}; delete it by hand: {resource_id}", 1)
