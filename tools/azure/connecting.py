"""Connects workspaces and other sources of events to the app: the work of ``manage.py connect``.

Each step creates a resource, or brings an existing one to the same state. So the work can be interrupted anywhere, and
run again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tools.azure import event_resources
from tools.azure import plan as variables
from tools.azure.answers import Answer, ResourceManagerError
from tools.azure.event_resources import ALERTS, CONTRIBUTOR, EVENT_GRID, FUNCTION, LOGS, READER, ROLES, WEB
from tools.azure.plan import Plan
from tools.azure.resource_manager import ResourceManager
from tools.azure.sources import Resource
from tools.azure.topics import Found, find_all, identity_of
from tools.errors import CommandFailed

_FUNCTION_TRIES: Final = 20
_FUNCTION_SECONDS: Final = 15.0
_TRIES: Final = 12
_SECONDS: Final = 60.0
"""A new role takes up to 10 minutes to reach every part of Azure. Source: Azure RBAC docs, troubleshooting."""

_EXISTS: Final = "RoleAssignmentExists"
_EARLY: Final = (
    "authoriz", "permission", "forbidden", "access denied", "principalnotfound", "endpoint validation",
    "url validation", "validate the provided endpoint",
)  # fmt: skip
"""What a code or a message contains if a new identity, role or function is not known everywhere yet.

