"""The resources that bring the events of a resource to the app: their names, and their content. No I/O.

- the resource's system topic, of which it can have only one, in its resource group. A custom topic is used as it is
- event subscriptions on the topic, two for a workspace and one for each source
- the role with which the topic writes dead letters
- with waits: the app's role on the workspace
- alerts on events that were not delivered, in the app's resource group
- a log of the deliveries that fail, if a topic of ours is to have one
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from handlers import DISPATCH
from shared.events.event import AML_PREFIX, CLOUD_EVENTS_SCHEMA, EVENT_GRID_SCHEMA
from tools.azure.answers import Answer
from tools.azure.plan import LENGTH, Plan, prefix_of
from tools.azure.sources import SYSTEM_TOPIC, Resource, Source, resource_of

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

WORKSPACE_TYPES: Final = sorted(type_ for type_ in DISPATCH if type_.startswith(AML_PREFIX))
"""The event types of a workspace that the app knows."""

_TAG: Final = "azd-env-name"
_SHORT: Final = 21
"""The same if the name of the topic also has a hash of 8 characters."""
_STATUS_TYPE: Final = AML_PREFIX + "RunStatusChanged"
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
        description="Events were not delivered within a day, or the app is stopped. They are in the dead-letter "
        "container. Run ./manage.py redrive --dead-letters.",
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


def topic_ids(plan: Plan, resource: Resource) -> tuple[str, str]:
    """Return the IDs that a system topic of ours can have. It is where Event Grid would create one automatically.

    The second one is for a resource group with several resources that have events.
    """
    topics = f"{resource.group_id}/providers/{SYSTEM_TOPIC}"
    second = prefix_of(plan.name, plan.subscription, _SHORT)
    return f"{topics}/{plan.prefix}", f"{topics}/{second}-{_hash(resource)}"


def topic(plan: Plan, resource: Resource, kind: str, location: str) -> dict[str, Any]:
    """Return a system topic. Its identity writes dead letters, because the storage account does not accept keys."""
    return {
        "location": location,
        "tags": {_TAG: plan.name},
        "identity": {"type": "SystemAssigned"},
        "properties": {"source": resource.id, "topicType": kind},
    }


def is_ours(plan: Plan, resource: Resource, found: Answer) -> bool:
    """Return whether a topic is the system topic that this environment creates: by its ID and its tag."""
    if resource.is_topic:
        return False
    is_named = found.text("id").lower() in {topic_id.lower() for topic_id in topic_ids(plan, resource)}
    return is_named and found.object("tags").get(_TAG) == plan.name


def has_failed(plan: Plan, resource: Resource, found: Answer) -> bool:
    """Return whether the creation of our system topic has failed. Event Grid keeps such a topic."""
    return is_ours(plan, resource, found) and found.object("properties").text("provisioningState", "") == "Failed"


def is_of_an_environment(found: Answer) -> bool:
    """Return whether any environment of nextstage has created a topic, a system topic then: by its name and its tag."""
    name, tags = found.text("name"), found.object("tags")
    environment = tags.text(_TAG, "")
    first, second = (re.escape(prefix_of(environment, "", length)) for length in (LENGTH, _SHORT))
    pattern = rf"{first}[0-9A-Za-z]{{1,8}}|{second}[0-9A-Za-z]{{1,8}}-[0-9a-f]{{8}}"
    return kind_of(found) == "system topic" and _TAG in tags and re.fullmatch(pattern, name) is not None


def kind_of(found: Answer) -> str:
    """Return what a topic is, in words: ``system topic``, ``topic`` or ``domain topic``."""
    resource = resource_of(found.text("id"))
    return resource.kind if resource is not None else ""


def subscriptions(plan: Plan, resource: Resource, found: Answer) -> dict[str, dict[str, Any]]:
    """Return our event subscriptions on the topic of a resource by name.

    :param found: the topic.
    """
    has_cloud_events = found.object("properties").text("inputSchema", "") == CLOUD_EVENTS_SCHEMA
    filters = _workspace_filters(plan) if resource in plan.workspaces else {}
    filters |= {source_name(plan, source): source.filter for source in plan.sources_of(resource)}
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
        # The app reads both schemas. Event Grid does not convert CloudEvents into its own one.
        "eventDeliverySchema": CLOUD_EVENTS_SCHEMA if has_cloud_events else EVENT_GRID_SCHEMA,
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
    return {name: {"properties": {**common, "filter": wanted}} for name, wanted in filters.items()}


def _workspace_filters(plan: Plan) -> dict[str, Mapping[str, Any]]:
    """Return the filters of the two event subscriptions of a workspace. Together they have all of its event types.

    An advanced filter on the run's status drops every event without a status, so the filtered type has a separate
    subscription.
    """
    others = [type_ for type_ in WORKSPACE_TYPES if type_ != _STATUS_TYPE]
    # A workspace sends an event for every status of a run, but the app ignores all except final ones. Event Grid
    # compares strings case-insensitively.
    by_status = {"operatorType": "StringIn", "key": "data.runStatus", "values": list(plan.run_statuses)}
    filters = [by_status] if plan.run_statuses else []
    name, status_name = subscription_names(plan)
    return {
        name: {"includedEventTypes": others},
        status_name: {"includedEventTypes": [_STATUS_TYPE], "advancedFilters": filters},
    }


def subscription_names(plan: Plan) -> tuple[str, str]:
    """Return the names of our event subscriptions for a workspace; the second has the statuses of runs."""
    return plan.prefix, f"{plan.prefix}-run-status"


def source_name(plan: Plan, source: Source) -> str:
    """Return the name of our event subscription for a source. Another filter makes another subscription."""
    return f"{plan.prefix}-source-{source.key}"


def is_our_subscription(plan: Plan, name: str) -> bool:
    """Return whether an event subscription with this name is one of ours."""
    return name.lower() in {each.lower() for each in subscription_names(plan)} or is_for_a_source(plan, name)


def is_for_a_source(plan: Plan, name: str) -> bool:
    """Return whether an event subscription with this name is one of ours for a source, perhaps of an earlier plan."""
    return re.fullmatch(re.escape(plan.prefix) + "-source-[0-9a-f]{6}", name, re.IGNORECASE) is not None


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


def watched(topic_id: str) -> Resource:
    """Return the resource that has the metrics of a topic: the topic, or the domain that it is in.

    :param topic_id: the ID that Azure Resource Manager answered.
    """
    owner = re.sub(r"(?<=/domains/)([^/]+)/topics/[^/]+$", r"\1", topic_id, flags=re.IGNORECASE)
    return resource_of(owner) or Resource(owner)


def alerts(plan: Plan, resource: Resource, topic_id: str) -> dict[str, dict[str, Any]]:
    """Return the alerts on a resource's events by their IDs.

    They use Event Grid's metrics, which exist even if the app does not start and logs nothing. docs/operating.md says
    what to do about each.
    """
    scope = watched(topic_id)
    bodies = (
        {
            "location": "global",
            "tags": {_TAG: plan.name},
            "properties": {
                "description": f"{resource.words[0].upper()}{resource.words[1:]}: {alert.description}",
                "severity": alert.severity,
                "enabled": True,
                "scopes": [scope.id],
                "evaluationFrequency": "PT5M",
                "windowSize": alert.window,
                "criteria": {
                    "odata.type": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                    "allOf": [_criterion(scope.type, *condition) for condition in alert.conditions],
                },
                "autoMitigate": True,
                "actions": [{"actionGroupId": plan.action_group}] if plan.action_group else [],
            },
        }
        for alert in _ALERTS
    )
    return dict(zip(alert_ids(plan, resource), bodies, strict=True))


def alert_ids(plan: Plan, resource: Resource) -> list[str]:
    """Return the IDs of the alerts on a resource's events."""
    return [_alert_id(plan, f"{alert.name}-{_hash(resource)}") for alert in _ALERTS]


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


def _criterion(namespace: str, metric: str, operator: str, threshold: int) -> dict[str, Any]:
    return {
        "criterionType": "StaticThresholdCriterion",
        "name": metric,
        "metricNamespace": namespace,
        "metricName": metric,
        "operator": operator,
        "threshold": threshold,
        "timeAggregation": "Total",
    }


def _hash(resource: Resource) -> str:
    return hashlib.sha256(resource.id.lower().encode()).hexdigest()[:8]
