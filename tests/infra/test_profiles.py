"""What each profile deploys: resources, redundancy, locks, logs, networks and roles, evaluated by value."""

import re
from collections import Counter
from typing import Any

import pytest

from tests.infra.bicep import BUILT_IN_ROLES, INFRA
from tests.infra.deployment import EVERYTHING, PROFILES, REQUIRED, Deployment, Resource, deploy, is_known

ACCOUNTS = "Microsoft.Storage/storageAccounts"
OWN_LOGS = "Microsoft.OperationalInsights/workspaces"
EXTENSIONS = {
    "Microsoft.Authorization/locks",
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Insights/diagnosticSettings",
}
each_profile = pytest.mark.parametrize("profile", PROFILES)


def deployed(profile: str = "dev", **parameters: Any) -> Deployment:
    return deploy("main.bicep", profile=profile, **{**REQUIRED, **parameters})


def everything(profile: str, **parameters: Any) -> Deployment:
    return deployed(profile, **{**EVERYTHING, **parameters})


def accounts(found: Deployment) -> tuple[Resource, Resource]:
    """Return the account of the journal and that of the host."""
    journal, host = found.all(ACCOUNTS)
    assert host.name.startswith("sthost")
    return journal, host


def scopes(found: Deployment, type_name: str) -> list[str]:
    """Return the types of the resources to which extensions belong."""
    return sorted(one.scope.type for one in found.all(type_name) if one.scope)


@each_profile
def test_the_resource_types_are_the_listed_ones(profile: str) -> None:
    """`make bicep` compares the same lists with what Microsoft's compiler says."""
    counts = Counter(one.type for one in deployed(profile).resources)
    listed = (INFRA / "snapshots" / f"{profile}.txt").read_text(encoding="utf-8")
    assert "".join(f"{name} {counts[name]}\n" for name in sorted(counts)) == listed


@each_profile
def test_azd_down_can_delete_only_our_own_group(profile: str) -> None:
    """azd deletes every resource group that contains a resource of its deployment, even one that existed before."""
    found = everything(profile)
    group = found.one("Microsoft.Resources/resourceGroups")
    assert set(found.groups.values()) == {group.name}
    assert len(found.groups) > 7
    inside = f"{group.id.replace('/providers/Microsoft.Resources', '')}/providers/"
    assert [one.id for one in found.resources if one is not group and not one.id.startswith(inside)] == []


@each_profile
def test_what_if_can_predict_every_resource(profile: str) -> None:
    """A name or scope that holds a property of a resource, or an output of a module, is known to Azure alone."""
    for one in everything(profile).resources:
        assert is_known(one.name), one.id
        assert (one.scope is not None) == (one.type in EXTENSIONS), one.id
        assert one.scope is None or is_known(one.scope.id), one.id


@each_profile
def test_names_are_not_too_long(profile: str) -> None:
    limits = {
        ACCOUNTS: 24,
        "Microsoft.KeyVault/vaults": 24,
        "Microsoft.EventGrid/topics": 50,
        "Microsoft.Web/sites": 60,
        "Microsoft.Network/virtualNetworks": 64,
        "Microsoft.Network/privateEndpoints": 64,
        "Microsoft.Resources/resourceGroups": 90,
    }
    found = everything(profile, environmentName="e" * 64)
    assert max(map(len, found.groups)) <= 64, "names of deployments"
    for one in found.resources:
        assert len(one.name) <= limits.get(one.type, 80), one.id


@pytest.mark.parametrize(
    ("profile", "sku", "days", "instances", "is_guarded"),
    [
        ("dev", "Standard_LRS", 90, 0, False),
        ("production", "Standard_ZRS", 365, 1, True),
        ("private", "Standard_ZRS", 365, 1, True),
    ],
)
def test_what_a_profile_brings(profile: str, sku: str, days: int, instances: int, is_guarded: bool) -> None:
    found = everything(profile)
    assert [one.body["sku"]["name"] for one in accounts(found)] == [sku, sku]
    logs = found.one(OWN_LOGS).properties
    assert (logs["retentionInDays"], logs["features"]) == (days, {"disableLocalAuth": True})
    assert always_ready(found) == instances
    locks = [(one.scope, one.properties["level"]) for one in found.all("Microsoft.Authorization/locks")]
    assert locks == [(accounts(found)[0], "CanNotDelete")] * is_guarded
    logged = {
        (one.scope.type, tuple(log.get("category", log.get("categoryGroup")) for log in one.properties["logs"]))
        for one in found.all("Microsoft.Insights/diagnosticSettings")
        if one.scope
    }
    data = ("StorageRead", "StorageWrite", "StorageDelete")
    wanted = {
        (f"{ACCOUNTS}/tableServices", data),
        (f"{ACCOUNTS}/blobServices", data),
        (f"{ACCOUNTS}/blobServices", data[1:]),
        ("Microsoft.KeyVault/vaults", ("audit",)),
        ("Microsoft.EventGrid/topics", ("DeliveryFailures", "PublishFailures")),
    }
    assert logged == (wanted if is_guarded else set())
    assert bool(found.outputs["NEXTSTAGE_DELIVERY_LOG_WORKSPACE_ID"]) == is_guarded


