"""The parts of the deployment fit each other: Bicep, parameters, hooks, and what the app calls itself."""

import json
import re

import pytest
import yaml

from handlers import DISPATCH
from shared.clouds import CLOUDS
from tests.infra import bicep
from tests.infra.bicep import INFRA
from tests.support import ROOT

HOOKS = ("preprovision", "postdeploy", "postdown")
EVENTS = bicep.read("events/subscriptions.bicep")

BUILT_IN_ROLES = {
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "d5a91429-5739-47e2-a06b-3470a27159e7": "EventGrid Data Sender",
}


def hook(name: str) -> str:
    return (INFRA / "hooks" / name).read_text()


def test_the_parameters_file_gives_what_the_template_wants() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    wanted = bicep.params("main.bicep")
    assert set(given) <= set(wanted)
    assert {name for name, default in wanted.items() if default is None} <= set(given)
    for name, default in wanted.items():
        value = str(given.get(name, {}).get("value", ""))
        if default is not None and "=" in value:
            assert value.partition("=")[2].rstrip("}") == default.strip("'"), name


@pytest.mark.parametrize("path", bicep.every_file())
def test_every_module_is_given_what_it_wants(path: str) -> None:
    text = bicep.read(path)
    for name, module in re.findall(r"(?m)^module (\w+) '([^']+)'", text):
        body = bicep.object_at(text, text.index("{", text.index(f"module {name} '")))
        given = bicep.object_at(body["params"], 0)
        folder = path.rpartition("/")[0]
        wanted = bicep.params(f"{folder}/{module}" if folder else module)
        assert set(given) == set(wanted), name


def test_azd_down_can_delete_nothing_but_our_own_group() -> None:
    """azd deletes every resource group that a resource of its deployment is in, whoever made the group."""
    text = bicep.read("main.bicep")
    modules = re.findall(r"(?m)^module (\w+) '", text)
    assert len(re.findall(r"(?m)^  scope: group$", text)) == len(modules) > 5
    assert re.findall(r"(?m)^resource (\w+) ", text) == ["group"]
    for module in re.findall(r"(?m)^module \w+ '([^']+)'", text):
        assert "resourceGroup(" not in bicep.read(module).replace("resourceGroup()", ""), module


def test_no_module_comes_from_a_registry() -> None:
    """What is deployed is in this repository, and can be checked without a network."""
    for path in bicep.every_file():
        assert not re.findall(r"'(?:br|ts)[:/]", bicep.read(path)), path


@pytest.mark.parametrize("path", bicep.every_file())
def test_no_endpoint_of_one_cloud_is_written_down(path: str) -> None:
    """Endpoints come from the resources themselves, and so from the cloud that is deployed to."""
    text = bicep.read(path)
    suffixes = {suffix for cloud in CLOUDS.values() for suffix in (cloud.storage_suffix, cloud.key_vault_suffix)}
    assert [suffix for suffix in sorted(suffixes) if suffix in text] == []


@pytest.mark.parametrize("path", bicep.every_file())
def test_every_role_is_known_and_says_why(path: str) -> None:
    text = (INFRA / path).read_text()
    assert set(re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", text)) <= set(BUILT_IN_ROLES)
    assignments = list(re.finditer(r"(?m)^resource \w+ 'Microsoft.Authorization/roleAssignments", text))
    for match in assignments:
        # Right before it; or at the top of a file that is there for this one role.
        before = "" if len(assignments) == 1 else text[: match.start()]
        assert (before.rstrip() or text).splitlines()[-1 if before else 0].startswith("//"), match[0]


def test_the_five_types_are_subscribed_to_once_each() -> None:
    lists = re.findall(r"includedEventTypes: \[(.*?)\]", EVENTS, re.DOTALL)
    types = [name for text in lists for name in re.findall(r"'([^']+)'", text)]
    assert sorted(types) == sorted(DISPATCH)
    # A filter on data.runStatus would drop every event without one.
    (filtered,) = re.findall(r"resource \w+ [^\n]*\n(?:(?!\nresource ).)*advancedFilters", EVENTS, re.DOTALL)[-1:]
    assert re.findall(r"'(Microsoft\.MachineLearningServices\.\w+)'", filtered.rpartition("resource ")[2]) == [
        "Microsoft.MachineLearningServices.RunStatusChanged"
    ]


def test_events_go_to_the_function_that_there_is() -> None:
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
    assert document["services"]["app"] == {"project": ".", "language": "python", "host": "function"}
    assert "'azd-service-name': 'app'" in bicep.read("main.bicep")


def test_the_hook_gives_the_event_template_what_it_wants() -> None:
    for text in ("postdeploy.sh", "postdeploy.ps1"):
        given = re.findall(r'^\s+"(\w+)=\$', hook(text), re.MULTILINE)
        assert set(given) == set(bicep.params("events/main.bicep")), text


def test_what_the_hooks_read_is_set_by_azd_or_by_a_person() -> None:
    by_azd = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID"}
    # Without the last, the hooks have a value of their own.
    by_a_person = {"AML_WORKSPACE_ID", "NEXTSTAGE_WAITS", "NEXTSTAGE_RUN_STATUSES", "NEXTSTAGE_HOOK_PAUSE_SECONDS"}
    for suffix in ("sh", "ps1"):
        text = "".join(hook(f"{name}.{suffix}") for name in ("azure", *HOOKS))
        read = set(re.findall(r"\b((?:AZURE|AML|NEXTSTAGE)_[A-Z_]+[A-Z])\b", text))
        assert read - bicep.outputs("main.bicep") == by_azd | by_a_person, suffix


@pytest.mark.parametrize("name", ["azure", *HOOKS])
def test_both_shells_do_the_same(name: str) -> None:
    """PowerShell is not everywhere to run them, so that their commands and their words are compared."""
    posix, windows = hook(f"{name}.sh"), hook(f"{name}.ps1")
    assert commands(posix) == commands(windows) != set()
    assert words(posix) == words(windows) != []


def commands(text: str) -> set[str]:
    """The Azure CLI's commands in a hook, without their options."""
    text = re.sub(r"\bon_topic (?=\w)", "az eventgrid system-topic event-subscription ", text)
    found = re.findall(r"\baz ((?:account|deployment|eventgrid|resource)(?: [a-z-]+)*) (?:--|@)", text)
    return set(found)


def words(text: str) -> list[str]:
    """What a hook says, in order: letters only, since the shells quote, break and fill in differently."""
    text = re.sub(r"\\\n|[\"'] \+\n", "", text)
    said = re.findall(r"(?i:\b(?:fail|say)) \(?[\"'](.*)[\"']", text)
    filled_in = r"\$\(\$?[^)]*\)\)?|\$\w+:?\w*|\$\{[^}]*\}"
    return [re.sub(r"[^a-z]", "", re.sub(filled_in, "", line)) for line in said]
