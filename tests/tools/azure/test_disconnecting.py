"""manage.py disconnect, several workspaces, and several environments at one workspace."""

import re
from typing import Any

import pytest

from devstack.arm import Fault, sample
from tests.support.azd import OURS, PREFIX, Azd
from tests.tools.azure.conftest import (
    B_PREFIX,
    ELSEWHERE,
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
from tools.azure.event_resources import CONTRIBUTOR, READER


class TestSeveralWorkspaces:
    def test_each_has_a_topic(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        """Two in one resource group, and one in another subscription and region."""
        workspaces = {"AML_WORKSPACE_IDS": f"{OTHER},{ELSEWHERE}", "NEXTSTAGE_WAITS": "true"}
        said = lines(connect(**workspaces))
        assert [line.split()[4] for line in said] == ["ws", "other", "ws"]
        made = {one["properties"]["source"]: one for one in azd.found("systemTopics")}
        assert list(made) == [sample.WORKSPACE, OTHER, ELSEWHERE]
        assert made[sample.WORKSPACE]["name"] == made[ELSEWHERE]["name"] == PREFIX
        assert re.fullmatch(PREFIX + "-[0-9a-f]{8}", made[OTHER]["name"])
        assert made[ELSEWHERE]["location"] == "northeurope"
        assert azd.names("eventSubscriptions") == OURS * 3
        assert len(azd.names("metricAlerts")) == 12
        assert len(azd.names("roleAssignments")) == 6
        before = state(azd)
        assert lines(connect(**workspaces)) == said
        assert state(azd) == before

        # One of them is left, then all.
        lines(disconnect("--workspace", OTHER))
        assert {one["properties"]["source"] for one in azd.found("systemTopics")} == {sample.WORKSPACE, ELSEWHERE}
        assert len(azd.names("metricAlerts")) == 8
        lines(disconnect(**workspaces))
        kinds = ("systemTopics", "eventSubscriptions", "metricAlerts", "roleAssignments")
        assert {kind: azd.names(kind) for kind in kinds} == {kind: [] for kind in kinds}

    def test_the_second_one_first(self, azd: Azd, connect: Run) -> None:
        lines(connect("--workspace", OTHER))
        lines(connect(AML_WORKSPACE_IDS=OTHER))
        sources = {one["name"]: one["properties"]["source"] for one in azd.found("systemTopics")}
        assert sources.pop(PREFIX) == OTHER
        assert list(sources.values()) == [sample.WORKSPACE]


class TestDisconnect:
    def test_it_removes_what_connect_has_made(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        before = state(azd)
        lines(connect(NEXTSTAGE_WAITS="true"))
        said = lines(disconnect())
        assert state(azd) == before
        assert len(said) == 9
        assert said[-1] == "deleted the app's role on the workspace ws"
        assert lines(disconnect()) == ["the workspace ws has no system topic; nothing is left to remove there"]

    def test_roles_of_others_stay(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        """Only the app's role Reader on the workspace itself goes, even if nextstage did not describe it."""
        lines(connect())
        definitions = f"/subscriptions/{sample.SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
        group = sample.WORKSPACE.partition("/providers/")[0]
        given = [
            (group, sample.IDENTITY, READER),
            (sample.WORKSPACE, sample.IDENTITY, CONTRIBUTOR),
            (sample.WORKSPACE, THEIR_IDENTITY["principalId"], READER),
            (sample.WORKSPACE, sample.IDENTITY, READER),
        ]
        for turn, (scope, principal, role) in enumerate(given):
            name = f"5a5a5a5a-1111-2222-3333-44444444444{turn}"
            properties = {"principalId": principal, "roleDefinitionId": f"{definitions}/{role}", "scope": scope}
            path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
            azd.arm.add({"id": path, "properties": properties})
        lines(disconnect())
        left = [one["properties"] for one in azd.found("roleAssignments")]
        left_roles = [(one["scope"], one["principalId"], one["roleDefinitionId"].rpartition("/")[2]) for one in left]
        assert left_roles == given[:3]

    def test_alerts_of_earlier_versions_go_too(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        lines(connect())
        (new, *_) = azd.found("metricAlerts")
        path = f"{sample.GROUP}/providers/Microsoft.Insights/metricAlerts/nextstage-deliveries-fail"
        azd.arm.add({**new, "id": path, "name": "nextstage-deliveries-fail"})
        assert "deleted the alert nextstage-deliveries-fail" in lines(disconnect())
        assert azd.names("metricAlerts") == []

    def test_others_use_the_topic(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        lines(connect())
        theirs = dict(
            azd.found("eventSubscriptions")[0], id=f"{TOPICS}/{PREFIX}/eventSubscriptions/theirs", name="theirs"
        )
        azd.arm.add(theirs)
        assert lines(disconnect())[-1] == f"the system topic {PREFIX} stays: it serves 1 other event subscription"
        assert azd.names("eventSubscriptions") == ["theirs"]

    @pytest.mark.parametrize(
        ("name", "tags"),
        [("theirs", None), ("theirs", {"azd-env-name": "x"}), ("nextstage--0f0f0f0f", None)],
    )
    def test_a_topic_of_somebody_else_stays(
        self, azd: Azd, connect: Run, disconnect: Run, name: str, tags: Any
    ) -> None:
        azd.arm.add(topic(f"{SECOND}/{name}", tags=tags))
        lines(connect())
        assert lines(disconnect())[-1] == f"the system topic {name} stays: nextstage has not made it"
        assert azd.names("systemTopics") == [name]

    def test_two_environments_at_one_workspace(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        """B uses the topic that A has made. It stays when A goes, and goes when B goes."""
        azd.arm.add(*sample.environment("b", B["NEXTSTAGE_IDENTITY_PRINCIPAL_ID"]))
        lines(connect(NEXTSTAGE_WAITS="true"))
        assert lines(connect(**B, NEXTSTAGE_WAITS="true"))[-1].endswith(f"by the system topic {PREFIX}")
        assert azd.names("eventSubscriptions") == [*OURS, B_PREFIX, f"{B_PREFIX}-run-status"]
        gone = {"NEXTSTAGE_FUNCTION_APP_ID": None, "NEXTSTAGE_STORAGE_ACCOUNT_ID": None}

        azd.arm.store.delete(sample.GROUP)
        assert f"the system topic {PREFIX} stays: it serves 2 other event subscriptions" in lines(
            disconnect(**gone, NEXTSTAGE_IDENTITY_PRINCIPAL_ID=None)
        )
        readers = [one for one in azd.found("roleAssignments") if one["properties"]["scope"] == sample.WORKSPACE]
        assert [one["properties"]["principalId"] for one in readers] == [B["NEXTSTAGE_IDENTITY_PRINCIPAL_ID"]]
        assert azd.names("eventSubscriptions") == [B_PREFIX, f"{B_PREFIX}-run-status"]

        assert f"deleted the system topic {PREFIX}" in lines(disconnect(**B))
        assert azd.names("systemTopics") == azd.names("roleAssignments") == azd.names("metricAlerts") == []

    def test_a_workspace_that_is_gone(self, azd: Azd, disconnect: Run) -> None:
        azd.arm.store.delete(sample.WORKSPACE)
        assert lines(disconnect()) == ["the workspace ws has no system topic; nothing is left to remove there"]

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (
                refusal("/eventSubscriptions$", "AuthorizationFailed", status=403, method="GET"),
                f"the event subscriptions of {PREFIX} cannot be listed: ",
            ),
            (
                refusal(f"/eventSubscriptions/{PREFIX}", "ScopeLocked", "A lock.", 409, method="DELETE"),
                f"the event subscription {PREFIX} cannot be deleted: ScopeLocked: A lock; delete it by hand: {TOPICS}",
            ),
        ],
    )
    def test_a_refusal_ends_it_and_the_next_run_goes_on(
        self, azd: Azd, connect: Run, disconnect: Run, fault: Fault, said: str
    ) -> None:
        before = state(azd)
        lines(connect())
        azd.arm.plan(fault)
        result = disconnect()
        assert (result.code, said in result.err) == (1, True), result
        lines(disconnect())
        assert state(azd) == before

    def test_roles_that_may_not_be_listed(self, azd: Azd, disconnect: Run) -> None:
        azd.arm.plan(refusal("/roleAssignments", "AuthorizationFailed", status=403, method="GET"))
        assert lines(disconnect())[-1].startswith("the roles on the workspace ws cannot be listed, so the app's may be")

    @pytest.mark.parametrize("name", ["AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME"])
    def test_without_azd(self, azd: Azd, disconnect: Run, name: str) -> None:
        disconnect(**{name: None, "NEXTSTAGE_FUNCTION_APP_ID": None}).fails(
            2, f"{name} is not set; run 'azd provision'"
        )
        assert azd.arm.requests == ()