def always_ready(found: Deployment) -> int:
    app = found.one("Microsoft.Web/sites").properties["functionAppConfig"]["scaleAndConcurrency"]
    groups = {group["name"]: group["instanceCount"] for group in app["alwaysReady"]}
    assert set(groups) <= {"function:aml_event"}
    return sum(groups.values())


@pytest.mark.parametrize("profile", ["dev", "production"])
def test_single_values_replace_those_of_the_profile(profile: str) -> None:
    found = deployed(profile, storageSku="Standard_GZRS", logRetentionDays=30, alwaysReadyInstances=0)
    assert {one.body["sku"]["name"] for one in accounts(found)} == {"Standard_GZRS"}
    assert (found.one(OWN_LOGS).properties["retentionInDays"], always_ready(found)) == (30, 0)
    assert always_ready(deployed(profile, alwaysReadyInstances=3)) == 3


@each_profile
def test_a_log_workspace_that_exists_is_used(profile: str) -> None:
    theirs = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/central"
    found = everything(profile, logWorkspaceId=theirs)
    assert found.all(OWN_LOGS) == []
    used = [one.properties["workspaceId"] for one in found.all("Microsoft.Insights/diagnosticSettings")]
    assert {*used, found.one("Microsoft.Insights/components").properties["WorkspaceResourceId"]} == {theirs}


