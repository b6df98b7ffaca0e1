"""Metric alerts, metrics and diagnostic settings of Azure Monitor.

Sources: Azure/azure-rest-api-specs (Microsoft.Insights: metricAlerts, metrics, diagnosticSettings); Microsoft Learn,
"Supported metrics for Microsoft.EventGrid/systemTopics" and "Supported logs for Microsoft.EventGrid/systemTopics". The
messages are the stand-in's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from devstack.arm.errors import ArmError, invalid_content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devstack.arm.ids import Address
    from devstack.arm.store import Document, Store

METRICS = (
    *("AdvancedFilterEvaluationCount", "DeadLetteredCount", "DeliveryAttemptFailCount", "DeliverySuccessCount"),
    *("DestinationProcessingDurationInMs", "DroppedEventCount", "MatchedEventCount", "PublishFailCount"),
    *("PublishSuccessCount", "PublishSuccessLatencyInMs", "ServerDeliverySuccessRate", "UnmatchedEventCount"),
)
"""The metrics of an Event Grid system topic."""

LOGS = ("DeliveryFailures",)
"""The categories of its logs."""

METRICS_PATH = re.compile(r"(?P<scope>/subscriptions/.+)/providers/Microsoft\.Insights/metrics", re.IGNORECASE)
METRICS_VERSIONS = ("2021-05-01", "2023-10-01", "2024-02-01")

_SINGLE_RESOURCE = "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria"
_FREQUENCIES = {"PT1M": 1, "PT5M": 5, "PT15M": 15, "PT30M": 30, "PT1H": 60}
_WINDOWS = {**_FREQUENCIES, "PT6H": 360, "PT12H": 720, "P1D": 1440}
_OPERATORS = ("Equals", "GreaterThan", "GreaterThanOrEqual", "LessThan", "LessThanOrEqual")
_AGGREGATIONS = ("Average", "Count", "Maximum", "Minimum", "Total")
_MOST_CRITERIA = 5


def check_metric_alert(store: Store, _address: Address, body: Mapping[str, Any]) -> Document:
    """Return the metric alert that a PUT writes.

    :raises ArmError: Azure Monitor refuses it.
    """
    properties = body.get("properties")
    if not isinstance(properties, dict) or body.get("location") != "global":
        raise invalid_content("a metric alert has properties, and the location global")
    required = ("severity", "enabled", "scopes", "evaluationFrequency", "windowSize", "criteria")
    if missing := [name for name in required if name not in properties]:
        raise invalid_content(f"properties must have {', '.join(missing)}")
    frequency, window = properties["evaluationFrequency"], properties["windowSize"]
    if frequency not in _FREQUENCIES or window not in _WINDOWS or _WINDOWS[window] < _FREQUENCIES[frequency]:
        raise _bad(f"The evaluation frequency {frequency} or the window size {window} is not supported.")
    kinds = set()
    for scope in properties["scopes"]:
        found = store.get(scope)
        if found is None:
            raise _bad(f"The scope {scope} does not exist.")
        kinds.add(found["type"].lower())
    for action in properties.get("actions") or ():
        if store.get(str(action.get("actionGroupId"))) is None:
            raise _bad(f"The action group {action.get('actionGroupId')} does not exist.")
    _check_criteria(properties["criteria"], kinds)
    return {"location": "global", "tags": body.get("tags"), "properties": properties}


def check_diagnostic_setting(store: Store, address: Address, body: Mapping[str, Any]) -> Document:
    """Return the diagnostic setting that a PUT writes. It may belong to a system topic only.

    Only one setting may send the only category of a topic to a workspace.

    :raises ArmError: Azure Monitor refuses it.
    """
    properties = body.get("properties")
    if not isinstance(properties, dict) or not properties.get("workspaceId"):
        raise _bad("A diagnostic setting needs a destination.")
    if "/microsoft.eventgrid/systemtopics/" not in address.parent.lower():
        raise _bad("The stand-in supports only diagnostic settings of system topics.")
    for one in properties.get("logs") or ():
        if one.get("category") not in LOGS:
            raise _bad(f"Category '{one.get('category')}' is not supported.")
    for other in store.of_type(address.kind, address.parent):
        is_same = str(other["properties"].get("workspaceId")).lower() == str(properties["workspaceId"]).lower()
        if is_same and other["id"].lower() != address.key:
            raise ArmError(409, "Conflict", f"The setting {other['name']} sends the same logs to this workspace.")
    return {"properties": properties}


def metrics(store: Store, scope: str, query: Mapping[str, str]) -> Document:
    """Return a metric of a topic by event subscription, over a whole span of time. Counted are events that matched.

    :raises ArmError: there is no such topic, or the query is another one.
    """
    if store.get(scope) is None:
        raise ArmError(404, "ResourceNotFound", f"The Resource '{scope}' was not found.")
    wanted = ("MatchedEventCount", "Total", "FULL", "EventSubscriptionName eq '*'")
    if tuple(query.get(name) for name in ("metricnames", "aggregation", "interval", "$filter")) != wanted:
        raise _bad("The stand-in supports only one query of metrics.")
    if not re.fullmatch(r"[\d-]+T[\d:]+Z/[\d-]+T[\d:]+Z", query.get("timespan", "")):
        raise _bad(f"Detected invalid time interval input: {query.get('timespan')}")
    series = [
        {
            "metadatavalues": [{"name": {"value": "eventsubscriptionname"}, "value": name.upper()}],
            "data": [{"timeStamp": "2026-01-01T00:00:00Z", "total": float(count)}],
        }
        for name, count in store.matched.items()
    ]
    return {"value": [{"name": {"value": "MatchedEventCount"}, "unit": "Count", "timeseries": series}]}


def _check_criteria(criteria: Mapping[str, Any], kinds: set[str]) -> None:
    if criteria.get("odata.type") != _SINGLE_RESOURCE:
        raise _bad(f"The stand-in supports only criteria of the type {_SINGLE_RESOURCE}.")
    all_of = criteria.get("allOf") or []
    if not 1 <= len(all_of) <= _MOST_CRITERIA or len({one.get("name") for one in all_of}) < len(all_of):
        raise _bad(f"An alert has 1 to {_MOST_CRITERIA} criteria with names of their own.")
    for one in all_of:
        if one.get("criterionType") != "StaticThresholdCriterion" or not isinstance(one.get("threshold"), int | float):
            raise _bad("The stand-in supports only criteria with a static threshold.")
        if one.get("operator") not in _OPERATORS or one.get("timeAggregation") not in _AGGREGATIONS:
            raise _bad(f"The operator or the aggregation of the criterion {one.get('name')} is not supported.")
        if {str(one.get("metricNamespace")).lower()} != kinds:
            raise _bad(f"The metric namespace {one.get('metricNamespace')} is not that of the scope.")
        if one.get("metricName") not in METRICS and not one.get("skipMetricValidation"):
            raise _bad(f"The metric {one.get('metricName')} does not exist.")


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message)
