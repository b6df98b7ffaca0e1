"""Sources of events besides workspaces: connect, connect --check, disconnect, and the test at the end of connect."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from devstack.arm import sample
from tests.support.azd import OURS, PREFIX, Azd
from tests.support.builders import routes
from tests.tools.azure.conftest import THEIR_IDENTITY, Run, lines, refusal, state, topic
from tests.tools.conftest import Result
from tools.actions.check_results import Status
from tools.azure.deployment import Deployment
from tools.azure.deployment_checks import check_routes, check_subscriptions
from tools.azure.plan import Plan
from tools.azure.sign_in import resource_manager

LANDING = sample.account()["id"]
DATA = LANDING.partition("/providers/")[0]
GRID = f"{DATA}/providers/Microsoft.EventGrid"
CREATED = "Microsoft.Storage.BlobCreated"
BLOBS = {
    "source": LANDING,
    "types": [CREATED],
    "subject_begins_with": "/blobServices/default/containers/landing/",
    "subject_ends_with": ".parquet",
}
MARKS = {**BLOBS, "subject_ends_with": "/_SUCCESS"}
ORDERS = {"source": f"{GRID}/topics/orders"}


def of(*entries: dict[str, Any], workspace: str | None = None) -> dict[str, str | None]:
    """Return the variables that name sources, and a workspace."""
    return {"NEXTSTAGE_EVENT_SOURCES": json.dumps(entries), "AML_WORKSPACE_ID": workspace}


def custom(kind: str = "topics/orders", **changes: Any) -> dict[str, Any]:
    """Return a custom topic, or a domain, of somebody else."""
    properties = {"inputSchema": "CloudEventSchemaV1_0", "provisioningState": "Succeeded"}
    return {
        "id": f"{GRID}/{kind}",
        "location": "westeurope",
        "identity": THEIR_IDENTITY,
        "properties": properties,
        **changes,
    }


def told(result: Result, status: str, check: str = "events") -> list[str]:
    """Return what the test at the end of ``connect`` says about the events."""
    return [row[2] for row in result.rows if row[:2] == [status, check]]


@pytest.fixture(autouse=True)
def _account(azd: Azd) -> None:
    azd.arm.add(sample.account())


class TestAStorageAccount:
    def test_what_is_made(self, azd: Azd, connect: Run) -> None:
        said = f"events of the storage account landing come to func-nextstage-dev by the system topic {PREFIX}"
        assert lines(connect(**of(BLOBS))) == [said]
        (made,) = azd.found("systemTopics")
        assert made["id"] == f"{GRID}/systemTopics/{PREFIX}", "in the account's group"
        assert made["properties"]["source"] == LANDING
        assert made["properties"]["topicType"] == "Microsoft.Storage.StorageAccounts"
        (role,) = azd.found("roleAssignments")
        assert role["properties"]["principalId"] == made["identity"]["principalId"]
        assert role["properties"]["scope"].endswith("/containers/dead-letters")
        (one,) = azd.found("eventSubscriptions")
        assert one["properties"]["filter"] == {
            "includedEventTypes": [CREATED],
            "subjectBeginsWith": "/blobServices/default/containers/landing/",
            "subjectEndsWith": ".parquet",
        }
        assert one["properties"]["eventDeliverySchema"] == "EventGridSchema"
        alerts = azd.found("metricAlerts")
        assert len(alerts) == 4
        assert {one["properties"]["description"].partition(":")[0] for one in alerts} == {"Storage account landing"}

    def test_with_a_workspace_and_twice_in_a_row(self, azd: Azd, connect: Run) -> None:
        environment = of(BLOBS, MARKS, workspace=sample.WORKSPACE) | {"NEXTSTAGE_WAITS": "true"}
        first = lines(connect(**environment))
        assert len(first) == 2
        assert len(azd.names("systemTopics")) == 2
        assert len(azd.names("eventSubscriptions")) == 4
        assert len(azd.names("roleAssignments")) == 3, "the app reads runs of the workspace only"
        before = state(azd)
        assert lines(connect(**environment)) == first
        assert state(azd) == before

    def test_in_the_resource_group_of_the_workspace(self, azd: Azd, connect: Run) -> None:
        near = sample.account("near", "ml")
        azd.arm.add(near)
        lines(connect(**of({**BLOBS, "source": near["id"]}, workspace=sample.WORKSPACE)))
        assert len({name.lower() for name in azd.names("systemTopics")}) == 2

    def test_a_topic_of_somebody_else_is_used_and_not_changed(self, azd: Azd, connect: Run) -> None:
        kind = {"source": LANDING.upper(), "topicType": "microsoft.storage.storageaccounts"}
        azd.arm.add(topic(f"{sample.GROUP}/providers/Microsoft.EventGrid/systemTopics/theirs", properties=kind))
        assert lines(connect(**of(BLOBS)))[-1].endswith("by the system topic theirs")
        assert "PUT theirs" not in azd.written
        assert len(azd.names("eventSubscriptions")) == 1

    def test_another_filter_replaces_the_subscription(self, azd: Azd, connect: Run) -> None:
        lines(connect(**of(BLOBS)))
        (before,) = azd.names("eventSubscriptions")
        *_, last = lines(connect(**of(MARKS)))
        assert last == f"deleted the event subscription {before}, which no source needs any longer"
        (one,) = azd.found("eventSubscriptions")
        assert one["properties"]["filter"]["subjectEndsWith"] == "/_SUCCESS"
        written = [each for each in azd.written if "-source-" in each]
        assert written[-2:] == [f"PUT {one['name']}", f"DELETE {before}"], "only when the other one works"

    def test_subscriptions_of_others_stay(self, azd: Azd, connect: Run) -> None:
        lines(connect(**of(BLOBS)))
        (one,) = azd.found("eventSubscriptions")
        for name in ("theirs", f"{PREFIX}-2-source-123abc"):
            azd.arm.add({**one, "id": one["id"].replace(one["name"], name), "name": name})
        lines(connect(**of(MARKS)))
        assert azd.names("eventSubscriptions")[:2] == ["theirs", f"{PREFIX}-2-source-123abc"]

    def test_more_events_of_a_workspace(self, azd: Azd, connect: Run) -> None:
        registered = "Microsoft.MachineLearningServices.ModelRegistered"
        lines(connect(**of({"source": sample.WORKSPACE, "types": [registered]}, workspace=sample.WORKSPACE)))
        assert len(azd.names("systemTopics")) == 1
        assert azd.names("eventSubscriptions")[:2] == OURS
        assert len(azd.names("eventSubscriptions")) == 3
        *_, last = lines(connect())
        assert last.startswith(f"deleted the event subscription {PREFIX}-source-")
        assert azd.names("eventSubscriptions") == OURS

    @pytest.mark.parametrize(
        ("entry", "said"),
        [
            ({"source": LANDING}, "NEXTSTAGE_EVENT_SOURCES names no 'types' for the storage account landing, which "),
            (
                {**BLOBS, "types": [CREATED, CREATED[:-1]]},
                f"{CREATED[:-1]}, which NEXTSTAGE_EVENT_SOURCES names; did you",
            ),
            ({**BLOBS, "types": [CREATED.lower()]}, f"which NEXTSTAGE_EVENT_SOURCES names; did you mean '{CREATED}'?"),
            (
                {**BLOBS, "source": f"{LANDING}2"},
                f"there is no storage account {LANDING}2 that you may read; correct NEXTSTAGE_EVENT_SOURCES, or ask",
            ),
            (
                {**BLOBS, "source": sample.account("old", kind="Storage")["id"]},
                "the storage account old is of the kind Storage, which raises no events about blobs; upgrade it to",
            ),
        ],
    )
    @pytest.mark.parametrize("arguments", [("--check",), ()])
    def test_what_cannot_work(
        self, azd: Azd, connect: Run, arguments: tuple[str, ...], entry: dict[str, Any], said: str
    ) -> None:
        azd.arm.add(sample.account("old", kind="Storage"))
        connect(*arguments, **of(entry)).fails(2, said)
        assert azd.written == []

    def test_a_missing_right_is_named(self, azd: Azd, connect: Run) -> None:
        azd.arm.plan(refusal("/systemTopics/", "AuthorizationFailed", "No action.", 403, times=12))
        assert connect(**of(BLOBS)).err.endswith(f"No action; ask for the role EventGrid Contributor on {DATA}\n")


class TestOtherSources:
    def test_the_lists_of_types_may_not_be_read(self, azd: Azd, connect: Run) -> None:
        """They belong to the tenant. Event Grid itself refuses what does not exist."""
        azd.arm.plan(refusal("/topicTypes", "AuthorizationFailed", status=403, method="GET", times=2))
        lines(connect(**of(BLOBS)))
        azd.arm.plan(refusal("/topicTypes", "AuthorizationFailed", status=403, method="GET", times=2))
        wrong = {**BLOBS, "types": ["Microsoft.Storage.BlobMade"]}
        connect(**of(wrong)).fails(
            1, "InvalidRequest: The event type Microsoft.Storage.BlobMade is not one of the topic"
        )

    def test_a_topic_that_is_named_twice(self, azd: Azd, connect: Run) -> None:
        """As that of a workspace, and by its own ID."""
        azd.arm.add(topic(f"{GRID}/systemTopics/theirs"))
        registered = {"types": ["Microsoft.MachineLearningServices.ModelRegistered"]}
        wanted = of({"source": f"{GRID}/systemTopics/THEIRS", **registered}, workspace=sample.WORKSPACE)
        assert len(lines(connect(**wanted))) == len(lines(connect(**wanted))) == 2
        assert len(azd.names("eventSubscriptions")) == 3

    def test_any_resource_that_has_events(self, azd: Azd, connect: Run) -> None:
        vault = f"{DATA}/providers/Microsoft.KeyVault/vaults/secrets"
        azd.arm.add({"id": vault, "location": "westeurope", "properties": {}})
        said = lines(connect(**of({"source": vault, "types": ["Microsoft.KeyVault.SecretExpired"]})))
        assert said == [f"events of the resource secrets come to func-nextstage-dev by the system topic {PREFIX}"]
        (made,) = azd.found("systemTopics")
        assert made["properties"]["topicType"] == "Microsoft.KeyVault.vaults"
        (read,) = [one for one in azd.arm.requests if one.path == vault]
        assert read.query == "api-version=2026-02-01", "the newest stable one"

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            ("Microsoft.Web/sites", "Event Grid has no events of resources of the type Microsoft.Web/sites, such as "),
            ("Microsoft.Web/sitez", "Azure has no resources of the type Microsoft.Web/sitez; correct NEXTSTAGE_EVENT_"),
            ("Contoso.Web/sites", "Azure has no resources of the type Contoso.Web/sites; correct NEXTSTAGE_EVENT_"),
        ],
    )
    def test_a_resource_without_events(self, connect: Run, kind: str, said: str) -> None:
        connect("--check", **of({"source": sample.APP.replace("Microsoft.Web/sites", kind)})).fails(2, said)

    def test_a_custom_topic_with_cloud_events(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        azd.arm.add(custom())
        before = state(azd)
        assert lines(connect(**of(ORDERS))) == ["events of the topic orders come to func-nextstage-dev"]
        (one,) = azd.found("eventSubscriptions")
        assert one["properties"]["topic"] == ORDERS["source"]
        assert one["properties"]["eventDeliverySchema"] == "CloudEventSchemaV1_0"
        assert one["properties"]["filter"] == {}
        (role,) = azd.found("roleAssignments")
        assert role["properties"]["principalId"] == THEIR_IDENTITY["principalId"]
        namespaces = {
            each["metricNamespace"]
            for alert in azd.found("metricAlerts")
            for each in alert["properties"]["criteria"]["allOf"]
        }
        assert namespaces == {"Microsoft.EventGrid/topics"}
        said = lines(disconnect(**of(ORDERS)))
        assert said[-1] == "the topic orders stays: nextstage has not made it"
        assert state(azd) == before

    def test_a_topic_in_a_domain(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        domain = custom("domains/shop")
        azd.arm.add(domain, {"id": f"{domain['id']}/topics/orders", "properties": {}})
        before = state(azd)
        lines(connect(**of({"source": f"{domain['id']}/topics/orders", "types": ["com.example.ordered"]})))
        (one,) = azd.found("eventSubscriptions")
        assert one["id"].startswith(f"{domain['id']}/topics/orders/eventSubscriptions/{PREFIX}-source-")
        assert {tuple(one["properties"]["scopes"]) for one in azd.found("metricAlerts")} == {(domain["id"],)}
        lines(disconnect(**of({"source": f"{domain['id']}/topics/orders"})))
        assert state(azd) == before

    def test_a_system_topic(self, azd: Azd, connect: Run) -> None:
        """It may have a source that is not in a resource group, such as a subscription."""
        kind = {"source": f"/subscriptions/{sample.SUBSCRIPTION}", "topicType": "Microsoft.Resources.Subscriptions"}
        azd.arm.add(topic(f"{GRID}/systemTopics/theirs", properties=kind))
        wanted = of({"source": f"{GRID}/systemTopics/theirs"})
        assert lines(connect(**wanted)) == ["events of the system topic theirs come to func-nextstage-dev"]
        assert azd.names("systemTopics") == ["theirs"]
        assert len(azd.names("eventSubscriptions")) == 1

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            (
                "topics/orders",
                "the Event Grid topic orders has no identity to write dead letters with; give it a system",
            ),
            ("domains/shop", "the Event Grid domain shop has no identity to write dead letters with; give it a system"),
        ],
    )
    def test_a_topic_that_cannot_write_dead_letters(self, azd: Azd, connect: Run, kind: str, said: str) -> None:
        azd.arm.add({name: value for name, value in custom(kind).items() if name != "identity"})
        source = f"{GRID}/{kind}" + ("/topics/orders" if kind.startswith("domains") else "")
        result = connect(**of({"source": source}))
        result.fails(2, said)
        assert (
            f"az eventgrid {kind.partition('s/')[0]} update --ids {GRID}/{kind} --identity systemassigned" in result.err
        )
        assert azd.written == []

    def test_a_topic_that_does_not_exist(self, connect: Run, disconnect: Run) -> None:
        connect(**of(ORDERS)).fails(
            2, f"there is no topic {ORDERS['source']} that you may read; correct NEXTSTAGE_EVENT"
        )
        said = ["the topic orders does not exist; nothing is left to remove there"]
        assert lines(disconnect(**of(ORDERS))) == said


class TestCheck:
    def test_what_may_be_read(self, azd: Azd, connect: Run) -> None:
        azd.arm.add(custom())
        said = lines(connect("--check", **of(BLOBS, ORDERS, workspace=sample.WORKSPACE)))
        assert said[0] == (
            "you are signed in, and may read the workspace ws, the storage account landing and the topic orders"
        )
        assert lines(connect("--check", **of(BLOBS)))[0].endswith("and may read the storage account landing")
        assert azd.arm.changes == ()

    @pytest.mark.parametrize(
        ("permissions", "missing"),
        [
            ([{"actions": ["*"]}], None),
            ([{"actions": ["*/read"]}, {"actions": ["microsoft.eventgrid/*"]}], None),
            ([{"actions": ["*/read"]}], "eventSubscriptions/write and Microsoft.EventGrid/systemTopics/write"),
            ([{"actions": ["Microsoft.EventGrid/*"], "notActions": ["*/systemTopics/write"]}], "write"),
            ([{"actions": ["Microsoft.EventGrid/eventSubscriptions/*"]}], "eventSubscriptions/write and Microsoft."),
        ],
    )
    def test_what_may_be_made(
        self, azd: Azd, connect: Run, permissions: list[dict[str, list[str]]], missing: str | None
    ) -> None:
        azd.switch(permissions=tuple(permissions))
        said = lines(connect("--check", **of(BLOBS)))
        assert len(said) == 2 + (missing is not None)
        if missing:
            needs = "you may not connect the storage account landing, which needs the permission Microsoft.EventGrid/"
            assert said[1].startswith(f"{needs}systemTopics/{missing}")
            assert said[1].endswith(f"before the app is deployed, ask for the role EventGrid Contributor on {DATA}")

    def test_what_may_be_made_on_a_topic_elsewhere(self, azd: Azd, connect: Run) -> None:
        azd.arm.add(custom())
        azd.switch(permissions=({"actions": ["Microsoft.EventGrid/topics/*"]},))
        assert len(lines(connect("--check", **of(ORDERS)))) == 2
        azd.switch(permissions=())
        said = lines(connect("--check", **of(ORDERS)))[1]
        assert "needs the permission Microsoft.EventGrid/topics/eventSubscriptions/write; before" in said

    def test_rights_that_may_not_be_read(self, azd: Azd, connect: Run) -> None:
        azd.arm.plan(refusal("/permissions", "AuthorizationFailed", status=403, method="GET"))
        assert len(lines(connect("--check", **of(BLOBS)))) == 2

    def test_the_sources_are_wrong(self, connect: Run) -> None:
        connect("--check", **of({"source": LANDING, "type": CREATED})).fails(
            2, "NEXTSTAGE_EVENT_SOURCES, entry 1 (landing): has an unknown key 'type'; did you mean 'types'?"
        )


class TestDisconnect:
    def test_it_removes_what_connect_has_made(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        before = state(azd)
        environment = of(BLOBS, MARKS, workspace=sample.WORKSPACE)
        lines(connect(**environment))
        lines(disconnect(**environment))
        assert state(azd) == before

    def test_one_source_only(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        environment = of(BLOBS, MARKS, workspace=sample.WORKSPACE)
        lines(connect(**environment))
        said = lines(disconnect("--source", LANDING, **environment))
        assert [line for line in said if "event subscription" in line or "system topic" in line][-1] == (
            f"deleted the system topic {PREFIX}"
        )
        assert azd.names("eventSubscriptions") == OURS
        lines(disconnect("--workspace", sample.WORKSPACE, **environment))
        assert azd.names("systemTopics") == []

    def test_options_instead_of_the_environment(self, azd: Azd, connect: Run, disconnect: Run) -> None:
        lines(connect("--sources", json.dumps([BLOBS]), AML_WORKSPACE_ID=sample.WORKSPACE))
        assert [one["properties"]["source"] for one in azd.found("systemTopics")] == [LANDING]
        lines(disconnect("--workspace", sample.WORKSPACE, **of(BLOBS)))
        assert len(azd.names("systemTopics")) == 1


class TestProof:
    def test_a_filter_that_nothing_has_matched(self, azd: Azd, connect: Run) -> None:
        first = connect(**of(BLOBS, MARKS))
        blobs, marks = azd.names("eventSubscriptions")
        silent = "landing: no event has matched the filter of {} in the last 7 days"
        assert first.code == 0
        assert told(first, "warning") == [silent.format(name) for name in sorted((blobs, marks))]
        azd.arm.store.matched = {blobs: 3, marks: 0}
        second = connect(**of(BLOBS, MARKS))
        assert told(second, "warning") == [silent.format(marks)]
        assert told(second, "ok") == [f"landing: 2 event subscriptions: {blobs}, {marks}"]

    def test_sources_that_are_not_connected_yet(self, azd: Azd, connect: Run) -> None:
        """Not even the types differ."""
        lines(connect(**of(BLOBS)))
        values = azd.environment(**of(BLOBS, MARKS))
        plan = Plan.of(values)
        manager, now = resource_manager(values, print), datetime.now(UTC)
        azd.arm.store.matched = dict.fromkeys(azd.names("eventSubscriptions"), 1)
        first, second = check_subscriptions(manager, Deployment.of(plan, values, ""), now)
        assert (first.status, second.status) == (Status.OK, Status.WARNING)
        said = "landing: NEXTSTAGE_EVENT_SOURCES has changed since its event subscriptions were made"
        assert (second.detail, second.next_step) == (said, "run './manage.py connect'")

    @pytest.mark.parametrize(
        ("sources", "workspace", "missing"),
        [
            ([], sample.WORKSPACE, ["new-data", "orders"]),
            ([BLOBS], sample.WORKSPACE, ["orders"]),
            ([{**BLOBS, "types": ["Microsoft.STORAGE.blobcreated"]}], None, ["trained", "orders"]),
            ([BLOBS, {**ORDERS, "types": ["com.example.orders"]}], sample.WORKSPACE, []),
            ([ORDERS], None, []),  # the topic may have events of any type
        ],
    )
    def test_a_route_for_which_nothing_is_connected(
        self, sources: list[dict[str, Any]], workspace: str | None, missing: list[str]
    ) -> None:
        values = {name: value or "" for name, value in of(*sources, workspace=workspace).items()}
        table = routes(
            "name: trained\nevent: RunCompleted\npipeline: p",
            f"name: new-data\nevent: {CREATED}\npipeline: p",
            f"name: off\nevent: {CREATED}\npipeline: p\nenabled: false",
            "name: orders\nevent: com.example.orders\npipeline: p",
        )
        found = [*check_routes(Plan.of(values), table.routes)]
        assert [one.detail.partition(":")[0] for one in found] == missing
        assert {one.status for one in found} <= {Status.WARNING}

    def test_metrics_that_may_not_be_read(self, azd: Azd, connect: Run) -> None:
        azd.arm.plan(refusal("/Microsoft.Insights/metrics", "AuthorizationFailed", status=403, method="GET"))
        (said,) = told(connect(**of(BLOBS)), "warning")
        assert said.startswith("landing: whether events match the filters is not known: GET ")

    def test_a_workspace_is_not_asked_for_metrics(self, azd: Azd, connect: Run) -> None:
        assert told(connect(), "warning") == []
        assert [one for one in azd.arm.requests if one.path.endswith("/metrics")] == []
