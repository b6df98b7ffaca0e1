"""The resources that bring a workspace's events to the app: their names, and their content. No I/O.

- the workspace's system topic, of which a workspace can have only one, in the workspace's resource group
- two event subscriptions on it, and the role with which the topic writes dead letters
- with waits: the app's role on the workspace
- alerts on events that were not delivered, in the app's resource group
- a log of the deliveries that fail, if a topic of ours is to have one
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from handlers import DISPATCH
from tools.azure.plan import LENGTH, Plan, Resource, prefix_of

FUNCTION: Final = "aml_event"
"""The app's function that receives events."""

EVENT_GRID: Final = "2025-02-15"
ROLES: Final = "2022-04-01"
ALERTS: Final = "2026-01-01"
WEB: Final = "2025-03-01"
LOGS: Final = "2021-05-01-preview"
WORKSPACES: Final = "2026-05-01"

CONTRIBUTOR: Final = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
"""Storage Blob Data Contributor, on the container of dead letters only: Event Grid writes a blob for each event."""

READER: Final = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
"""Reader, on the workspace only: the app reads whether a run that a pipeline waits for has ended.

AzureML Data Scientist would also allow starting runs. A custom role that only reads jobs would be narrower, but making
one needs the permission to define roles. Reader gives access neither to keys nor to data.
"""

_TAG: Final = "azd-env-name"
_SHORT: Final = 21
"""The same if the name of the topic also has a hash of 8 characters."""
_PUBLISHER: Final = "Microsoft.MachineLearningServices."
_STATUS_TYPE: Final = _PUBLISHER + "RunStatusChanged"
_GUIDS: Final = UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
"""The namespace of ``guid()`` in ARM templates, so that the roles keep the names that earlier versions gave them.

Source: the Bicep project's implementation of the function.
"""

_TOO_MANY: Final = "GreaterThan"
_AT_LEAST: Final = "GreaterThanOrEqual"
_AT_MOST: Final = "LessThanOrEqual"


class _Alert(NamedTuple):
    """An alert on a topic's metrics.

    :param severity: from 0, critical, to 4, verbose.
    :param window: how much of the past it looks at.
    :param conditions: metric, operator and threshold of each. All must hold.
    """

    name: str
    severity: int
    window: str
    conditions: tuple[tuple[str, str, int], ...]
    description: str


# The metrics count all subscriptions of the topic. A filter by subscription name would be exact if others use the topic
# too, but it never matches if Event Grid spells the name in a different case, and an alert that never fires is worse.
_ALERTS: Final = (
    _Alert(
        name="dead-letters",
        severity=1,
        window="PT5M",
        conditions=(("DeadLetteredCount", _TOO_MANY, 0),),
        description="Events were not delivered within a day and are in the dead-letter container. Run ./manage.py "
        "redrive --dead-letters.",
    ),
    _Alert(
        name="events-dropped",
        severity=0,
        window="PT5M",
        conditions=(("DroppedEventCount", _TOO_MANY, 0),),
        description="Events were neither delivered nor stored as dead letters, so they are lost. Check the role on the "
        "dead-letter container.",
    ),
    _Alert(
        name="deliveries-fail",
        severity=2,
        window="PT30M",
        conditions=(("DeliveryAttemptFailCount", _TOO_MANY, 20),),
        description="Many deliveries fail: the app does not start, or it defers most deliveries.",
    ),
    # Event Grid tries a single event only about six times in its first half hour.
    _Alert(
        name="nothing-delivered",
        severity=1,
        window="PT1H",
        conditions=(("DeliveryAttemptFailCount", _AT_LEAST, 3), ("DeliverySuccessCount", _AT_MOST, 0)),
        description="Deliveries fail, and none has succeeded for an hour: the app does not start, or rejects them.",
    ),
)


