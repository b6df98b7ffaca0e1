"""The hooks for POSIX shells, run as processes with a stand-in for the Azure CLI."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import INFRA

SUBSCRIPTION = "0f0f0f0f-1111-2222-3333-444444444444"
OTHER_SUBSCRIPTION = "1e1e1e1e-1111-2222-3333-444444444444"
WORKSPACE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ml/providers/Microsoft.MachineLearningServices/workspaces/ws"
APP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-dev/providers/Microsoft.Web/sites/func-1"
PREFIX = "nextstage-dev-0f0f0f0f"
OURS = [PREFIX, f"{PREFIX}-run-status"]
TOOLS = ("sh", "awk", "cut", "dirname", "grep", "sleep", "tr")


@dataclass
class Cloud:
    """What the stand-in knows, and a shell that knows nothing but it."""

    folder: Path
    environment: dict[str, str]
    state: dict[str, Any] = field(default_factory=dict)

    def run(self, hook: str, **environment: str | None) -> "subprocess.CompletedProcess[str]":
        changed = {name: value for name, value in (self.environment | environment).items() if value is not None}
        (self.folder / "state.json").write_text(json.dumps(self.state))
        done = subprocess.run(
            [self.folder / "bin" / "sh", INFRA / "hooks" / f"{hook}.sh"],
            env=changed,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.state = json.loads((self.folder / "state.json").read_text())
        return done

    def refusal(self, hook: str, **environment: str | None) -> str:
        """What it says where it stops."""
        done = self.run(hook, **environment)
        assert done.returncode == 1
        assert done.stderr.startswith("nextstage: ")
        return done.stderr

    def success(self, hook: str, **environment: str | None) -> str:
        """What it says where all went well."""
        done = self.run(hook, **environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def calls(self, command: str) -> list[list[str]]:
        """The arguments of every call of a command so far."""
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if " ".join(call).startswith(command)]

    def deployed(self) -> dict[str, str]:
        """The parameters of the last deployment."""
        call = self.calls("deployment sub create")[-1]
        return dict(pair.split("=", 1) for pair in call[call.index("--parameters") + 1 :])


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, f"these tests need {tool}"
        (bin_folder / tool).symlink_to(found)
    az = bin_folder / "az"
    az.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "stand_in_az.py"} "$@"\n')
    az.chmod(0o755)
    environment = {
        "PATH": str(bin_folder),
        "AZ_STATE": str(tmp_path / "state.json"),
        "AZ_CALLS": str(tmp_path / "calls.jsonl"),
        "AZURE_ENV_NAME": "dev",
        "AZURE_LOCATION": "northeurope",
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
        "AZURE_RESOURCE_GROUP": "rg-dev",
        "AML_WORKSPACE_ID": WORKSPACE,
        "NEXTSTAGE_FUNCTION_APP_ID": APP,
        "NEXTSTAGE_STORAGE_ACCOUNT_ID": "/storage",
        "NEXTSTAGE_DEAD_LETTER_CONTAINER": "dead-letters",
        "NEXTSTAGE_IDENTITY_PRINCIPAL_ID": "app-principal",
        "NEXTSTAGE_ACTION_GROUP_ID": "",
        "NEXTSTAGE_HOOK_PAUSE_SECONDS": "0",
    }
    state = {
        "signed_in": True,
        "subscriptions": [SUBSCRIPTION],
        "workspace": WORKSPACE,
        "topics": [],
        "may_list": True,
        "looks_until_function": 0,
        "failing_deployments": 0,
    }
    return Cloud(tmp_path, environment, state)


def topic(name: str, *subscriptions: str, identity: str | None = "p", source: str = WORKSPACE) -> dict[str, Any]:
    return {
        "source": source,
        "name": name,
        "group": "elsewhere",
        "identity": identity,
        "subscriptions": [*subscriptions],
    }


@pytest.mark.parametrize("hook", ["preprovision", "postdeploy", "postdown"])
class TestEveryHook:
    def test_without_the_azure_cli(self, cloud: Cloud, hook: str) -> None:
        (cloud.folder / "bin" / "az").unlink()
        assert cloud.refusal(hook) == (
            "nextstage: the Azure CLI (az) is not on the PATH; install it (https://aka.ms/azure-cli), run 'az login' "
            "and try again\n"
        )

    def test_not_signed_in(self, cloud: Cloud, hook: str) -> None:
        cloud.state["signed_in"] = False
        assert "is not signed in ('azd auth login' does not count for it); run 'az login'" in cloud.refusal(hook)
        assert cloud.calls("") == [["account", "show", "--output", "none"]]

    def test_signed_in_as_somebody_who_may_not_see_the_subscription(self, cloud: Cloud, hook: str) -> None:
        cloud.state["subscriptions"] = []
        assert f"may not see the subscription {SUBSCRIPTION}" in cloud.refusal(hook)

    @pytest.mark.parametrize("value", [None, ""])
    def test_no_workspace_is_named(self, cloud: Cloud, hook: str, value: str | None) -> None:
        text = cloud.refusal(hook, AML_WORKSPACE_ID=value)
        assert "AML_WORKSPACE_ID is not set; run 'azd env set AML_WORKSPACE_ID <id>'" in text

    @pytest.mark.parametrize("value", ["ws", APP, WORKSPACE + "/jobs/j", "x" + WORKSPACE])
    def test_something_else_than_a_workspace(self, cloud: Cloud, hook: str, value: str) -> None:
        text = cloud.refusal(hook, AML_WORKSPACE_ID=value)
        assert f"AML_WORKSPACE_ID is not the resource id of an Azure ML workspace: {value}; it has the form" in text

    def test_system_topics_that_may_not_be_listed(self, cloud: Cloud, hook: str) -> None:
        cloud.state["may_list"] = False
        assert "cannot be listed; ask for the role EventGrid Contributor" in cloud.refusal(hook)
        assert cloud.calls("deployment") == cloud.calls("eventgrid system-topic delete") == []


class TestPreprovision:
    def test_all_is_well(self, cloud: Cloud) -> None:
        assert cloud.success("preprovision") == "nextstage: the Azure CLI is signed in and sees the workspace ws\n"

    def test_azd_has_not_asked_for_the_subscription_yet(self, cloud: Cloud) -> None:
        cloud.success("preprovision", AZURE_SUBSCRIPTION_ID=None)

    def test_no_such_workspace(self, cloud: Cloud) -> None:
        cloud.state["workspace"] = "/another"
        assert f"there is no workspace {WORKSPACE} that you may read" in cloud.refusal("preprovision")

    def test_a_system_topic_that_cannot_write_dead_letters(self, cloud: Cloud) -> None:
        cloud.state["topics"] = [topic("theirs", identity=None)]
        assert (
            f"az eventgrid system-topic update --subscription {SUBSCRIPTION} --resource-group elsewhere --name theirs "
            "--identity systemassigned"
        ) in cloud.refusal("preprovision")

    def test_a_system_topic_that_can_and_others_that_are_no_concern(self, cloud: Cloud) -> None:
        cloud.state["topics"] = [topic("storage", identity=None, source="/storage"), topic("theirs")]
        cloud.success("preprovision")

    def test_it_makes_nothing(self, cloud: Cloud) -> None:
        before = json.dumps(cloud.state)
        cloud.success("preprovision")
        assert json.dumps(cloud.state) == before


class TestPostdeploy:
    def test_the_first_run(self, cloud: Cloud) -> None:
        said = cloud.success("postdeploy")
        assert said == f"nextstage: events of the workspace ws come to func-1 by the system topic {PREFIX}\n"
        (made,) = cloud.state["topics"]
        assert made == topic(PREFIX, *OURS) | {"group": "ml"}
        call = cloud.calls("deployment sub create")[0]
        assert call[call.index("--name") + 1] == PREFIX
        assert Path(call[call.index("--template-file") + 1]).resolve() == INFRA / "events" / "main.bicep"
        assert cloud.deployed() == {
            "workspaceId": WORKSPACE,
            "workspaceLocation": "westeurope",
            "systemTopicName": PREFIX,
            "systemTopicResourceGroup": "ml",
            "createSystemTopic": "true",
            "environmentName": "dev",
            "namePrefix": PREFIX,
            "resourceGroupName": "rg-dev",
            "functionAppId": APP,
            "storageAccountId": "/storage",
            "deadLetterContainerName": "dead-letters",
            "appPrincipalId": "app-principal",
            "waits": "false",
            "runStatuses": "",
            "actionGroupId": "",
        }

    def test_the_second_run_changes_nothing(self, cloud: Cloud) -> None:
        cloud.success("postdeploy")
        first, topics = cloud.deployed(), json.dumps(cloud.state["topics"])
        cloud.success("postdeploy")
        assert (cloud.deployed(), json.dumps(cloud.state["topics"])) == (first, topics)

    def test_a_workspace_that_has_a_system_topic_keeps_it(self, cloud: Cloud) -> None:
        cloud.state["topics"] = [topic("theirs", "their-subscription", source=WORKSPACE.upper())]
        assert "by the system topic theirs" in cloud.success("postdeploy")
        given = cloud.deployed()
        assert (given["systemTopicName"], given["systemTopicResourceGroup"]) == ("theirs", "elsewhere")
        assert given["createSystemTopic"] == "false"
        assert cloud.state["topics"][0]["subscriptions"] == ["their-subscription", *OURS]

    def test_an_environment_of_the_same_name_elsewhere_is_not_ours(self, cloud: Cloud) -> None:
        cloud.success("postdeploy")
        cloud.state["subscriptions"] = [OTHER_SUBSCRIPTION]
        cloud.success("postdeploy", AZURE_SUBSCRIPTION_ID=OTHER_SUBSCRIPTION)
        assert cloud.deployed()["createSystemTopic"] == "false"
        assert cloud.state["topics"][0]["subscriptions"] == [
            *OURS,
            "nextstage-dev-1e1e1e1e",
            "nextstage-dev-1e1e1e1e-run-status",
        ]

    def test_names_are_as_event_grid_allows(self, cloud: Cloud) -> None:
        cloud.success("postdeploy", AZURE_ENV_NAME="a_b.c (d)" + "x" * 60)
        assert cloud.deployed()["namePrefix"] == "nextstage-a-b-c--d-" + "x" * 21 + "-0f0f0f0f"

    def test_what_a_person_has_set_is_passed_on(self, cloud: Cloud) -> None:
        cloud.success(
            "postdeploy",
            NEXTSTAGE_WAITS="true",
            NEXTSTAGE_RUN_STATUSES="Completed,Failed",
            NEXTSTAGE_ACTION_GROUP_ID="/group",
        )
        given = cloud.deployed()
        assert (given["waits"], given["runStatuses"], given["actionGroupId"]) == ("true", "Completed,Failed", "/group")

    def test_it_waits_until_the_function_is_there(self, cloud: Cloud) -> None:
        cloud.state["looks_until_function"] = 3
        said = cloud.success("postdeploy").splitlines()
        assert said[:2] == [f"nextstage: waiting for the function aml_event ({turn} of 20)" for turn in (1, 2)]

    def test_a_function_that_never_comes(self, cloud: Cloud) -> None:
        cloud.state["looks_until_function"] = 1000
        text = cloud.refusal("postdeploy")
        assert "the app does not show its function aml_event" in text
        assert "traces | where severityLevel >= 3" in text
        assert cloud.calls("deployment") == []

    def test_a_role_that_has_not_arrived_is_waited_for(self, cloud: Cloud) -> None:
        cloud.state["failing_deployments"] = 2
        done = cloud.run("postdeploy")
        assert done.returncode == 0
        assert done.stdout.count("trying again, as a new role may not have arrived yet") == 2

    def test_a_deployment_that_always_fails(self, cloud: Cloud) -> None:
        cloud.state["failing_deployments"] = 1000
        done = cloud.run("postdeploy")
        assert done.returncode == 1
        assert "could not be made; the reason is above. Mend it, then run 'azd hooks run postdeploy'" in done.stderr
        assert len(cloud.calls("deployment")) == 4

    @pytest.mark.parametrize("name", ["AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME", "NEXTSTAGE_FUNCTION_APP_ID"])
    def test_before_anything_is_provisioned(self, cloud: Cloud, name: str) -> None:
        assert f"{name} is not set; run 'azd provision' first" in cloud.refusal("postdeploy", **{name: None})


class TestPostdown:
    def test_it_removes_what_postdeploy_has_made_and_runs_twice(self, cloud: Cloud) -> None:
        cloud.success("postdeploy")
        gone = dict.fromkeys(name for name in cloud.environment if name.startswith("NEXTSTAGE_"))
        assert cloud.success("postdown", **gone).splitlines() == [
            f"nextstage: deleted the event subscription {OURS[0]}",
            f"nextstage: deleted the event subscription {OURS[1]}",
            f"nextstage: deleted the system topic {PREFIX}",
        ]
        assert cloud.state["topics"] == []
        assert "nothing is left to remove" in cloud.success("postdown", **gone)

    @pytest.mark.parametrize("name", ["AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME"])
    def test_without_azd(self, cloud: Cloud, name: str) -> None:
        cloud.success("postdeploy")
        assert f"{name} is not set; run this by azd" in cloud.refusal("postdown", **{name: None})
        assert cloud.state["topics"][0]["subscriptions"] == OURS

    def test_a_system_topic_of_others_stays(self, cloud: Cloud) -> None:
        cloud.state["topics"] = [topic("theirs", "their-subscription", *OURS)]
        assert "the system topic theirs stays" in cloud.success("postdown")
        assert cloud.state["topics"] == [topic("theirs", "their-subscription")]

    def test_our_system_topic_stays_where_others_have_come_to_use_it(self, cloud: Cloud) -> None:
        cloud.state["topics"] = [topic(PREFIX, *OURS, "their-subscription")]
        assert f"the system topic {PREFIX} stays" in cloud.success("postdown")
        assert cloud.state["topics"] == [topic(PREFIX, "their-subscription")]
