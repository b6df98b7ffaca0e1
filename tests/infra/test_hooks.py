"""The hooks for POSIX shells, run as processes with a stand-in for the Azure CLI."""

from pathlib import Path

import pytest

from tests.infra.bicep import INFRA
from tests.support.agent import Agent, Answer, Ended

SUBSCRIPTION = "0f0f0f0f-1111-2222-3333-444444444444"
OTHER_SUBSCRIPTION = "1e1e1e1e-1111-2222-3333-444444444444"
WORKSPACE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ml/providers/Microsoft.MachineLearningServices/workspaces/ws"
APP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-dev/providers/Microsoft.Web/sites/func-1"
PREFIX = "nextstage-dev-0f0f0f0f"
OURS = [PREFIX, f"{PREFIX}-run-status"]
TOOLS = ("sh", "awk", "cut", "dirname", "grep", "sleep", "tr")
ENVIRONMENT = {
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
TOPICS, SUBSCRIPTIONS = "eventgrid system-topic list", "eventgrid system-topic event-subscription list"
FUNCTION, DEPLOYMENT = f"resource show --ids {APP}/functions/aml_event ", "deployment sub create"
YES: Answer = {}
NO: Answer = {"code": 1}

FIRST = {
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
LONG_NAME = "a_b.c (d)" + "x" * 60
LONG_PREFIX = "nextstage-a-b-c--d-" + "x" * 21 + "-0f0f0f0f"  # as Event Grid allows
THEIRS = {"systemTopicName": "theirs", "systemTopicResourceGroup": "elsewhere", "createSystemTopic": "false"}


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """An Azure CLI that is signed in, and a workspace that has no system topic yet."""
    return Agent(
        tmp_path,
        {
            "account show --output none": [YES],
            f"account show --subscription {SUBSCRIPTION} ": [YES],
            f"account show --subscription {OTHER_SUBSCRIPTION} ": [YES],
            FUNCTION: [YES],
            f"resource show --ids {WORKSPACE} *location": ["westeurope"],
            f"resource show --ids {WORKSPACE} ": [YES],
            TOPICS: [""],
            SUBSCRIPTIONS: [""],
            "event-subscription delete*--yes": [YES],
            "system-topic delete*--yes": [YES],
            DEPLOYMENT: [YES],
        },
        tools=TOOLS,
        may_write_to_stderr=True,
    )


def topic(name: str, *, group: str = "elsewhere", identity: str = "p", source: str = WORKSPACE) -> str:
    """A line of the list of system topics, as az writes it."""
    return f"{source}\t{name}\t{group}\t{identity}"


def run(agent: Agent, hook: str, **environment: str | None) -> Ended:
    """None leaves a variable out."""
    changed = {name: value for name, value in (ENVIRONMENT | environment).items() if value is not None}
    return agent.run(INFRA / "hooks" / f"{hook}.sh", **changed)


def refusal(agent: Agent, hook: str, **environment: str | None) -> str:
    """What it says where it stops."""
    ended = run(agent, hook, **environment)
    assert ended.code == 1
    assert ended.err.startswith("nextstage: ")
    return ended.err


def success(agent: Agent, hook: str, **environment: str | None) -> list[str]:
    """The lines that it says where all went well."""
    ended = run(agent, hook, **environment)
    assert (ended.code, ended.err) == (0, "")
    return [line.removeprefix("nextstage: ") for line in ended.out.splitlines()]


def changes(agent: Agent) -> list[str]:
    """The commands so far that change something."""
    return [call.command for call in agent.calls if call.command.endswith(("create", "delete"))]


@pytest.mark.parametrize("hook", ["preprovision", "postdeploy", "postdown"])
class TestEveryHook:
    def test_without_the_azure_cli(self, agent: Agent, hook: str) -> None:
        (agent.bin / "az").unlink()
        assert refusal(agent, hook) == (
            "nextstage: the Azure CLI (az) is not on the PATH; install it (https://aka.ms/azure-cli), run 'az login' "
            "and try again\n"
        )

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            ("account show --output none", "is not signed in ('azd auth login' does not count for it); run 'az login'"),
            (f"account show --subscription {SUBSCRIPTION} ", f"may not see the subscription {SUBSCRIPTION}"),
            (TOPICS, "cannot be listed; ask for the role EventGrid Contributor"),
        ],
    )
    def test_what_the_azure_cli_may_not_do(self, agent: Agent, hook: str, command: str, said: str) -> None:
        agent.plan[command] = [NO]
        assert said in refusal(agent, hook)
        assert command.strip() in " ".join(agent.calls[-1].arguments), "it ends there"
        assert changes(agent) == []

    @pytest.mark.parametrize("value", [None, ""])
    def test_no_workspace_is_named(self, agent: Agent, hook: str, value: str | None) -> None:
        text = refusal(agent, hook, AML_WORKSPACE_ID=value)
        assert "AML_WORKSPACE_ID is not set; run 'azd env set AML_WORKSPACE_ID <id>'" in text

    @pytest.mark.parametrize("value", ["ws", APP, WORKSPACE + "/jobs/j", "x" + WORKSPACE])
    def test_something_else_than_a_workspace(self, agent: Agent, hook: str, value: str) -> None:
        text = refusal(agent, hook, AML_WORKSPACE_ID=value)
        assert f"AML_WORKSPACE_ID is not the resource id of an Azure ML workspace: {value}; it has the form" in text


