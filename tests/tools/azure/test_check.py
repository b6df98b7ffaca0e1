"""manage.py connect --check, and what all commands that ask Azure Resource Manager have in common."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest

from devstack.arm import sample
from tests.support.azd import PREFIX, Azd
from tests.tools.azure.conftest import OTHER, SECOND, TOPICS, Run, lines, refusal, topic
from tools.azure import event_resources

EVERY_COMMAND = [("connect", "--check"), ("connect",), ("disconnect",)]


@pytest.mark.parametrize("command", EVERY_COMMAND)
class TestEveryCommand:
    def test_nobody_is_signed_in(self, azd: Azd, run: Run, command: tuple[str, ...]) -> None:
        azd.answer({"error": "not logged in"}, code=1)
        run(*command).fails(1, "there is no token for it: not logged in; sign in with 'azd auth login'")

    def test_it_may_not_list_topics(self, azd: Azd, run: Run, command: tuple[str, ...]) -> None:
        azd.arm.plan(refusal("/systemTopics", "AuthorizationFailed", "May not read.", 403, method="GET", times=2))
        group = f"/subscriptions/{sample.SUBSCRIPTION}/resourceGroups/ml"
        said = f"the Event Grid system topics in {group} cannot be listed: May not read; ask for the role EventGrid "
        run(*command).fails(1, said + "Contributor on it")
        assert azd.written == []

    def test_it_may_list_the_topics_of_the_group(self, azd: Azd, run: Run, command: tuple[str, ...]) -> None:
        azd.arm.plan(refusal("/systemTopics", "AuthorizationFailed", "May not read.", 403, method="GET"))
        lines(run(*command))

    def test_it_goes_on_in_the_group_only_without_a_right(self, azd: Azd, run: Run, command: tuple[str, ...]) -> None:
        azd.arm.plan(refusal("/systemTopics", "SubscriptionNotFound", status=404, method="GET"))
        run(*command).fails(1, "/systemTopics: SubscriptionNotFound: No.")

    @pytest.mark.parametrize("value", [None, "", " , "])
    def test_no_workspace_is_named(self, run: Run, command: tuple[str, ...], value: str | None) -> None:
        said = "AML_WORKSPACE_ID is not set; run 'azd env set AML_WORKSPACE_ID <id>'"
        result = run(*command, AML_WORKSPACE_ID=value)
        result.fails(2, said)
        assert result.err.endswith("; without azd, see --help\n")

    @pytest.mark.parametrize("value", ["ws", sample.APP, sample.WORKSPACE + "/jobs/j", "x" + sample.WORKSPACE])
    def test_something_else_than_a_workspace(self, run: Run, command: tuple[str, ...], value: str) -> None:
        said = f"is not the resource id of an Azure ML workspace: {value}; it has the form /subscriptions/<id>/"
        run(*command, AML_WORKSPACE_ID=value).fails(2, f"AML_WORKSPACE_ID {said}")
        run(*command, AML_WORKSPACE_IDS=f"{sample.WORKSPACE},{value}").fails(2, f"AML_WORKSPACE_IDS {said}")


class TestCheck:
    # Topics of other sources do not matter, and one of ours gets its identity later.
    @pytest.mark.parametrize(
        "topics",
        [
            [],
            [topic(f"{SECOND}/x", OTHER, identity=None), topic()],
            [topic(f"{TOPICS}/{PREFIX}", identity=None, tags={"azd-env-name": "dev"})],
        ],
    )
    def test_all_is_well_and_nothing_made(self, azd: Azd, connect: Run, topics: list[dict[str, Any]]) -> None:
        azd.arm.add(*topics)
        signed_in = "you are signed in, and may read the workspace ws"
        assert lines(connect("--check", AZURE_SUBSCRIPTION_ID=None, AZURE_LOCATION=None)) == [signed_in]
        region = "the region westeurope offers Python 3.13 on Flex Consumption"
        assert lines(connect("--check", NEXTSTAGE_PYTHON_VERSION="")) == [signed_in, region]
        (asked,) = [dict(parse_qsl(one.query)) for one in azd.arm.requests if one.path.endswith("/functionAppStacks")]
        hidden = {"removeHiddenStacks": "true", "removeDeprecatedStacks": "true"}
        assert asked == {"api-version": "2020-10-01", "stack": "python", **hidden}
        assert azd.arm.changes == ()

    def test_several_workspaces(self, connect: Run) -> None:
        said = lines(connect("--check", AML_WORKSPACE_IDS=f"{OTHER.upper()}, {sample.WORKSPACE}/"))
        assert said[0] == "you are signed in, and may read the workspaces ws, OTHER"

    @pytest.mark.parametrize(
        ("status", "why"), [(404, ""), (403, " (May not read)"), (401, " (May not read)")], ids=["absent", "403", "401"]
    )
    def test_no_such_workspace(self, azd: Azd, connect: Run, status: int, why: str) -> None:
        azd.arm.plan(refusal("/workspaces/ws", "AuthorizationFailed", "May not read.", status, method="GET", times=2))
        said = (
            f"there is no workspace {sample.WORKSPACE} that you may read{why}; correct AML_WORKSPACE_ID or "
            "AML_WORKSPACE_IDS, or ask for the role Reader"
        )
        connect("--check").fails(2, said)

    @pytest.mark.parametrize("arguments", [("--check",), ()])
    def test_a_topic_that_cannot_write_dead_letters(self, azd: Azd, connect: Run, arguments: tuple[str, ...]) -> None:
        azd.arm.add(topic(identity=None))
        connect(*arguments).fails(
            2,
            "the Event Grid system topic theirs of the workspace ws has no identity to write dead letters with; give "
            "it a system-assigned one: in the portal on its page Identity, or with az eventgrid system-topic update "
            f"--ids {SECOND}/theirs --identity systemassigned",
        )
        assert azd.written == []

    @pytest.mark.parametrize("tags", [None, {"azd-env-name": "other"}])
    def test_a_topic_of_somebody_else_with_our_name(self, azd: Azd, connect: Run, tags: Any) -> None:
        azd.arm.add(topic(f"{TOPICS}/{PREFIX}", identity=None, tags=tags))
        result = connect()
        assert (result.code, azd.written) == (2, [])
        assert f"the Event Grid system topic {PREFIX} of the workspace ws has no identity" in result.err

    def test_a_region_without_the_version_of_python(self, azd: Azd, connect: Run) -> None:
        azd.switch(python_versions=("3.11", "3.12"))
        said = (
            "manage.py: the region westeurope offers Python 3.11, 3.12 on Flex Consumption, and not 3.13; run 'azd env "
            "set NEXTSTAGE_PYTHON_VERSION <version>', or choose another region: 'azd env set AZURE_LOCATION <region>'"
        )
        result = connect("--check")
        assert (result.code, result.err.splitlines()[-1]) == (2, said)
        assert len(lines(connect("--check", NEXTSTAGE_PYTHON_VERSION="3.12"))) == 2

    def test_a_region_without_flex_consumption(self, azd: Azd, connect: Run) -> None:
        azd.switch(python_versions=())
        said = "the region westeurope does not offer Flex Consumption with Python; choose another one: 'azd env set "
        result = connect("--check")
        assert (result.code, said in result.err) == (2, True)

    def test_a_region_that_cannot_be_asked(self, azd: Azd, connect: Run) -> None:
        azd.arm.plan(refusal("/functionAppStacks", "NoRegisteredProviderFound", method="GET"))
        assert "which versions of Python the region westeurope offers is not known" in lines(connect("--check"))[1]

    def test_a_provider_that_the_private_profile_needs(self, azd: Azd, connect: Run) -> None:
        azd.switch(unregistered=("Microsoft.App",))
        assert len(lines(connect("--check", NEXTSTAGE_PROFILE="production"))) == 2
        private = {"NEXTSTAGE_PROFILE": "private"}
        result = connect("--check", **private)
        said = (
            "manage.py: the resource provider Microsoft.App, which the profile private needs for the subnet of the "
            f"app, is not registered in the subscription {sample.SUBSCRIPTION}; register it in the portal, "
        )
        assert (result.code, result.err.splitlines()[-1].startswith(said)) == (2, True)
        unknown = {"AZURE_SUBSCRIPTION_ID": None, "NEXTSTAGE_FUNCTION_APP_ID": None}
        assert len(lines(connect("--check", **private, **unknown))) == 2, "before the first azd provision"
        azd.arm.plan(refusal("/providers/Microsoft.App", "AuthorizationFailed", status=403, method="GET"))
        assert (
            "whether the resource provider Microsoft.App is registered is not known"
            in lines(connect("--check", **private))[2]
        )
        azd.switch(unregistered=())
        assert len(lines(connect("--check", **private))) == 2

    def test_new_roles_of_the_app_are_waited_for(self, azd: Azd, connect: Run) -> None:
        """The first upload would be refused: Azure/azure-dev, issue 8026."""
        scope = f"{sample.STORAGE}/blobServices/default/containers/{sample.CONTAINER}"
        role = event_resources.role_id(scope, sample.IDENTITY, event_resources.CONTRIBUTOR)

        def assigned(age: timedelta) -> dict[str, Any]:
            made = (datetime.now(UTC) - age).isoformat().replace("+00:00", "0Z")  # as Azure writes it
            return {"id": role, "properties": {"principalId": sample.IDENTITY, "createdOn": made, "scope": scope}}

        azd.arm.add(assigned(timedelta(seconds=1)))
        assert re.fullmatch(
            r"the app's roles are new; waiting \d+ s before the first upload", lines(connect("--check"))[2]
        )
        azd.arm.add(assigned(timedelta(hours=-1)))
        said = "the app's roles are new; waiting 120 s before the first upload"
        assert lines(connect("--check"))[2] == said, "the clock of this machine is wrong"
        azd.arm.add(assigned(timedelta(hours=1)))
        assert len(lines(connect("--check"))) == 2
        azd.arm.store.delete(sample.GROUP)
        assert len(lines(connect("--check"))) == 2, "after azd down"