def topic_of(workspace: Resource, topics: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the system topic of a workspace. Resource IDs are equal whatever their case."""
    wanted = workspace.id.lower()
    return next((topic for topic in topics if str(topic["properties"].get("source", "")).lower() == wanted), None)


def topic_ids(plan: Plan, workspace: Resource) -> tuple[str, str]:
    """Return the IDs that a system topic of ours can have. It is where Event Grid would create one automatically.

    The second one is for a resource group with several workspaces.
    """
    topics = f"{workspace.group_id}/providers/Microsoft.EventGrid/systemTopics"
    second = prefix_of(plan.name, plan.subscription, _SHORT)
    return f"{topics}/{plan.prefix}", f"{topics}/{second}-{_hash(workspace)}"


def topic(plan: Plan, workspace: Resource, location: str) -> dict[str, Any]:
    """Return a system topic. Its identity writes dead letters, because the storage account does not accept keys."""
    return {
        "location": location,
        "tags": {_TAG: plan.name},
        "identity": {"type": "SystemAssigned"},
        "properties": {"source": workspace.id, "topicType": "Microsoft.MachineLearningServices.Workspaces"},
    }


def is_ours(plan: Plan, workspace: Resource, found: Mapping[str, Any]) -> bool:
    """Return whether a system topic is the one that this environment creates: by its ID and its tag."""
    is_named = str(found["id"]).lower() in {topic_id.lower() for topic_id in topic_ids(plan, workspace)}
    return is_named and (found.get("tags") or {}).get(_TAG) == plan.name


def has_failed(plan: Plan, workspace: Resource, found: Mapping[str, Any]) -> bool:
    """Return whether the creation of our system topic has failed. Event Grid keeps such a topic."""
    return is_ours(plan, workspace, found) and found["properties"].get("provisioningState") == "Failed"


def is_of_an_environment(found: Mapping[str, Any]) -> bool:
    """Return whether any environment of nextstage has created a system topic: by its name and its tag."""
    name, tags = str(found["name"]), found.get("tags") or {}
    environment = str(tags.get(_TAG, ""))
    first, second = (re.escape(prefix_of(environment, "", length)) for length in (LENGTH, _SHORT))
    pattern = rf"{first}[0-9A-Za-z]{{1,8}}|{second}[0-9A-Za-z]{{1,8}}-[0-9a-f]{{8}}"
    return _TAG in tags and re.fullmatch(pattern, name) is not None


def subscriptions(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return our event subscriptions by name. Together they have all event types of the workspace.

    An advanced filter on the run's status drops every event without a status, so the filtered type has a separate
    subscription.
    """
    others = sorted(type_ for type_ in DISPATCH if type_.startswith(_PUBLISHER) and type_ != _STATUS_TYPE)
    # A workspace sends an event for every status of a run, but the app ignores all except final ones. Event Grid
    # compares strings case-insensitively.
    by_status = {"operatorType": "StringIn", "key": "data.runStatus", "values": list(plan.run_statuses)}
    filters = [by_status] if plan.run_statuses else []
    common = {
        "destination": {
            "endpointType": "AzureFunction",
            "properties": {
                "resourceId": f"{plan.function_app.id}/functions/{FUNCTION}",
                # One event per delivery. In a batch, a single deferred event would repeat the whole batch.
                "maxEventsPerBatch": 1,
                "preferredBatchSizeInKilobytes": 64,
            },
        },
        "eventDeliverySchema": "EventGridSchema",
        # The maximum that Event Grid allows. During an outage of a whole weekend, events still become dead letters.
        "retryPolicy": {"eventTimeToLiveInMinutes": 1440, "maxDeliveryAttempts": 30},
        "deadLetterWithResourceIdentity": {
            "identity": {"type": "SystemAssigned"},
            "deadLetterDestination": {
                "endpointType": "StorageBlob",
                "properties": {"resourceId": plan.storage_account.id, "blobContainerName": plan.container},
            },
        },
    }
    name, status_name = subscription_names(plan)
    return {
        name: {"properties": {**common, "filter": {"includedEventTypes": others}}},
        status_name: {
            "properties": {**common, "filter": {"includedEventTypes": [_STATUS_TYPE], "advancedFilters": filters}}
        },
    }


def subscription_names(plan: Plan) -> tuple[str, str]:
    """Return the names of our event subscriptions; the second has the statuses of runs."""
    return plan.prefix, f"{plan.prefix}-run-status"


def role_id(scope: str, principal: str, role: str) -> str:
    """Return the ID of a role assignment. It is always the same, so that it can be made again."""
    name = uuid5(_GUIDS, f"{scope}-{principal}-{role}")
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"


def role(plan: Plan, scope: Resource, principal: str, role: str) -> dict[str, Any]:
    """Return a role assignment. By its description, ``disconnect`` finds it when the principal is gone."""
    definitions = f"/subscriptions/{scope.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    return {
        "properties": {
            "principalId": principal,
            "principalType": "ServicePrincipal",
            "roleDefinitionId": f"{definitions}/{role}",
            "description": plan.prefix,
        }
    }