class TestPreprovision:
    # Topics of other sources do not matter. Before the first `azd provision`, azd has not asked for the subscription.
    @pytest.mark.parametrize("topics", ["", topic("x", identity="None", source="/storage") + "\n" + topic("theirs")])
    @pytest.mark.parametrize("subscription", [SUBSCRIPTION, None])
    def test_all_is_well_and_nothing_made(self, agent: Agent, topics: str, subscription: str | None) -> None:
        agent.plan[TOPICS] = [topics]
        said = success(agent, "preprovision", AZURE_SUBSCRIPTION_ID=subscription)
        assert said == ["the Azure CLI is signed in and sees the workspace ws"]
        assert changes(agent) == []

    def test_no_such_workspace(self, agent: Agent) -> None:
        agent.plan[f"resource show --ids {WORKSPACE} "] = [{"code": 3}]
        assert f"there is no workspace {WORKSPACE} that you may read" in refusal(agent, "preprovision")

    def test_a_system_topic_that_cannot_write_dead_letters(self, agent: Agent) -> None:
        agent.plan[TOPICS] = [topic("theirs", identity="None")]
        assert (
            f"az eventgrid system-topic update --subscription {SUBSCRIPTION} --resource-group elsewhere --name theirs "
            "--identity systemassigned"
        ) in refusal(agent, "preprovision")