class TestNetworks:
    @pytest.mark.parametrize("profile", ["dev", "production"])
    def test_without_the_profile_private_nothing_is_closed(self, profile: str) -> None:
        found = everything(profile)
        assert [one.type for one in found.resources if one.type.startswith("Microsoft.Network/")] == []
        for one in (*accounts(found), found.one("Microsoft.KeyVault/vaults"), found.one("Microsoft.EventGrid/topics")):
            assert one.properties["publicNetworkAccess"] == "Enabled"
            assert one.properties.get("networkAcls", {}).get("defaultAction", "Allow") == "Allow"
        site = found.one("Microsoft.Web/sites").properties
        assert site["virtualNetworkSubnetId"] is None
        assert {name: site["siteConfig"][name] for name in site["siteConfig"] if "ipSecurity" in name} == {
            "ipSecurityRestrictions": [],
            "ipSecurityRestrictionsDefaultAction": "Allow",
        }
        assert site["siteConfig"]["scmIpSecurityRestrictionsDefaultAction"] == "Allow"

    def test_only_allowed_addresses_and_trusted_services_reach_the_data(self) -> None:
        found = everything("private")
        journal, host = accounts(found)
        assert journal.properties["networkAcls"] == {
            "bypass": "AzureServices",
            "defaultAction": "Deny",
            "ipRules": [
                {"action": "Allow", "value": "203.0.113.7"},
                {"action": "Allow", "value": "198.51.100.0/24"},
            ],
        }
        assert (journal.properties["publicNetworkAccess"], host.properties["publicNetworkAccess"]) == (
            "Enabled",  # or Event Grid could not write dead letters
            "Disabled",
        )
        assert found.one("Microsoft.EventGrid/topics").properties["publicNetworkAccess"] == "Disabled"
        vault = found.one("Microsoft.KeyVault/vaults").properties
        assert (vault["publicNetworkAccess"], vault["networkAcls"]["defaultAction"]) == ("Enabled", "Deny")
        assert vault["networkAcls"]["bypass"] == "AzureServices"
        assert [rule["value"] for rule in vault["networkAcls"]["ipRules"]] == ["203.0.113.7", "198.51.100.0/24"]
        closed = everything("private", allowedIps="").one("Microsoft.KeyVault/vaults").properties
        assert (closed["publicNetworkAccess"], closed["networkAcls"]["ipRules"]) == ("Disabled", [])

    @pytest.mark.parametrize(
        ("given", "callers", "deployers"),
        [
            ({}, ["AzureEventGrid"], []),
            ({"waits": True}, ["AzureEventGrid", "AzureDevOps"], []),
            ({"allowedIps": "203.0.113.7/32,"}, ["AzureEventGrid", "203.0.113.7/32"], ["203.0.113.7/32"]),
            ({"allowedIps": " 203.0.113.7"}, ["AzureEventGrid", "203.0.113.7/32"], ["203.0.113.7/32"]),
        ],
    )
    def test_who_reaches_the_app(self, given: dict[str, Any], callers: list[str], deployers: list[str]) -> None:
        config = deployed("private", **given).one("Microsoft.Web/sites").properties["siteConfig"]
        for prefix, wanted in (("ipSecurityRestrictions", callers), ("scmIpSecurityRestrictions", deployers)):
            assert config[f"{prefix}DefaultAction"] == "Deny"
            assert [rule["ipAddress"] for rule in config[prefix]] == wanted
            for rule in config[prefix]:
                assert rule["action"] == "Allow"
                assert (rule["tag"] == "ServiceTag") == rule["ipAddress"].startswith("Azure")
            priorities = [rule["priority"] for rule in config[prefix]]
            assert priorities == sorted(set(priorities))
        assert config["scmIpSecurityRestrictionsUseMain"] is False

    def test_the_app_reaches_the_data_at_private_addresses(self) -> None:
        found = everything("private")
        journal, host = accounts(found)
        vault, topic = found.one("Microsoft.KeyVault/vaults"), found.one("Microsoft.EventGrid/topics")
        endpoints = {}
        for one in found.all("Microsoft.Network/privateEndpoints"):
            (connection,) = one.properties["privateLinkServiceConnections"]
            assert one.properties["subnet"]["id"].endswith("/subnets/endpoints")
            (zone,) = one.children["entry"].properties["privateDnsZoneConfigs"]
            target = connection["properties"]
            endpoints[target["privateLinkServiceId"], *target["groupIds"]] = zone["properties"]["privateDnsZoneId"]
        storage = {service: f"privatelink.{service}.core.windows.net" for service in ("blob", "queue", "table")}
        wanted = {(one.id, service): storage[service] for one in (journal, host) for service in storage}
        wanted |= {(vault.id, "vault"): "privatelink.vaultcore.azure.net"}
        wanted |= {(topic.id, "topic"): "privatelink.eventgrid.azure.net"}
        assert {key: zone.rpartition("/")[2] for key, zone in endpoints.items()} == wanted
        zones = [one.id for one in found.all("Microsoft.Network/privateDnsZones")]
        assert sorted(zones) == sorted(set(endpoints.values()))
        network = found.one("Microsoft.Network/virtualNetworks")
        links = found.all("Microsoft.Network/privateDnsZones/virtualNetworkLinks")
        assert [one.properties["virtualNetwork"]["id"] for one in links] == [network.id] * len(zones)
        subnets = {subnet["name"]: subnet["properties"] for subnet in network.properties["subnets"]}
        assert [subnets[name]["addressPrefix"] for name in ("app", "endpoints")] == ["10.118.0.0/26", "10.118.0.64/26"]
        assert [one["properties"]["serviceName"] for one in subnets["app"]["delegations"]] == [
            "Microsoft.App/environments"
        ]
        app = found.one("Microsoft.Web/sites")
        assert app.properties["virtualNetworkSubnetId"] == f"{network.id}/subnets/app"
        assert (app.id, "sites") not in endpoints, "Azure/Azure-Functions#2635: it could not be deployed to"

    def test_no_account_gets_two_endpoints_at_the_same_time(self) -> None:
        """Otherwise a deployment can end with StorageAccountOperationInProgress."""
        text = (INFRA / "main.bicep").read_text(encoding="utf-8")
        size = int(re.findall(r"@batchSize\((\d+)\)\nmodule privateEndpoints ", text)[0])
        assert size > 1, "one after the other takes minutes longer"
        endpoints = [
            one.properties["privateLinkServiceConnections"][0]["properties"]["privateLinkServiceId"]
            for one in everything("private").all("Microsoft.Network/privateEndpoints")
        ]
        batches = [endpoints[at : at + size] for at in range(0, len(endpoints), size)]
        assert [batch for batch in batches if len(set(batch)) < len(batch)] == []

    @pytest.mark.parametrize(
        ("given", "gateway", "is_default"),
        [({}, None, True), ({"natGatewayId": "/a/gateway"}, {"id": "/a/gateway"}, False)],
    )
    def test_the_way_out_of_the_network(self, given: dict[str, str], gateway: object, is_default: bool) -> None:
        subnets = deployed("private", **given).one("Microsoft.Network/virtualNetworks").properties["subnets"]
        app = subnets[0]["properties"]
        assert (app["natGateway"], app["defaultOutboundAccess"]) == (gateway, is_default)
        assert subnets[1]["properties"]["defaultOutboundAccess"] is False

    def test_the_app_comes_after_all_that_it_needs_at_its_start(self) -> None:
        text = (INFRA / "main.bicep").read_text(encoding="utf-8")
        (needed,) = re.findall(r"^module app .*?^  dependsOn: \[(.*?)\]", text, re.DOTALL | re.MULTILINE)
        assert set(needed.split(", ")) == {"identity", "monitoring", "storage", "network", "privateEndpoints"}


