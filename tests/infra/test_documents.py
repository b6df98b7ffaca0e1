"""The pages on deploying, Azure DevOps, operating and notifications agree with the deployment and the code."""

import json
import re

import pytest

from shared.clouds import CLOUDS
from tests.infra import bicep
from tests.infra.bicep import INFRA
from tests.support import ROOT
from tests.support.docs import codes, rows, section

DEPLOYING = (ROOT / "docs" / "deploying.md").read_text()
SETUP = (ROOT / "docs" / "azure-devops-setup.md").read_text()
PARAMETERS = {
    name: default or ""
    for entry in json.loads((INFRA / "main.parameters.json").read_text())["parameters"].values()
    for name, default in re.findall(r"\$\{(\w+)(?:=([^}]*))?\}", str(entry["value"]))
}
READ_BY_THE_HOOK = {"AML_WORKSPACE_ID", "NEXTSTAGE_RUN_STATUSES", "NEXTSTAGE_WAITS"}


def test_every_value_is_documented_with_its_default() -> None:
    table = {codes(row[0])[0]: row for row in rows(section(DEPLOYING, "Configuration"))}
    assert set(table) == (set(PARAMETERS) | READ_BY_THE_HOOK) - {"AZURE_ENV_NAME", "AZURE_LOCATION"}
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
    meanings = {codes(row[0])[0]: row[1] + row[2] for row in rows(section(DEPLOYING, "Configuration"))}
    for name, param in (
        ("NEXTSTAGE_OPERATOR_PRINCIPAL_TYPE", "operatorPrincipalType"),
        ("NEXTSTAGE_PYTHON_VERSION", "pythonVersion"),
        ("AZURE_DEVOPS_AUTH", "azureDevOpsAuth"),
    ):
        assert set(codes(meanings[name])) == set(allowed[param]), name


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
    known = bicep.outputs("main.bicep") | set(PARAMETERS) | READ_BY_THE_HOOK
    assert set(re.findall(r"\b(NEXTSTAGE_\w+|AZURE_RESOURCE_GROUP)\b", document)) <= known