def container_id(plan: Plan) -> str:
    """Return the ID of the container of dead letters."""
    return f"{plan.storage_account.id}/blobServices/default/containers/{plan.container}"


def alerts(plan: Plan, workspace: Resource, topic_id: str) -> dict[str, dict[str, Any]]:
    """Return the alerts on a workspace's events by their IDs.

    They use Event Grid's metrics, which exist even if the app does not start and logs nothing. docs/operating.md says
    what to do about each.
    """
    bodies = (
        {
            "location": "global",
            "tags": {_TAG: plan.name},
            "properties": {
                "description": f"Workspace {workspace.name}: {alert.description}",
                "severity": alert.severity,
                "enabled": True,
                "scopes": [topic_id],
                "evaluationFrequency": "PT5M",
                "windowSize": alert.window,
                "criteria": {
                    "odata.type": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                    "allOf": [_criterion(*condition) for condition in alert.conditions],
                },
                "autoMitigate": True,
                "actions": [{"actionGroupId": plan.action_group}] if plan.action_group else [],
            },
        }
        for alert in _ALERTS
    )
    return dict(zip(alert_ids(plan, workspace), bodies, strict=True))


def alert_ids(plan: Plan, workspace: Resource) -> list[str]:
    """Return the IDs of the alerts on a workspace's events."""
    return [_alert_id(plan, f"{alert.name}-{_hash(workspace)}") for alert in _ALERTS]


def earlier_alert_ids(plan: Plan) -> list[str]:
    """Return the IDs of the alerts that versions made which knew only one workspace."""
    return [_alert_id(plan, name) for name in ("dead-letters", "events-dropped", "deliveries-fail")]


def log_id(plan: Plan, topic_id: str) -> str:
    """Return the ID of the diagnostic setting with which a system topic logs the deliveries that fail."""
    return f"{topic_id}/providers/Microsoft.Insights/diagnosticSettings/{plan.prefix}"


def log(plan: Plan) -> dict[str, Any]:
    """Return this setting. The log has the error of each delivery, of which the metrics only tell the number.

    Source: Azure Monitor docs, "Supported logs for Microsoft.EventGrid/systemTopics".
    """
    logs = [{"category": "DeliveryFailures", "enabled": True}]
    return {"properties": {"workspaceId": plan.log_workspace, "logs": logs}}


def _alert_id(plan: Plan, name: str) -> str:
    return f"{plan.function_app.group_id}/providers/Microsoft.Insights/metricAlerts/nextstage-{name}"


def _criterion(metric: str, operator: str, threshold: int) -> dict[str, Any]:
    return {
        "criterionType": "StaticThresholdCriterion",
        "name": metric,
        "metricNamespace": "Microsoft.EventGrid/systemTopics",
        "metricName": metric,
        "operator": operator,
        "threshold": threshold,
        "timeAggregation": "Total",
    }


def _hash(workspace: Resource) -> str:
    return hashlib.sha256(workspace.id.lower().encode()).hexdigest()[:8]
