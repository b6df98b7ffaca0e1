"""The pages on deploying, Azure DevOps, operating and notifications agree with the deployment and the code."""

import json
import re

import pytest
import yaml

from shared.clouds import CLOUDS
from tests.infra import bicep
from tests.infra.bicep import INFRA
from tests.infra.deployment import EVERYTHING, PROFILES, REQUIRED, deploy
from tests.support import ROOT
from tests.support.docs import codes, rows, section

DEPLOYING = (ROOT / "docs" / "deploying.md").read_text()
COST = (ROOT / "docs" / "cost.md").read_text()
SECURITY = (ROOT / "docs" / "security.md").read_text()
SETUP = (ROOT / "docs" / "azure-devops-setup.md").read_text()
PARAMETERS = {
    name: default or ""
    for entry in json.loads((INFRA / "main.parameters.json").read_text())["parameters"].values()
    for name, default in re.findall(r"\$\{(\w+)(?:=([^}]*))?\}", str(entry["value"]))
}
AZURE_YAML = yaml.safe_load((ROOT / "azure.yaml").read_text())
READ_BY_THE_HOOK = {
    *("AML_WORKSPACE_ID", "AML_WORKSPACE_IDS", "NEXTSTAGE_EVENT_SOURCES", "NEXTSTAGE_RUN_STATUSES", "NEXTSTAGE_WAITS")
}
SET_BY_AZD = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_TYPE"} | bicep.outputs("main.bicep")
CONFIGURATION, _, PROFILES_PART = section(DEPLOYING, "Configuration").partition("### Profiles")


def test_every_value_is_documented_with_its_default() -> None:
    table = {codes(row[0])[0]: row for row in rows(CONFIGURATION)}
    assert set(table) == (set(PARAMETERS) | READ_BY_THE_HOOK) - SET_BY_AZD
    assert {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_TYPE"} <= set(PARAMETERS), "azd sets them"
    for name, (_, default, meaning) in table.items():
        if default != "required":
            assert (codes(default) or [""])[0] == PARAMETERS.get(name, ""), name
        assert meaning.endswith("; hook") == (name in READ_BY_THE_HOOK), name


def test_the_documented_values_are_those_that_the_template_allows() -> None:
    text = bicep.read("main.bicep")
    allowed = {
        param: re.findall(r"'([^']+)'", values)
        for values, param in re.findall(r"@allowed\(\[([^\]]*)\]\)\nparam (\w+)", text)
    }
    meanings = {codes(row[0])[0]: row[1] + row[2] for row in rows(CONFIGURATION)}
    for name, param in (
        ("NEXTSTAGE_OPERATOR_PRINCIPAL_TYPE", "operatorPrincipalType"),
        ("NEXTSTAGE_PYTHON_VERSION", "pythonVersion"),
        ("AZURE_DEVOPS_AUTH", "azureDevOpsAuth"),
        ("NEXTSTAGE_PROFILE", "profile"),
        ("NEXTSTAGE_STORAGE_SKU", "storageSku"),
    ):
        assert set(codes(meanings[name])) == set(allowed[param]), name


def test_the_documented_profiles_are_the_deployed_ones() -> None:
    header, *lines = [line for line in PROFILES_PART.splitlines() if line.startswith("|")]
    documented = [row[1:] for row in rows("\n".join([header, *lines]))]
    deployed = []
    for profile in codes(header):
        found = deploy("main.bicep", profile=profile, **EVERYTHING)
        app = found.one("Microsoft.Web/sites").properties["functionAppConfig"]["scaleAndConcurrency"]
        kept = found.one("Microsoft.OperationalInsights/workspaces").properties["retentionInDays"]
        deployed.append(
            [
                f"`{found.all('Microsoft.Storage/storageAccounts')[0].body['sku']['name']}`",
                f"`{kept}`",
                f"`{sum(group['instanceCount'] for group in app['alwaysReady'])}`",
                *(
                    "yes" if found.all(type_name) else "no"
                    for type_name in (
                        "Microsoft.Authorization/locks",
                        "Microsoft.Insights/diagnosticSettings",
                        "Microsoft.Network/privateEndpoints",
                    )
                ),
            ]
        )
    assert codes(header) == list(PROFILES)
    assert documented == [list(row) for row in zip(*deployed, strict=True)]


def test_the_documented_cost_of_a_profile_is_that_of_what_it_deploys() -> None:
    profiles = ("production", "private")
    *items, total = rows(section(COST, "What a profile adds"))
    for n, profile in enumerate(profiles):
        found = deploy("main.bicep", profile=profile, **REQUIRED)
        app = found.one("Microsoft.Web/sites").properties["functionAppConfig"]["scaleAndConcurrency"]
        assert [int(item[1 + n]) for item in items] == [
            sum(group["instanceCount"] for group in app["alwaysReady"]),
            len(found.all("Microsoft.Network/privateEndpoints")),
            len(found.all("Microsoft.Network/privateDnsZones")),
        ]
        costs = [int(item[1 + n]) * float(item[3]) for item in items]
        assert [item[4 + n] for item in items] == [f"{cost:.2f}" for cost in costs]
        assert total[4 + n] == f"**{sum(costs):.2f}**"


def test_what_the_security_page_calls_closed_is_closed() -> None:
    found = deploy("main.bicep", profile="private", **EVERYTHING)
    journal, host = found.all("Microsoft.Storage/storageAccounts")
    deployed = {
        "the functions of the app": found.one("Microsoft.Web/sites"),
        "the host's storage": host,
        "the journal and the dead letters": journal,
        "Key Vault": found.one("Microsoft.KeyVault/vaults"),
        "the topic for notifications": found.one("Microsoft.EventGrid/topics"),
    }
    documented = {name: public for name, _, public in rows(section(SECURITY, "The private profile"))}
    del documented["the deployment endpoint of the app"]
    assert {name: one.properties["publicNetworkAccess"] for name, one in deployed.items()} == {
        name: "Disabled" if public == "none" else "Enabled" for name, public in documented.items()
    }


def test_every_cloud_is_documented() -> None:
    documented = [[codes(cell)[0] for cell in row] for row in rows(section(DEPLOYING, "Other clouds"))]
    assert documented == [
        [
            cloud.name,
            cloud.authority_host.removeprefix("https://"),
            cloud.resource_manager.removeprefix("https://"),
            cloud.storage_suffix,
            cloud.key_vault_suffix,
            cloud.event_grid_audience.removeprefix("https://"),
        ]
        for cloud in CLOUDS.values()
    ]


def test_the_documented_name_of_the_pat_secret_is_the_deployed_one() -> None:
    (name,) = re.findall(r"AZURE_DEVOPS_PAT_SECRET_NAME: '([^']+)'", bicep.read("modules/function-app.bicep"))
    assert f"--name {name} " in SETUP


@pytest.mark.parametrize("name", ["deploying", "azure-devops-setup", "operating", "notifications"])
def test_documented_outputs_and_values_exist(name: str) -> None:
    document = (ROOT / "docs" / f"{name}.md").read_text()
    workflows = "".join(file.read_text() for file in (ROOT / ".github" / "workflows").glob("*.yml"))
    pipelines = set(re.findall(r"\bvars\.(\w+)", workflows)) | set(AZURE_YAML["pipeline"]["variables"])
    known = bicep.outputs("main.bicep") | set(PARAMETERS) | READ_BY_THE_HOOK | pipelines
    assert set(re.findall(r"\b(NEXTSTAGE_\w+|AZURE_RESOURCE_GROUP)\b", document)) <= known
