"""The parts of the deployment agree: Bicep, parameters, hooks and the names that the app uses."""

import json
import re

import pytest
import yaml

from handlers import DISPATCH
from shared.clouds import CLOUDS
from tests.infra import bicep
from tests.infra.bicep import BUILT_IN_ROLES, INFRA
from tests.support import ROOT

HOOKS = ("preprovision", "postdeploy", "postdown")
EVENTS = bicep.read("events/subscriptions.bicep")


def hook(name: str) -> str:
    return (INFRA / "hooks" / name).read_text()


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


def test_each_event_type_is_in_exactly_one_subscription() -> None:
    lists = re.findall(r"includedEventTypes: \[(.*?)\]", EVENTS, re.DOTALL)
    types = [name for text in lists for name in re.findall(r"'([^']+)'", text)]
    assert sorted(types) == sorted(DISPATCH)
    # A filter on data.runStatus would drop every event without a status.
    (filtered,) = re.findall(r"resource \w+ [^\n]*\n(?:(?!\nresource ).)*advancedFilters", EVENTS, re.DOTALL)[-1:]
    assert re.findall(r"'(Microsoft\.MachineLearningServices\.\w+)'", filtered.rpartition("resource ")[2]) == [
        "Microsoft.MachineLearningServices.RunStatusChanged"
    ]


def test_events_go_to_the_function_of_the_app() -> None:
    functions = re.findall(
        r'@app\.function_name\("(\w+)"\)\n@app\.event_grid_trigger', (ROOT / "function_app.py").read_text()
    )
    assert functions == ["aml_event"]
    assert re.findall(r"/functions/(\w+)'", bicep.read("events/main.bicep")) == functions
    assert re.findall(r"name: 'function:(\w+)'", bicep.read("modules/function-app.bicep")) == functions
    assert {
        name for text in ("postdeploy.sh", "postdeploy.ps1") for name in re.findall(r"/functions/(\w+)", hook(text))
    } == {"aml_event"}


def test_azure_yaml_names_the_hooks_for_both_shells() -> None:
    document = yaml.safe_load((ROOT / "azure.yaml").read_text())
    assert set(document["hooks"]) == set(HOOKS)
    for name in HOOKS:
        for system, shell, suffix in (("posix", "sh", "sh"), ("windows", "pwsh", "ps1")):
            entry = document["hooks"][name][system]
            assert entry == {"shell": shell, "run": f"./infra/hooks/{name}.{suffix}"}
            assert (ROOT / entry["run"]).is_file()


def test_the_hook_sets_the_parameters_of_the_event_template() -> None:
    for text in ("postdeploy.sh", "postdeploy.ps1"):
        given = re.findall(r'^\s+"(\w+)=\$', hook(text), re.MULTILINE)
        assert set(given) == set(bicep.params("events/main.bicep")), text


def test_the_variables_that_hooks_read_are_set_by_azd_or_by_a_person() -> None:
    by_azd = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID"}
    # The last one has a default in the hooks.
    by_a_person = {"AML_WORKSPACE_ID", "NEXTSTAGE_WAITS", "NEXTSTAGE_RUN_STATUSES", "NEXTSTAGE_HOOK_PAUSE_SECONDS"}
    for suffix in ("sh", "ps1"):
        text = "".join(hook(f"{name}.{suffix}") for name in ("azure", *HOOKS))
        read = set(re.findall(r"\b((?:AZURE|AML|NEXTSTAGE)_[A-Z_]+[A-Z])\b", text))
        assert read - bicep.outputs("main.bicep") == by_azd | by_a_person, suffix


@pytest.mark.parametrize("name", ["azure", *HOOKS])
def test_both_shells_do_the_same(name: str) -> None:
    """The commands and messages of the hooks are compared, because PowerShell is not always available to run them."""
    posix, windows = hook(f"{name}.sh"), hook(f"{name}.ps1")
    assert commands(posix) == commands(windows) != set()
    assert words(posix) == words(windows) != []


def commands(text: str) -> set[str]:
    """Return the Azure CLI commands in a hook, without their options."""
    text = re.sub(r"\bon_topic (?=\w)", "az eventgrid system-topic event-subscription ", text)
    found = re.findall(r"\baz ((?:account|deployment|eventgrid|resource)(?: [a-z-]+)*) (?:--|@)", text)
    return set(found)


def words(text: str) -> list[str]:
    """Return the messages of a hook in order. Only letters, because quoting and variables differ between the shells."""
    text = re.sub(r"\\\n|[\"'] \+\n", "", text)
    said = re.findall(r"(?i:\b(?:fail|say)) \(?[\"'](.*)[\"']", text)
    filled_in = r"\$\(\$?[^)]*\)\)?|\$\w+:?\w*|\$\{[^}]*\}"
    return [re.sub(r"[^a-z]", "", re.sub(filled_in, "", line)) for line in said]
