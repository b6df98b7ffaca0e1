"""The parts of the deployment agree: Bicep, parameters, hooks and the names that the app uses."""

import json
import re

import pytest
import yaml

from shared.clouds import CLOUDS
from tests.infra import bicep
from tests.infra.bicep import BUILT_IN_ROLES, INFRA
from tests.support import ROOT
from tools.azure import checking, event_resources, plan
from tools.azure.sources import SOURCES

HOOKS = ("preprovision", "predeploy", "postdeploy", "postdown")


def test_the_parameters_file_sets_the_parameters_of_the_template() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    wanted = bicep.params("main.bicep")
    assert set(given) <= set(wanted)
    assert {name for name, default in wanted.items() if default is None} <= set(given)
    for name, default in wanted.items():
        value = str(given.get(name, {}).get("value", ""))
        if default is not None and "=" in value:
            assert value.partition("=")[2].rstrip("}") == default.strip("'"), name


def test_no_module_comes_from_a_registry() -> None:
    """The whole deployment is in this repository and can be checked without a network."""
    for path in bicep.every_file():
        assert not re.findall(r"'(?:br|ts)[:/]", bicep.read(path)), path


@pytest.mark.parametrize("path", bicep.every_file())
def test_no_endpoint_of_a_cloud_is_hard_coded(path: str) -> None:
    """Endpoints come from the resources, and therefore from the cloud of the deployment."""
    text = bicep.read(path)
    suffixes = {suffix for cloud in CLOUDS.values() for suffix in (cloud.storage_suffix, cloud.key_vault_suffix)}
    assert [suffix for suffix in sorted(suffixes) if suffix in text] == []


@pytest.mark.parametrize("path", bicep.every_file())
def test_every_role_is_known_and_has_a_comment(path: str) -> None:
    text = (INFRA / path).read_text()
    assert set(re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", text)) <= set(BUILT_IN_ROLES)
    assignments = list(re.finditer(r"(?m)^resource \w+ 'Microsoft.Authorization/roleAssignments", text))
    for match in assignments:
        # Right before the role, or at the top of a file that contains only this role.
        before = "" if len(assignments) == 1 else text[: match.start()]
        assert (before.rstrip() or text).splitlines()[-1 if before else 0].startswith("//"), match[0]


def test_the_roles_that_connect_gives_are_known() -> None:
    given = [event_resources.CONTRIBUTOR, event_resources.READER]
    assert [BUILT_IN_ROLES[role] for role in given] == ["Storage Blob Data Contributor", "Reader"]


def test_events_go_to_the_function_of_the_app() -> None:
    functions = re.findall(
        r'@app\.function_name\("(\w+)"\)\n@app\.event_grid_trigger', (ROOT / "function_app.py").read_text()
    )
    assert functions == [event_resources.FUNCTION]
    assert re.findall(r"name: 'function:(\w+)'", bicep.read("modules/function-app.bicep")) == functions


def test_azure_yaml_names_the_hooks() -> None:
    """They need no shell. A virtual environment of this name is ignored by git and by all checks."""
    document = yaml.safe_load((ROOT / "azure.yaml").read_text())
    assert document["hooks"] == {
        name: {
            "run": f"infra/hooks/{name}.py",
            "kind": "python",
            "interactive": True,
            "config": {"virtualEnvName": ".venv"},
        }
        for name in HOOKS
    }
    assert all((ROOT / hook["run"]).is_file() for hook in document["hooks"].values())


def test_the_deployment_needs_no_shell() -> None:
    assert [path.name for path in INFRA.rglob("*") if path.suffix in {".sh", ".ps1", ".cmd", ".bat"}] == []


def test_the_variables_that_connect_reads_are_set_by_azd_or_by_a_person() -> None:
    by_azd = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID"}
    by_a_person = {*plan.WORKSPACE_VARIABLES, SOURCES, plan.WAITS, plan.RUN_STATUSES, checking.PYTHON}
    constants = (*vars(plan).values(), checking.LOCATION, checking.PYTHON)
    read = {text for text in constants if isinstance(text, str) and re.fullmatch("(AZURE|NEXTSTAGE)_[A-Z_]+", text)}
    assert {*read, *plan.WORKSPACE_VARIABLES} - bicep.outputs("main.bicep") == by_azd | by_a_person