class TestPostdeploy:
    @pytest.mark.parametrize(
        ("topics", "environment", "given"),
        [
            ("", {}, {}),
            (topic(PREFIX, group="ml"), {}, {}),  # the second run
            (topic("theirs", source=WORKSPACE.upper()), {}, THEIRS),
            (
                topic(PREFIX, group="ml"),  # of an environment with the same name in another subscription
                {"AZURE_SUBSCRIPTION_ID": OTHER_SUBSCRIPTION},
                {"createSystemTopic": "false", "namePrefix": "nextstage-dev-1e1e1e1e"},
            ),
            (
                "",
                {"AZURE_ENV_NAME": LONG_NAME},
                {"environmentName": LONG_NAME, "namePrefix": LONG_PREFIX, "systemTopicName": LONG_PREFIX},
            ),
            (
                "",
                {
                    "NEXTSTAGE_WAITS": "true",
                    "NEXTSTAGE_RUN_STATUSES": "Completed,Failed",
                    "NEXTSTAGE_ACTION_GROUP_ID": "/group",
                },
                {"waits": "true", "runStatuses": "Completed,Failed", "actionGroupId": "/group"},
            ),
        ],
    )
    def test_what_is_deployed(
        self, agent: Agent, topics: str, environment: dict[str, str], given: dict[str, str]
    ) -> None:
        agent.plan[TOPICS] = [topics]
        wanted = FIRST | given
        used = wanted["systemTopicName"]
        said = success(agent, "postdeploy", **environment)
        assert said == [f"events of the workspace ws come to func-1 by the system topic {used}"]
        assert changes(agent) == ["deployment sub create"]
        [call] = agent.calls_of("deployment sub create")
        assert dict(pair.split("=", 1) for pair in call.values("--parameters")) == wanted
        assert call.values("--name") == [wanted["namePrefix"]]
        assert Path(*call.values("--template-file")).resolve() == INFRA / "events" / "main.bicep"

    def test_it_waits_until_the_function_is_there(self, agent: Agent) -> None:
        agent.plan[FUNCTION] = [NO, NO, YES]
        said = success(agent, "postdeploy")
        assert said[:-1] == [f"waiting for the function aml_event ({turn} of 20)" for turn in (1, 2)]

    def test_a_function_that_never_comes(self, agent: Agent) -> None:
        agent.plan[FUNCTION] = [NO]
        text = refusal(agent, "postdeploy")
        assert "the app does not show its function aml_event" in text
        assert "union traces, exceptions | where severityLevel >= 3" in text
        assert changes(agent) == []

    def test_a_role_that_has_not_arrived_is_waited_for(self, agent: Agent) -> None:
        agent.plan[DEPLOYMENT] = [NO, NO, YES]
        said = success(agent, "postdeploy")
        assert [line.partition(",")[0] for line in said[:-1]] == ["trying again"] * 2

    def test_a_deployment_that_always_fails(self, agent: Agent) -> None:
        agent.plan[DEPLOYMENT] = [NO]
        text = refusal(agent, "postdeploy")
        assert "could not be made; the reason is above. Mend it, then run 'azd hooks run postdeploy'" in text
        assert len(changes(agent)) == 4

    @pytest.mark.parametrize("name", ["AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME", "NEXTSTAGE_FUNCTION_APP_ID"])
    def test_before_anything_is_provisioned(self, agent: Agent, name: str) -> None:
        assert f"{name} is not set; run 'azd provision' first" in refusal(agent, "postdeploy", **{name: None})


class TestPostdown:
    @pytest.mark.parametrize(
        ("name", "subscriptions", "last"),
        [
            (PREFIX, OURS, f"deleted the system topic {PREFIX}"),
            (PREFIX, [*OURS, "theirs"], f"the system topic {PREFIX} stays"),
            ("theirs", ["theirs", *OURS], "the system topic theirs stays"),
        ],
    )
    def test_it_removes_what_postdeploy_has_made_and_no_more(
        self, agent: Agent, name: str, subscriptions: list[str], last: str
    ) -> None:
        agent.plan |= {TOPICS: [topic(name)], SUBSCRIPTIONS: ["\n".join(subscriptions)]}
        gone = dict.fromkeys(name for name in ENVIRONMENT if name.startswith("NEXTSTAGE_"))
        said = success(agent, "postdown", **gone)
        assert said[:-1] == [f"deleted the event subscription {one}" for one in OURS]
        assert said[-1].startswith(last)
        deleted = agent.calls_of("eventgrid system-topic event-subscription delete")
        assert [call.values("--name") for call in deleted] == [[one] for one in OURS]
        assert {*map(tuple, (call.values("--system-topic-name") for call in deleted))} == {(name,)}
        topics = agent.calls_of("eventgrid system-topic delete")
        assert [call.values("--name") for call in topics] == ([[name]] if last.startswith("deleted") else [])

    def test_it_may_run_twice(self, agent: Agent) -> None:
        assert success(agent, "postdown") == ["the workspace has no system topic; nothing is left to remove"]
        assert changes(agent) == []

    @pytest.mark.parametrize("name", ["AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME"])
    def test_without_azd(self, agent: Agent, name: str) -> None:
        agent.plan |= {TOPICS: [topic(PREFIX)], SUBSCRIPTIONS: ["\n".join(OURS)]}
        assert f"{name} is not set; run this by azd" in refusal(agent, "postdown", **{name: None})
        assert changes(agent) == []
