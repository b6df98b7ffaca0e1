"""Function apps, the language versions of a region, metric alerts, and logs of topics."""

from typing import Any
from urllib.parse import urlencode

import pytest

from devstack.arm import sample
from tests.support.services.arm import SYSTEM_TOPIC, Arm, topic

ALERT = f"{sample.GROUP}/providers/Microsoft.Insights/metricAlerts/nextstage-dead-letters"
STACKS = f"/subscriptions/{sample.SUBSCRIPTION}/providers/Microsoft.Web/locations/westeurope/functionAppStacks"


def names(arm: Arm) -> list[str]:
    return [one["name"].partition("/")[2] for one in arm.good("GET", f"{sample.APP}/functions")["value"]]


def test_functions_are_listed_after_a_sync(arm: Arm) -> None:
    arm.switch(syncs=2)
    for _ in range(2):
        assert names(arm) == ["WarmUp"]
        arm.refused(404, "ResourceNotFound", "GET", f"{sample.APP}/functions/aml_event")
        assert arm.good("POST", f"{sample.APP}/host/default/sync", status=204) is None
    assert names(arm) == [*sample.FUNCTIONS]
    assert arm.good("GET", f"{sample.APP}/functions/aml_event")["id"] == f"{sample.APP}/functions/aml_event"


def test_the_keys_of_an_app(arm: Arm) -> None:
    keys = arm.good("POST", f"{sample.APP}/host/default/listKeys")
    assert keys["systemKeys"]["eventgrid_extension"] == arm.emulator.store.keys["system"]
    assert {*keys} == {"masterKey", "functionKeys", "systemKeys"}
    assert [*arm.emulator.store.keys.values()] == [
        keys["masterKey"],
        keys["functionKeys"]["default"],
        keys["systemKeys"]["eventgrid_extension"],
    ]
    arm.refused(404, "ResourceNotFound", "POST", f"{sample.APP}-2/host/default/listKeys")


def test_the_python_versions_of_a_region(arm: Arm) -> None:
    arm.switch(python_versions=("3.11", "3.12"))
    [stack] = arm.good("GET", STACKS)["value"]
    skus = [
        sku
        for major in stack["properties"]["majorVersions"]
        for minor in major["minorVersions"]
        for sku in minor["stackSettings"]["linuxRuntimeSettings"]["Sku"]
    ]
    versions = [sku["functionAppConfigProperties"]["runtime"]["version"] for sku in skus if sku["skuCode"] == "FC1"]
    assert versions == ["3.11", "3.12"]


def alert(**changes: Any) -> dict[str, Any]:
    properties = {
        "severity": 1,
        "enabled": True,
        "scopes": [SYSTEM_TOPIC],
        "evaluationFrequency": "PT5M",
        "windowSize": "PT1H",
        "criteria": criteria(criterion(), criterion(name="none", metricName="DeliverySuccessCount")),
        "actions": [{"actionGroupId": sample.ACTION_GROUP}],
        **changes,
    }
    return {"location": "global", "properties": properties}