class TestRoles:
    @each_profile
    def test_these_are_all(self, profile: str) -> None:
        found = everything(profile)
        app, operator = f"<{found.outputs['NEXTSTAGE_IDENTITY_NAME']}.properties.principalId>", "an-operator"
        journal, host = (one.name for one in accounts(found))
        names = {one.type: one.name for one in found.resources}
        assert sorted(
            (one.scope.name, one.properties["principalId"], BUILT_IN_ROLES[one.properties["roleDefinitionId"][-36:]])
            for one in found.all("Microsoft.Authorization/roleAssignments")
            if one.scope
        ) == sorted(
            [
                (host, app, "Storage Blob Data Owner"),
                (host, app, "Storage Table Data Contributor"),
                (journal, app, "Storage Table Data Contributor"),
                (journal, operator, "Storage Table Data Contributor"),
                ("nextstage-resume", app, "Storage Queue Data Contributor"),
                ("nextstage-resume-poison", app, "Storage Queue Data Contributor"),
                ("nextstage-resume", operator, "Storage Queue Data Contributor"),
                ("nextstage-resume-poison", operator, "Storage Queue Data Contributor"),
                ("dead-letters", operator, "Storage Blob Data Reader"),
                (names["Microsoft.Insights/components"], app, "Monitoring Metrics Publisher"),
                (names["Microsoft.KeyVault/vaults"], app, "Key Vault Secrets User"),
                (names["Microsoft.KeyVault/vaults"], operator, "Key Vault Secrets Officer"),
                (names["Microsoft.EventGrid/topics"], app, "EventGrid Data Sender"),
            ]
        )

    @pytest.mark.parametrize(
        ("given", "id_", "type_name"),
        [
            ({}, "a-deployer", "User"),
            ({"deployerPrincipalType": "User"}, "a-deployer", "User"),
            ({"deployerPrincipalType": "ServicePrincipal"}, "a-deployer", "ServicePrincipal"),
            ({"operatorPrincipalId": "a-group"}, "a-group", "Group"),
            (
                {"operatorPrincipalId": "them", "operatorPrincipalType": "User", "deployerPrincipalType": "x"},
                "them",
                "User",
            ),
        ],
    )
    def test_the_principal_that_deploys_is_the_operator_by_default(
        self, given: dict[str, Any], id_: str, type_name: str
    ) -> None:
        roles = deployed(**given).all("Microsoft.Authorization/roleAssignments")
        operators = [one.properties for one in roles if not one.properties["principalId"].startswith("<")]
        assert [(one["principalId"], one["principalType"]) for one in operators] == [(id_, type_name)] * 4

    def test_an_environment_of_an_earlier_version_keeps_the_names_of_assignments(self) -> None:
        """Azure refuses a second assignment of a role to the same identity under another name."""
        old = {"identityPrincipalId": "the object id"}
        upgraded = everything("dev", **old)
        seed = upgraded.outputs["NEXTSTAGE_ROLE_SEED"]
        assert seed == "the object id"
        again = everything("dev", **old, roleSeed=seed)
        new = everything("dev")
        seed = new.outputs["NEXTSTAGE_ROLE_SEED"]
        new_again = everything("dev", **old, roleSeed=seed)
        assert assignments(upgraded) == assignments(again) != assignments(new) == assignments(new_again)


def assignments(found: Deployment) -> list[str]:
    return [one.id for one in found.all("Microsoft.Authorization/roleAssignments")]


def test_no_storage_account_takes_keys_or_open_blobs() -> None:
    for one in accounts(deployed("private")):
        assert {name: one.properties[name] for name in ("allowSharedKeyAccess", "allowBlobPublicAccess")} == {
            "allowSharedKeyAccess": False,
            "allowBlobPublicAccess": False,
        }


def test_the_journal_stays_where_it_was_and_the_package_does_not_lie_beside_it() -> None:
    found = deployed()
    journal, host = accounts(found)
    assert journal.name == "st" + host.name.removeprefix("sthost")
    containers = {one.id for one in found.all(f"{ACCOUNTS}/blobServices/containers")}
    assert containers == {
        f"{journal.id}/blobServices/default/containers/dead-letters",
        f"{host.id}/blobServices/default/containers/app-package",
    }
    assert found.outputs["NEXTSTAGE_STORAGE_ACCOUNT_ID"] == journal.id
    assert found.outputs["NEXTSTAGE_DEAD_LETTER_CONTAINER"] == "dead-letters"


def test_queries_of_alerts_are_not_tried_on_a_component_that_is_seconds_old() -> None:
    for one in deployed().all("Microsoft.Insights/scheduledQueryRules"):
        assert one.properties["skipQueryValidation"] is True
