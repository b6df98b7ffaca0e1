"""manage.py connect."""

from typing import Any

import pytest

from devstack.arm import Fault, Match, sample
from handlers import DISPATCH
from shared.events.event import AML_PREFIX
from tests.support.azd import OURS, PREFIX, TESTING, Azd
from tests.support.services.odd_host import answering
from tests.tools.azure.conftest import (
    LONG_NAME,
    LONG_PREFIX,
    OTHER,
    SECOND,
    THEIR_IDENTITY,
    TOPICS,
    B,
    Run,
    lines,
    refusal,
    state,
    topic,
)
from tools.azure import event_resources
from tools.azure.connecting import Pauses, connect_all
from tools.azure.plan import Plan
from tools.azure.sign_in import resource_manager

LOGGED = {
    "NEXTSTAGE_DELIVERY_LOG_WORKSPACE_ID": f"{sample.GROUP}/providers/Microsoft.OperationalInsights/workspaces/log"
}


class TestConnect:
    def test_what_is_made(self, azd: Azd, connect: Run) -> None:
        assert lines(connect()) == [
            f"events of the workspace ws come to func-nextstage-dev by the system topic {PREFIX}"
        ]
        (made,) = azd.found("systemTopics")
        assert made["id"] == f"{TOPICS}/{PREFIX}"
        assert (made["location"], made["tags"]) == ("westeurope", {"azd-env-name": "dev"})
        assert made["properties"]["source"] == sample.WORKSPACE
        (role,) = azd.found("roleAssignments")
        assert role["properties"]["principalId"] == made["identity"]["principalId"]
        assert role["properties"]["scope"] == f"{sample.STORAGE}/blobServices/default/containers/dead-letters"
        assert role["properties"]["roleDefinitionId"].endswith(event_resources.CONTRIBUTOR)
        models, statuses = azd.found("eventSubscriptions")
        assert [models["name"], statuses["name"]] == OURS
        for one in (models, statuses):
            properties = one["properties"]
            assert properties["destination"] == {
                "endpointType": "AzureFunction",
                "properties": {
                    "resourceId": f"{sample.APP}/functions/aml_event",
                    "maxEventsPerBatch": 1,
                    "preferredBatchSizeInKilobytes": 64,
                },
            }
            assert properties["eventDeliverySchema"] == "EventGridSchema"
            assert properties["retryPolicy"] == {"eventTimeToLiveInMinutes": 1440, "maxDeliveryAttempts": 30}
            assert properties["deadLetterWithResourceIdentity"] == {
                "identity": {"type": "SystemAssigned"},
                "deadLetterDestination": {
                    "endpointType": "StorageBlob",
                    "properties": {"resourceId": sample.STORAGE, "blobContainerName": "dead-letters"},
                },
            }
        assert statuses["properties"]["filter"] == {
            "includedEventTypes": ["Microsoft.MachineLearningServices.RunStatusChanged"],
            "advancedFilters": [],
        }
        # A filter on data.runStatus would drop every event without a status.
        assert [*models["properties"]["filter"]] == ["includedEventTypes"]
        types = [kind for one in (models, statuses) for kind in one["properties"]["filter"]["includedEventTypes"]]
        assert sorted(types) == sorted(each for each in DISPATCH if each.startswith(AML_PREFIX))

    def test_the_alerts(self, azd: Azd, connect: Run) -> None:
        lines(connect(NEXTSTAGE_ACTION_GROUP_ID=sample.ACTION_GROUP))
        alerts = {one["name"].rpartition("-")[0]: one["properties"] for one in azd.found("metricAlerts")}
        conditions = {
            name: [(each["metricName"], each["operator"], each["threshold"]) for each in one["criteria"]["allOf"]]
            for name, one in alerts.items()
        }
        assert conditions == {
            "nextstage-dead-letters": [("DeadLetteredCount", "GreaterThan", 0)],
            "nextstage-events-dropped": [("DroppedEventCount", "GreaterThan", 0)],
            "nextstage-deliveries-fail": [("DeliveryAttemptFailCount", "GreaterThan", 20)],
            "nextstage-nothing-delivered": [
                ("DeliveryAttemptFailCount", "GreaterThanOrEqual", 3),
                ("DeliverySuccessCount", "LessThanOrEqual", 0),
            ],
        }
        assert {one["windowSize"] for one in alerts.values()} == {"PT5M", "PT30M", "PT1H"}
        assert all(one["actions"] == [{"actionGroupId": sample.ACTION_GROUP}] for one in alerts.values())
        assert all(one["scopes"] == [f"{TOPICS}/{PREFIX}"] for one in alerts.values())
        assert all(one["enabled"] and one["autoMitigate"] for one in alerts.values())

    def test_the_log_of_deliveries_that_fail(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        before = state(azd)
        lines(connect(**LOGGED))
        (log,) = azd.found("diagnosticSettings")
        assert log["id"] == f"{TOPICS}/{PREFIX}/providers/Microsoft.Insights/diagnosticSettings/{PREFIX}"
        assert log["properties"] == {
            "workspaceId": LOGGED["NEXTSTAGE_DELIVERY_LOG_WORKSPACE_ID"],
            "logs": [{"category": "DeliveryFailures", "enabled": True}],
        }
        assert f"deleted the log of deliveries of {PREFIX} that fail" in lines(disconnect())
        assert state(azd) == before

    def test_two_environments_have_one_log(self, azd: Azd, connect: Run) -> None:
        lines(connect(**LOGGED))
        azd.arm.add(*sample.environment("b", B["NEXTSTAGE_IDENTITY_PRINCIPAL_ID"]))
        lines(connect(**B, **{name: value.upper() for name, value in LOGGED.items()}))
        assert azd.names("diagnosticSettings") == [PREFIX]

    def test_a_log_without_a_right_ends_nothing(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        azd.arm.plan(refusal("/diagnosticSettings/", "AuthorizationFailed", status=403))
        said = lines(connect(**LOGGED))
        assert said[-2].startswith(f"the deliveries of {PREFIX} that fail are not logged: AuthorizationFailed: No; ")
        assert said[-2].count("Monitoring Contributor") == 1
        assert len(said) == 2, "nobody waits for it"
        azd.arm.plan(refusal("/diagnosticSettings/", "AuthorizationFailed", status=403, method="DELETE"))
        assert [line for line in lines(disconnect()) if "log of" in line] == []

    def test_a_log_that_is_locked_stays(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        lines(connect(**LOGGED))
        azd.arm.plan(refusal("/diagnosticSettings/", "ScopeLocked", status=409, method="DELETE"))
        assert f"the log of deliveries of {PREFIX} that fail stays: ScopeLocked: No" in lines(disconnect())

    def test_a_topic_of_somebody_else_gets_no_log(self, azd: Azd, connect: Run) -> None:
        azd.arm.add(topic())
        lines(connect(**LOGGED))
        assert azd.found("diagnosticSettings") == []

    def test_our_topic_without_identity_gets_one(self, azd: Azd, connect: Run) -> None:
        ours = topic(f"{TOPICS}/{PREFIX}", identity=None, tags={"azd-env-name": "dev"})
        azd.arm.add(ours)
        lines(connect())
        (made,) = azd.found("systemTopics")
        (role,) = azd.found("roleAssignments")
        assert role["properties"]["principalId"] == made["identity"]["principalId"]

    def test_a_workspace_that_is_named_twice(self, azd: Azd, connect: Run) -> None:
        assert len(lines(connect(AML_WORKSPACE_IDS=f"{sample.WORKSPACE.upper()}, {sample.WORKSPACE}/"))) == 1

    def test_twice_in_a_row(self, azd: Azd, connect: Run) -> None:
        first = lines(connect(NEXTSTAGE_WAITS="true"))
        before = state(azd)
        assert lines(connect(NEXTSTAGE_WAITS="true")) == first
        assert state(azd) == before

    def test_a_topic_of_somebody_else_is_used_and_not_changed(self, azd: Azd, connect: Run) -> None:
        theirs = topic(source=sample.WORKSPACE.upper())
        azd.arm.add(theirs)
        assert lines(connect())[-1].endswith("by the system topic theirs")
        assert "PUT theirs" not in azd.written
        assert [one["id"] for one in azd.found("eventSubscriptions")] == [
            f"{SECOND}/theirs/eventSubscriptions/{name}" for name in OURS
        ]

    def test_the_same_name_in_another_subscription_is_another_environment(self, azd: Azd, connect: Run) -> None:
        lines(connect())
        lines(connect(AZURE_SUBSCRIPTION_ID="1e1e1e1e-1111-2222-3333-444444444444"))
        assert azd.names("systemTopics") == [PREFIX]
        assert azd.names("eventSubscriptions")[2:] == ["nextstage-dev-1e1e1e1e", "nextstage-dev-1e1e1e1e-run-status"]

    def test_a_long_name(self, azd: Azd, connect: Run) -> None:
        lines(connect(AZURE_ENV_NAME=LONG_NAME))
        assert azd.names("systemTopics") == [LONG_PREFIX]

    def test_a_long_name_and_two_workspaces(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        environment = {"AZURE_ENV_NAME": LONG_NAME, "AML_WORKSPACE_IDS": OTHER}
        lines(connect(**environment))
        first, second = azd.names("systemTopics")
        assert (first, len(second)) == (LONG_PREFIX, 49)
        lines(disconnect(**environment))
        assert azd.names("systemTopics") == []

    def test_run_statuses(self, azd: Azd, connect: Run) -> None:
        lines(connect(NEXTSTAGE_RUN_STATUSES="completed, Failed,Canceled"))
        values = ["Completed", "Failed", "Canceled", "Cancelled"]
        filters = [one["properties"]["filter"].get("advancedFilters") for one in azd.found("eventSubscriptions")]
        assert filters == [
            None,
            [{"operatorType": "StringIn", "key": "data.runStatus", "values": values}],
        ]

    def test_waits(self, azd: Azd, connect: Run) -> None:
        lines(connect(NEXTSTAGE_WAITS="true"))
        _, role = azd.found("roleAssignments")
        assert role["properties"]["principalId"] == sample.IDENTITY
        assert role["properties"]["scope"] == sample.WORKSPACE
        assert role["properties"]["roleDefinitionId"].endswith(event_resources.READER)

    def test_a_role_that_has_another_name(self, azd: Azd, connect: Run) -> None:
        azd.arm.add(topic())
        container = f"{sample.STORAGE}/blobServices/default/containers/{sample.CONTAINER}"
        definition = f"/subscriptions/x/providers/Microsoft.Authorization/roleDefinitions/{event_resources.CONTRIBUTOR}"
        named = f"{container}/providers/Microsoft.Authorization/roleAssignments/5a5a5a5a-1111-2222-3333-444444444444"
        principal = THEIR_IDENTITY["principalId"]
        properties = {"principalId": principal, "roleDefinitionId": definition, "scope": container}
        azd.arm.add({"id": named, "properties": properties})
        lines(connect())
        assert len(azd.found("roleAssignments")) == 1

    def test_without_azd(self, azd: Azd, connect: Run) -> None:
        environment = dict.fromkeys(name for name in azd.environment() if name.startswith(("AML", "NEXTSTAGE")))
        environment |= {"AZURE_SUBSCRIPTION_ID": None, "NEXTSTAGE_HOOK_PAUSE_SECONDS": "0"}
        options = {
            "--workspace": OTHER, "--name": "dev", "--function-app": sample.APP, "--storage-account": sample.STORAGE,
            "--container": sample.CONTAINER, "--identity": sample.IDENTITY, "--action-group": sample.ACTION_GROUP,
            "--run-statuses": "Failed", "--url": azd.app_url,
        }  # fmt: skip
        given = [word for option in options.items() for word in option]
        lines(connect(*given, "--waits", AML_WORKSPACE_IDS=sample.WORKSPACE, **environment))
        assert azd.names("systemTopics") == [PREFIX]
        assert [one["properties"]["source"] for one in azd.found("systemTopics")] == [OTHER]
        assert len(azd.found("roleAssignments")) == 2

    @pytest.mark.parametrize(
        "name",
        [
            "AZURE_ENV_NAME",
            "NEXTSTAGE_FUNCTION_APP_ID",
            "NEXTSTAGE_STORAGE_ACCOUNT_ID",
            "NEXTSTAGE_DEAD_LETTER_CONTAINER",
        ],
    )
    def test_before_anything_is_provisioned(self, azd: Azd, connect: Run, name: str) -> None:
        connect(**{name: None}).fails(2, f"{name} is not set; run 'azd provision' first")
        assert azd.arm.requests == ()

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("NEXTSTAGE_FUNCTION_APP_ID", "func-1", "is not a resource id: func-1; it begins with /subscriptions/"),
            ("NEXTSTAGE_WAITS", "maybe", "is 'maybe'; it must be true or false"),
            (
                "NEXTSTAGE_RUN_STATUSES",
                "Failed,Complete",
                "contains 'Complete'; it must be a list of Completed, Failed",
            ),
            ("AZURE_CLOUD", "Moon", "is 'Moon'; it must be one of AzureCloud"),
        ],
    )
    def test_a_value_of_the_wrong_form(self, connect: Run, name: str, value: str, said: str) -> None:
        connect(**{name: value}).fails(2, f"{name} {said}")


class TestWaiting:
    def test_until_the_function_is_listed(self, azd: Azd, connect: Run) -> None:
        """Each look is preceded by a call that makes Azure list the functions. Its failure means nothing."""
        azd.switch(syncs=3)
        azd.arm.plan(refusal("/host/default/sync", "BadGateway", method="POST", times=1))
        waited = [line for line in lines(connect()) if line.startswith("waiting")]
        assert waited == [f"waiting for the function aml_event ({turn} of 20)" for turn in (1, 2, 3)]

    def test_a_function_that_never_comes(self, azd: Azd, connect: Run) -> None:
        azd.switch(syncs=99)
        result = connect()
        assert result.code == 1
        assert len(result.err.splitlines()) == 20
        assert "the app does not show its function aml_event. It stops at its start if a setting" in result.err
        assert "union traces, exceptions | where severityLevel >= 3" in result.err
        assert azd.written == []

    def test_an_app_that_does_not_exist(self, connect: Run) -> None:
        said = f"there is no function app {sample.APP}x; run 'azd provision' and 'azd deploy' first"
        connect(NEXTSTAGE_FUNCTION_APP_ID=sample.APP + "x").fails(2, said)

    @pytest.mark.parametrize(
        "fault",
        [
            {"role_checks": 2},
            {"validations": 2},
            refusal("/eventSubscriptions/", "AuthorizationFailed", status=403, times=2),
            refusal("/eventSubscriptions/", "Endpoint validation", times=2),
            refusal("/roleAssignments/", "PrincipalNotFound", times=2),
            Fault(accept=False, match=Match(method="PUT", path="/eventSubscriptions/"), status=403, body={}, times=2),
        ],
        ids=["role", "validation", "authorization", "endpoint", "identity", "no reason"],
    )
    def test_what_is_too_new_is_waited_for(self, azd: Azd, connect: Run, fault: Any) -> None:
        azd.switch(**fault) if isinstance(fault, dict) else azd.arm.plan(fault)
        *waited, last = lines(connect())
        assert [line.rpartition("; ")[2] for line in waited] == [
            f"trying again, as something may be too new for it ({turn} of 12)" for turn in (1, 2)
        ]
        assert last.startswith("events of the workspace ws come to")

    def test_a_role_that_never_arrives(self, azd: Azd, connect: Run) -> None:
        azd.switch(role_checks=99)
        result = connect()
        assert (result.code, len(result.err.splitlines())) == (1, 12)
        assert result.err.splitlines()[-1].endswith(
            "; correct that, then run 'azd hooks run postdeploy' or './manage.py connect'"
        )

    @pytest.mark.parametrize(
        ("part", "code", "status", "said"),
        [
            ("/systemTopics/", "RequestDisallowedByPolicy", 403, f"the system topic {PREFIX} could not be made"),
            ("/systemTopics/", "ScopeLocked", 409, f"the system topic {PREFIX} could not be made"),
            ("/eventSubscriptions/", "InvalidRequest", 400, f"the event subscription {PREFIX} could not be made"),
            (
                "/roleAssignments/",
                "RoleAssignmentLimitExceeded",
                400,
                f"the role with which {PREFIX} writes dead letters",
            ),
            ("/metricAlerts/", "BadRequest", 400, "the alert nextstage-dead-letters-"),
        ],
    )
    def test_other_refusals_end_it_at_once(
        self, azd: Azd, connect: Run, part: str, code: str, status: int, said: str
    ) -> None:
        azd.arm.plan(refusal(part, code, "Not here.", status))
        connect().fails(1, said)
        assert lines(connect())[-1].startswith("events of the workspace ws come to"), "the next run goes on"

    def test_a_missing_right_is_named(self, azd: Azd, connect: Run) -> None:
        azd.arm.plan(refusal("/systemTopics/", "AuthorizationFailed", "No action.", 403, times=12))
        first, *_, last = connect().err.splitlines()
        role = f"the role EventGrid Contributor on {sample.WORKSPACE.partition('/providers/')[0]}"
        assert f"No action; ask for {role}, unless you got it in the last minutes; trying again" in first
        assert last.endswith(f"No action; ask for {role}")

    def test_how_long(self, azd: Azd) -> None:
        azd.switch(syncs=2, role_checks=1)
        waited: list[float] = []
        values = azd.environment()
        connect_all(resource_manager(values, print), Plan.of(values), lambda line: None, Pauses(sleep=waited.append))
        assert waited == [15.0, 60.0]


class TestProof:
    """At the end, the app is tested."""

    def test_what_is_tested(self, azd: Azd, connect: Run) -> None:
        result = connect("--workspace", sample.WORKSPACE, "--workspace", OTHER)
        assert (result.code, result.err.splitlines()[-1]) == (0, TESTING)
        *rows, last = result.rows
        found = {row[1]: row[0] for row in rows if row[0] in {"ok", "warning"}}
        # The app here acknowledges everything, and there is no journal.
        expected = dict.fromkeys(("function app", "function", "key", "test event", "events"), "ok")
        assert (found, last) == ({**expected, "journal": "warning"}, ["7 checks: 6 ok, 1 warning"])
        assert [one.path.rpartition("/")[2] for one in azd.arm.changes if one.method == "POST"] == ["sync", "listKeys"]

    def test_an_app_that_does_not_work(self, azd: Azd, connect: Run) -> None:
        """The workspace is connected all the same."""
        with answering((404, {}, "")) as app:
            result = connect(NEXTSTAGE_URL=app.url)
        assert (result.code, len(azd.found("eventSubscriptions"))) == (1, 2)
        tries = [f"{app.url} answered HTTP 404; trying again ({number} of 5)" for number in range(1, 6)]
        assert result.err.splitlines()[-5:] == tries
        (failed,) = [row for row in result.rows if row[0] == "failed"]
        assert failed[1:] == ["test event", f"{app.url} answered HTTP 404: the app has not loaded the function"]

    def test_from_outside_a_private_network(self, azd: Azd, connect: Run) -> None:
        with answering((403, {}, "")) as app:
            result = connect(NEXTSTAGE_URL=app.url, NEXTSTAGE_PROFILE="private")
        assert (result.code, "does not admit this machine (HTTP 403)" in result.out) == (0, True)