Event Grid says ``Endpoint validation``, ``Url validation`` and ``Managed Identity Authorization Error``. Source:
Azure/bicep, issue 11656; MicrosoftDocs/azure-docs, issues 24291 and 98216; Azure/bicep-registry-modules, issue 5205.
"""
_PERMANENT: Final = frozenset({"RequestDisallowedByPolicy", "ScopeLocked"})
"""Codes of refusals that last, whatever their message contains: it names the policy or the locked scope."""

_ADMINISTRATOR: Final = "Role Based Access Control Administrator"


@dataclass(frozen=True, slots=True)
class Pauses:
    """How to wait.

    :param seconds: replaces the length of each pause, for tests; None for the real ones.
    :param say: tells the operator why there is a pause, where only the pauses know the operator.
    """

    seconds: float | None = None
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = field(default=lambda _line: None)

    def pause(self, seconds: float) -> None:
        """Wait for so long."""
        self.sleep(seconds if self.seconds is None else self.seconds)


def connect_all(manager: ResourceManager, plan: Plan, say: Callable[[str], None], pauses: Pauses) -> None:
    """Bring the events of all workspaces and sources to the app.

    :param say: tells the operator about progress, one line at a time.
    :raises CommandFailed: a step failed. What was done stays, and the next run goes on from there.
    """
    plan.require(
        **{
            variables.NAME: plan.name,
            variables.SUBSCRIPTION: plan.subscription,
            variables.FUNCTION_APP: plan.function_app,
            variables.STORAGE_ACCOUNT: plan.storage_account,
            variables.CONTAINER: plan.container,
            variables.IDENTITY: plan.identity or not plan.waits,
        }
    )
    found = find_all(manager, plan)
    _wait_for_function(manager, plan, say, pauses)
    steps = _Steps(manager, plan, say, pauses, {topic.text("id").lower() for topic in found.listed})
    for resource in plan.resources:
        steps.connect(resource, found)
    steps.remove_outdated()
    for alert_id in event_resources.earlier_alert_ids(plan):
        if manager.delete(alert_id, ALERTS):
            say(f"deleted the alert {alert_id.rpartition('/')[2]}, which one for each workspace replaces")


def _wait_for_function(manager: ResourceManager, plan: Plan, say: Callable[[str], None], pauses: Pauses) -> None:
    """Wait until Azure lists the app's function, to which the event subscriptions refer.

    After a deployment to Flex Consumption, Azure may list none of the app's functions until the triggers are
    synchronized. Source: Azure/functions-action, issue 373.
    """
    app = plan.function_app.id
    if manager.get(app, WEB) is None:
        raise CommandFailed(f"there is no function app {app}; run 'azd provision' and 'azd deploy' first")
    failure = ""
    for turn in range(1, _FUNCTION_TRIES + 1):
        try:
            manager.post(f"{app}/host/default/sync", WEB)
            failure = ""
        except ResourceManagerError as exc:  # it helps, but is not always needed
            failure = f" (its triggers could not be synchronized: {exc.reason.rstrip('.')})"
        if manager.get(f"{app}/functions/{FUNCTION}", WEB) is not None:
            return
        if turn < _FUNCTION_TRIES:
            say(f"waiting for the function {FUNCTION} ({turn} of {_FUNCTION_TRIES})")
            pauses.pause(_FUNCTION_SECONDS)
    raise CommandFailed(
        f"the app does not show its function {FUNCTION}{failure}. It stops at its start if a setting or routes.yaml is "
        "wrong, and says in Application Insights what: union traces, exceptions | where severityLevel >= 3 | order by "
        "timestamp desc; correct that, then run 'azd deploy' again",
        1,
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps for each resource.

    :param topic_ids: the system topics that exist, in lower case.
    :param made: the names of our event subscriptions by the ID of their topic, all in lower case.
    """

    manager: ResourceManager
    plan: Plan
    say: Callable[[str], None]
    pauses: Pauses
    topic_ids: set[str] = field(default_factory=set)
    made: dict[str, set[str]] = field(default_factory=dict)

    def connect(self, resource: Resource, found: Found) -> None:
        """Bring the events of one resource to the app. A topic of somebody else is used and never changed."""
        plan, topic = self.plan, found.topics[resource]
        if topic is None or not identity_of(topic) or event_resources.has_failed(plan, resource, topic):
            topic = self._make_topic(resource, found, topic)
        scope = event_resources.container_id(plan)
        topic_id, topic_name = topic.text("id"), topic.text("name")
        what = f"the role with which {topic_name} writes dead letters"
        self._assign(what, plan.storage_account, scope, identity_of(topic), CONTRIBUTOR)
        for name, body in event_resources.subscriptions(plan, resource, topic).items():
            path = f"{topic_id}/eventSubscriptions/{name}"
            self._put(f"the event subscription {name}", path, body, EVENT_GRID, _event_grid_role(topic_id))
            self.made.setdefault(topic_id.lower(), set()).add(name.lower())
        if plan.waits and resource in plan.workspaces:
            what = f"the app's role on the {resource.words}"
            self._assign(what, resource, resource.id, plan.identity, READER)
        for alert_id, body in event_resources.alerts(plan, resource, topic_id).items():
            name = alert_id.rpartition("/")[2]
            self._put(f"the alert {name}", alert_id, body, ALERTS, f"Contributor on {plan.function_app.group_id}")
        if plan.log_workspace and event_resources.is_of_an_environment(topic):
            self._log_failures(resource, topic_id)
        way = "" if resource.is_topic else f" by the system topic {topic_name}"
        self.say(f"events of the {resource.words} come to {plan.function_app.name}{way}")

    def remove_outdated(self) -> None:
        """Delete our event subscriptions for sources whose filter has changed, or that are no longer in the plan."""
        for topic_id, names in self.made.items():
            for one in self.manager.list(f"{topic_id}/eventSubscriptions", EVENT_GRID):
                name = one.text("name")
                if event_resources.is_for_a_source(self.plan, name) and name.lower() not in names:
                    self.manager.delete(f"{topic_id}/eventSubscriptions/{name}", EVENT_GRID)
                    self.say(f"deleted the event subscription {name}, which no source needs any longer")

    def _log_failures(self, resource: Resource, topic_id: str) -> None:
        """Log the deliveries of a system topic that fail. Events come without the log, so a refusal ends nothing.

        A topic can have only one setting for each workspace of logs, and another environment may have made it.
        """
        setting = event_resources.log_id(self.plan, topic_id)
        try:
            found = self.manager.list(setting.rpartition("/")[0], LOGS)
            workspaces = {one.object("properties").text("workspaceId", "").lower() for one in found}
            if self.plan.log_workspace.lower() not in workspaces:
                self.manager.put(setting, event_resources.log(self.plan), LOGS)
        except ResourceManagerError as exc:
            name = topic_id.rpartition("/")[2]
            self.say(
                f"the deliveries of {name} that fail are not logged: {exc.words}; if you need the log, ask "
                f"for the role Monitoring Contributor on {resource.group_id} and the Log Analytics workspace"
            )

    def _make_topic(self, resource: Resource, found: Found, unfinished: Answer | None) -> Answer:
        """Create our system topic.

        :param unfinished: the one whose creation has failed, or was interrupted by a crash.
        """
        free = [each for each in event_resources.topic_ids(self.plan, resource) if each.lower() not in self.topic_ids]
        topic_id = unfinished.text("id") if unfinished else free[0]
        name = topic_id.rpartition("/")[2]
        body = event_resources.topic(self.plan, resource, found.kinds[resource], found.regions[resource])
        topic = self._put(f"the system topic {name}", topic_id, body, EVENT_GRID, _event_grid_role(topic_id))
        self.topic_ids.add(topic_id.lower())
        if not identity_of(topic):
            topic = self.manager.get(topic_id, EVENT_GRID) or topic
        if not identity_of(topic):
            raise CommandFailed(f"the system topic {name} has no identity yet; run this again in a minute", 1)
        return topic

    def _assign(self, what: str, resource: Resource, scope: str, principal: str, role: str) -> None:
        """Give a role, unless somebody has given it already, perhaps under another name."""
        body = event_resources.role(self.plan, resource, principal, role)
        try:
            self._put(what, event_resources.role_id(scope, principal, role), body, ROLES, _ADMINISTRATOR)
        except _Refused as refused:
            if _EXISTS not in refused.codes:
                raise

    def _put(self, what: str, resource_id: str, body: dict[str, Any], version: str, role: str) -> Answer:
        """Create a resource. Wait for a role, an identity or a function that it depends on and that may be new.

        :param role: the role that the operator needs.
        """
        for turn in range(1, _TRIES):
            try:
                return self._put_once(what, resource_id, body, version, role)
            except _Refused as refused:
                if not refused.is_early:
                    raise
                self.say(f"{refused.what}; trying again, as something may be too new for it ({turn} of {_TRIES})")
                self.pauses.pause(_SECONDS)
        return self._put_once(what, resource_id, body, version, role)

    def _put_once(self, what: str, resource_id: str, body: dict[str, Any], version: str, role: str) -> Answer:
        try:
            return self.manager.put(resource_id, body, version)
        except ResourceManagerError as exc:
            raise _Refused(what, exc, role) from exc


def _event_grid_role(topic_id: str) -> str:
    return f"EventGrid Contributor on {event_resources.watched(topic_id).group_id}"


class _Refused(CommandFailed):
    """Azure Resource Manager did not create a resource. ``is_early`` says whether it may do so in some minutes."""

    def __init__(self, what: str, error: ResourceManagerError, role: str) -> None:
        advice = "correct that, then run 'azd hooks run postdeploy' or './manage.py connect'"
        meanwhile = ""
        if "AuthorizationFailed" in error.codes:
            advice = f"ask for the role {role}"
            meanwhile = f"; {advice}, unless you got it in the last minutes"
        failure = f"{what} could not be made: {error.words}"
        super().__init__(f"{failure}; {advice}", 1)
        self.what = f"{failure}{meanwhile}"
        self.codes = error.codes
        said = " ".join((*error.codes, error.reason)).lower()
        is_new = any(word in said for word in _EARLY)
        self.is_early = is_new and not _PERMANENT.intersection(error.codes)