def criteria(*all_of: dict[str, Any]) -> dict[str, Any]:
    return {"odata.type": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria", "allOf": [*all_of]}


def criterion(**changes: Any) -> dict[str, Any]:
    return {
        "criterionType": "StaticThresholdCriterion",
        "name": "too-many",
        "metricNamespace": "Microsoft.EventGrid/systemTopics",
        "metricName": "DeliveryAttemptFailCount",
        "operator": "GreaterThanOrEqual",
        "threshold": 3,
        "timeAggregation": "Total",
        **changes,
    }


def test_an_alert_is_made_and_deleted(arm: Arm) -> None:
    arm.written(SYSTEM_TOPIC, topic())
    made = arm.good("PUT", ALERT, alert())
    assert made["properties"] == alert()["properties"]
    assert arm.good("PUT", ALERT, alert()) == made
    arm.good("DELETE", ALERT)
    arm.good("DELETE", ALERT, status=204)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**alert(), "location": "westeurope"}, "InvalidRequestContent"),
        ({"location": "global", "properties": {"severity": 1}}, "InvalidRequestContent"),
        (alert(windowSize="PT2H"), "BadRequest"),
        (alert(windowSize="PT1M"), "BadRequest"),
        (alert(scopes=[SYSTEM_TOPIC + "-2"]), "BadRequest"),
        (alert(actions=[{"actionGroupId": "/none"}]), "BadRequest"),
        (alert(criteria={"odata.type": "other"}), "BadRequest"),
        (alert(criteria=criteria()), "BadRequest"),
        (alert(criteria=criteria(criterion(), criterion())), "BadRequest"),
        (alert(criteria=criteria(criterion(threshold="3"))), "BadRequest"),
        (alert(criteria=criteria(criterion(operator="More"))), "BadRequest"),
        (alert(criteria=criteria(criterion(metricName="Failures"))), "BadRequest"),
        (alert(criteria=criteria(criterion(metricNamespace="Microsoft.EventGrid/topics"))), "BadRequest"),
    ],
)
def test_alerts_that_are_refused(arm: Arm, body: dict[str, Any], code: str) -> None:
    arm.written(SYSTEM_TOPIC, topic())
    assert arm.refused(400, code, "PUT", ALERT, body)


def test_logs_of_a_topic(arm: Arm) -> None:
    def setting(workspace: str = "/a/workspace", category: str = "DeliveryFailures") -> dict[str, Any]:
        return {"properties": {"workspaceId": workspace, "logs": [{"category": category, "enabled": True}]}}

    settings = f"{SYSTEM_TOPIC}/providers/Microsoft.Insights/diagnosticSettings"
    arm.emulator.add({"id": SYSTEM_TOPIC, **topic()})
    arm.good("PUT", f"{settings}/one", setting())
    arm.good("PUT", f"{settings}/one", setting())
    assert [one["name"] for one in arm.good("GET", settings)["value"]] == ["one"]
    arm.refused(409, "Conflict", "PUT", f"{settings}/two", setting("/A/workspace"))
    arm.refused(400, "BadRequest", "PUT", f"{settings}/two", setting(category="PublishFailures"))
    arm.refused(400, "BadRequest", "PUT", f"{settings}/two", setting(""))
    app_settings = f"{sample.APP}/providers/Microsoft.Insights/diagnosticSettings/one"
    arm.refused(400, "BadRequest", "PUT", app_settings, setting())


def test_the_metric_of_a_topic(arm: Arm) -> None:
    arm.written(SYSTEM_TOPIC, topic())
    arm.emulator.store.matched = {"nextstage-dev": 7}
    query = {
        "api-version": "2023-10-01",
        "metricnames": "MatchedEventCount",
        "aggregation": "Total",
        "interval": "FULL",
        "timespan": "2026-01-01T00:00:00Z/2026-01-08T00:00:00Z",
        "$filter": "EventSubscriptionName eq '*'",
    }

    def path(topic_id: str = SYSTEM_TOPIC, **changes: str) -> str:
        return f"{topic_id}/providers/Microsoft.Insights/metrics?{urlencode(query | changes)}"

    (metric,) = arm.good("GET", path())["value"]
    (series,) = metric["timeseries"]
    assert (series["metadatavalues"][0]["value"], series["data"][0]["total"]) == ("NEXTSTAGE-DEV", 7)
    arm.refused(400, "BadRequest", "GET", path(timespan="P7D"))
    arm.refused(400, "BadRequest", "GET", path(interval="PT1H"))
    arm.refused(404, "ResourceNotFound", "GET", path(SYSTEM_TOPIC + "-2"))


def test_the_provider_of_a_resource_type(arm: Arm) -> None:
    found = arm.good("GET", "/providers/Microsoft.KeyVault?api-version=2021-04-01")
    assert "registrationState" not in found
    (vaults,) = found["resourceTypes"]
    assert (vaults["resourceType"], vaults["apiVersions"][1]) == ("vaults", "2026-02-01")
