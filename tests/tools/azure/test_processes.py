"""``connect`` and ``disconnect`` as processes, against what Azure Resource Manager may answer over a socket.

What the commands make is in test_connecting.py and test_disconnecting.py. These tests are about failures: of Azure, of
the network, and of the process, which may be killed at any request.
"""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from devstack.arm import Emulator, Fault, Match, sample
from devstack.http_server import ConnectionDropped
from tests.support import ROOT
from tests.support.azd import OURS, PREFIX, Azd, Ended, serving_azd
from tests.support.effort import amount
from tests.support.forked import Forks

if TYPE_CHECKING:
    from devstack.arm.emulator import Received

ML = f"/subscriptions/{sample.SUBSCRIPTION}/resourceGroups/ml"
TOPICS = f"{ML}/providers/Microsoft.EventGrid/systemTopics"
OTHER = sample.workspace_id("other")
WRITES = Match(method="PUT", path=".")
TO_TOPICS = Match(method="PUT", path="/systemTopics/[^/]*$")
TO_SUBSCRIPTIONS = Match(method="PUT", path="/eventSubscriptions/")
NO_RIGHT = "The client 'ada' does not have authorization to perform action 'Microsoft.EventGrid/systemTopics/write'."
INTERNAL = {"code": "InternalServerError", "message": "The operation failed due to an internal server error."}
VARYING = ("createdOn", "updatedOn", "metricResourceId", "tenantId")
AFTER_DOWN = {
    "NEXTSTAGE_FUNCTION_APP_ID": None, "NEXTSTAGE_STORAGE_ACCOUNT_ID": None, "NEXTSTAGE_DEAD_LETTER_CONTAINER": None,
    "NEXTSTAGE_IDENTITY_PRINCIPAL_ID": None, "NEXTSTAGE_ACTION_GROUP_ID": None, "AZURE_RESOURCE_GROUP": None,
}  # fmt: skip
"""``azd down`` removes the outputs of the deployment from azd's environment."""
WAITS = {"NEXTSTAGE_WAITS": "true"}
LANDING = {"source": sample.account()["id"], "types": ["Microsoft.Storage.BlobCreated"]}


def refusal(match: Match, status: int, code: str, message: str, times: int = 1) -> Fault:
    body = {"error": {"code": code, "message": message}}
    return Fault(accept=False, match=match, status=status, body=body, times=times)


def lock(scope: str, level: str) -> dict[str, Any]:
    return {"id": f"{scope}/providers/Microsoft.Authorization/locks/l", "properties": {"level": level}}


@dataclass
class World:
    """Azure, and a person who runs commands in an environment of azd. Each request can be the last of its process."""

    azd: Azd
    forks: Forks
    kill_at: int = 0
    """The number of the request whose answer the process does not live to see, counted from now on; 0 for none."""
    _pids: "SimpleQueue[int]" = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        """Watch the requests."""
        self.arm.before_answer = self._count

    @property
    def arm(self) -> Emulator:
        return self.azd.arm

    def _count(self) -> None:
        if self.kill_at:
            self.kill_at -= 1
            if not self.kill_at:
                os.kill(self._pids.get(timeout=60), signal.SIGKILL)
                raise ConnectionDropped

    def run(self, *arguments: str, **changes: str | None) -> Ended:
        self._pids = SimpleQueue()
        return self.forks.run(arguments, self.azd.environment(**changes), self.azd.folder, self._pids.put)

    def succeeds(self, *arguments: str, **changes: str | None) -> list[str]:
        """Run a command that succeeds, and return the lines that it writes."""
        ended = self.run(*arguments, **changes)
        assert ended.code == 0, ended
        return ended.lines

    def fails(self, *arguments: str, **changes: str | None) -> str:
        """Run a command that fails, and return the last line that it writes."""
        ended = self.run(*arguments, **changes)
        assert ended.code == 1, ended
        return ended.lines[-1]

    def count(self, status: int | str) -> int:
        """Return how many requests have been answered with a status."""
        return [one.status for one in self.arm.requests].count(status)

    @property
    def state(self) -> list[str]:
        """Everything that there is, without what is different each time."""
        lines = [json.dumps(_without(one, VARYING), sort_keys=True) for one in self.arm.resources]
        for one in self.arm.resources:
            if "principalId" in one.get("identity", {}):
                lines = [line.replace(one["identity"]["principalId"], f"<{one['name']}>") for line in lines]
        return sorted(re.sub(r"(roleAssignments/|\"name\": \")[0-9a-f-]{36}", r"\1<guid>", line) for line in lines)


def _without(document: Any, names: Iterable[str]) -> Any:
    if isinstance(document, dict):
        return {name: _without(value, names) for name, value in document.items() if name not in names}
    return document


NewWorld = Callable[..., World]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def new_world(forks: Forks, tmp_path: Path) -> Iterator[NewWorld]:
    """Make a world in which ``azd provision`` has ended, with one workspace or with the given resources.

    An operation takes two polls, so its resource is in transition when a process is killed that has just begun it.
    """

    with ExitStack() as stack:

        def new(resources: Iterable[dict[str, Any]] = ()) -> World:
            azd = stack.enter_context(serving_azd(tmp_path))
            azd.switch(polls=2)
            if resources:
                azd.arm.store.delete(f"/subscriptions/{sample.SUBSCRIPTION}")
                azd.arm.add(*resources)
            return World(azd, forks)

        yield new


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world()


@pytest.fixture
def undisturbed(new_world: NewWorld) -> list[str]:
    """What there is after ``connect`` if nothing goes wrong."""
    world = new_world()
    world.succeeds("connect")
    return world.state


class TestWaiting:
    def test_for_a_function_that_is_listed_late(self, world: World, undisturbed: list[str]) -> None:
        world.azd.switch(syncs=3)
        assert "\n".join(world.succeeds("connect")).count("waiting for the function aml_event") == 2
        assert [one.path.rpartition("/")[2] for one in world.arm.changes[:3]] == ["sync"] * 3
        assert world.state == undisturbed

    def test_for_a_role_that_arrives_late(self, world: World, undisturbed: list[str]) -> None:
        world.azd.switch(role_checks=4)
        assert "\n".join(world.succeeds("connect")).count("Managed Identity Authorization Error") == 4
        assert world.state == undisturbed

    def test_for_a_right_of_the_operator_that_arrives_late(self, world: World, undisturbed: list[str]) -> None:
        world.arm.plan(refusal(WRITES, 403, "AuthorizationFailed", NO_RIGHT, times=3))
        assert "\n".join(world.succeeds("connect")).count(NO_RIGHT.rstrip(".")) == 3
        assert world.state == undisturbed

    def test_for_a_right_that_never_arrives(self, world: World) -> None:
        world.arm.plan(refusal(WRITES, 403, "AuthorizationFailed", NO_RIGHT, times=99))
        line = world.fails("connect")
        assert NO_RIGHT.rstrip(".") in line
        assert "ask for the role EventGrid Contributor" in line


class TestRefusals:
    """What is refused permanently ends the command at once, with the words of Azure Resource Manager."""

    @pytest.mark.parametrize(
        ("match", "status", "code", "message"),
        [
            (TO_TOPICS, 400, "InvalidRequest", "There is an existing tracked system topic for the given source."),
            (TO_TOPICS, 403, "RequestDisallowedByPolicy", "'ws' was disallowed by policy 'Authorized regions only'."),
            (TO_SUBSCRIPTIONS, 400, "InvalidRequest", "The maximum number of values on an advanced filter is 25."),
            (Match(method="PUT", path="/metricAlerts/"), 400, "BadRequest", "The metric does not exist."),
        ],
    )
    def test_at_once(self, world: World, match: Match, status: int, code: str, message: str) -> None:
        world.arm.plan(refusal(match, status, code, message, times=99))
        assert f"{code}: {message.rstrip('.')}; correct that, then run" in world.fails("connect")
        assert world.count(status) == 1

    def test_a_read_only_lock(self, world: World) -> None:
        world.arm.add(lock(ML, "ReadOnly"))
        assert "ScopeLocked: The scope" in world.fails("connect")
        assert world.count(409) == 1

    @pytest.mark.parametrize("match", [TO_TOPICS, TO_SUBSCRIPTIONS])
    def test_an_operation_that_fails_at_its_end(self, world: World, undisturbed: list[str], match: Match) -> None:
        world.arm.plan(Fault(accept=True, match=match, behavior={"failure": INTERNAL, "polls": 3}))
        assert "InternalServerError: The operation failed due to an internal" in world.fails("connect")
        world.succeeds("connect")
        assert world.state == undisturbed


class TestTransport:
    """Azure's libraries repeat what may be repeated. The end is as if nothing had happened."""

    def test_long_operations(self, world: World, undisturbed: list[str]) -> None:
        world.azd.switch(polls=6)
        world.succeeds("connect")
        assert world.state == undisturbed
        assert len([one for one in world.arm.requests if "/operationsStatus/" in one.path]) == 18

    @pytest.mark.parametrize("status", [429, 503])
    def test_throttling_and_outages(self, world: World, undisturbed: list[str], status: int) -> None:
        wait = {"Retry-After": "0.01"}
        parts = ("/workspaces/ws$", "/systemTopics", "/operationsStatus/", "/roleAssignments/", "/metricAlerts/")
        for part in parts:
            match = Match(method="*", path=part)
            world.arm.plan(Fault(accept=False, match=match, status=status, headers=wait, times=2))
        world.succeeds("connect")
        assert world.count(status) == 2 * len(parts)
        assert world.state == undisturbed

    @pytest.mark.parametrize("accept", [True, False])
    def test_lost_answers(self, world: World, undisturbed: list[str], accept: bool) -> None:
        parts = ("/workspaces/ws$", "/sync$", "/operationsStatus/", "/eventSubscriptions/", "/metricAlerts/")
        matches = [TO_TOPICS, *(Match(method="*", path=part) for part in parts)]
        for match in matches:
            world.arm.plan(Fault(accept=accept, match=match, drop=True))
        world.succeeds("connect")
        assert world.count("dropped") == len(matches)
        assert world.state == undisturbed

    def test_of_disconnect(self, world: World) -> None:
        before = world.state
        world.succeeds("connect", **WAITS)
        wait = {"Retry-After": "0.01"}
        for part in ("/systemTopics", "/metricAlerts/", "/operationsStatus/", "/eventSubscriptions/"):
            match = Match(method="*", path=part)
            world.arm.plan(Fault(accept=False, match=match, status=429, headers=wait))
            world.arm.plan(Fault(accept=True, match=match, drop=True))
        world.succeeds("disconnect")
        assert (world.count(429), world.count("dropped")) == (4, 4)
        assert world.state == before


def test_a_topic_of_somebody_else_is_used_and_never_changed(world: World) -> None:
    theirs = f"{sample.GROUP}/providers/Microsoft.EventGrid/systemTopics/theirs"
    properties = {"source": sample.WORKSPACE.upper(), "provisioningState": "Succeeded"}
    world.arm.add({"id": theirs, "location": sample.LOCATION, "tags": {"owner": "them"}, "properties": properties})
    before = world.arm.resources

    ended = world.run("connect")
    assert ended.code in {1, 2}
    assert f"az eventgrid system-topic update --ids {theirs} --identity systemassigned" in ended.err
    assert not world.arm.changes

    identity = {"type": "SystemAssigned", "principalId": "9e9e9e9e-1111-2222-3333-444444444444"}
    for one in before:
        if one["id"] == theirs:
            world.arm.add({**one, "identity": identity})
    before = world.arm.resources
    world.succeeds("connect")
    assert world.azd.names("eventSubscriptions") == OURS
    world.succeeds("disconnect")
    assert world.arm.resources == before
    assert not any(one.path.endswith("/systemTopics/theirs") for one in world.arm.changes)


def test_the_second_run_changes_nothing(world: World) -> None:
    changes = WAITS | {"NEXTSTAGE_ACTION_GROUP_ID": sample.ACTION_GROUP, "NEXTSTAGE_RUN_STATUSES": "Completed,Failed"}
    first = world.succeeds("connect", **changes)
    before = [_without(one, ["updatedOn"]) for one in world.arm.resources]
    assert world.succeeds("connect", **changes) == first
    assert [_without(one, ["updatedOn"]) for one in world.arm.resources] == before


class TestInterruptions:
    """A process may be killed at any request. The next one brings everything to the same end."""

    @staticmethod
    def numbers(requests: "Iterable[Received]") -> list[int]:
        """Return the numbers of the requests at which a process is killed: usually of those that change something."""
        all_of_them = list(enumerate(requests, 1))
        changing = [number for number, one in all_of_them if one.method != "GET" or "operationsStatus" in one.path]
        return amount(changing, long=[number for number, _one in all_of_them])

    def test_of_connect(self, new_world: NewWorld) -> None:
        world = new_world()
        world.succeeds("connect", **WAITS)
        wanted, numbers = world.state, self.numbers(world.arm.requests)
        assert len(numbers) > 12
        for number in numbers:
            killed = new_world()
            killed.kill_at = number
            assert killed.run("connect", **WAITS).code == -signal.SIGKILL
            killed.succeeds("connect", **WAITS)
            assert killed.state == wanted, f"killed after {world.arm.requests[number - 1]}"

    def test_of_disconnect(self, new_world: NewWorld) -> None:
        world = new_world()
        wanted = world.state
        world.succeeds("connect", **WAITS)
        connected, before = world.arm.resources, len(world.arm.requests)
        world.succeeds("disconnect")
        assert world.state == wanted
        requests = world.arm.requests[before:]
        numbers = self.numbers(requests)
        assert len(numbers) > 8
        for number in numbers:
            killed = new_world(connected)
            killed.kill_at = number
            assert killed.run("disconnect").code == -signal.SIGKILL
            killed.succeeds("disconnect")
            assert killed.state == wanted, f"killed after {requests[number - 1]}"

    def test_of_connect_after_a_filter_has_changed(self, new_world: NewWorld) -> None:
        """The old event subscription goes when there is a new one."""
        first, second = (
            {"AML_WORKSPACE_ID": None, "NEXTSTAGE_EVENT_SOURCES": json.dumps([{**LANDING, **ending}])}
            for ending in ({}, {"subject_ends_with": "/_SUCCESS"})
        )
        world = new_world()
        world.arm.add(sample.account())
        world.succeeds("connect", **first)
        connected, before = world.arm.resources, len(world.arm.requests)
        world.succeeds("connect", **second)
        wanted, requests = world.state, world.arm.requests[before:]
        numbers = [number for number in self.numbers(requests) if "/eventSubscriptions/" in requests[number - 1].path]
        assert len(numbers) >= 2
        for number in numbers:
            killed = new_world(connected)
            killed.kill_at = number
            assert killed.run("connect", **second).code == -signal.SIGKILL
            assert killed.azd.names("eventSubscriptions") != []
            killed.succeeds("connect", **second)
            assert killed.state == wanted, f"killed after {requests[number - 1]}"


class TestTwoEnvironments:
    """Environments at one workspace share its system topic. The last one takes the topic with it."""

    @pytest.mark.parametrize("order", [("dev", "b"), ("b", "dev")])
    def test_in_any_order(self, world: World, order: tuple[str, str]) -> None:
        world.arm.add(*sample.environment("b", "4a4a4a4a-1111-2222-3333-444444444444"))
        environments: dict[str, dict[str, str | None]] = {"dev": {}, "b": {
            "AZURE_ENV_NAME": "b",
            "AZURE_RESOURCE_GROUP": "rg-b",
            "NEXTSTAGE_FUNCTION_APP_ID": sample.APP.replace("dev", "b"),
            "NEXTSTAGE_STORAGE_ACCOUNT_ID": sample.STORAGE.replace("dev", "b"),
            "NEXTSTAGE_IDENTITY_PRINCIPAL_ID": "4a4a4a4a-1111-2222-3333-444444444444",
        }}  # fmt: skip
        for changes in environments.values():
            world.succeeds("connect", **changes, **WAITS)
        assert world.azd.names("systemTopics") == [PREFIX]
        first, last = order
        for name in order:  # azd down deletes the group first
            world.arm.store.delete(sample.GROUP.replace("rg-dev", f"rg-{name}"))
            lines = world.succeeds("disconnect", **{**environments[name], **AFTER_DOWN})
            if name == first:
                assert world.azd.names("systemTopics") == [PREFIX], lines
                assert len(world.azd.names("eventSubscriptions")) == 2
                assert [one.split("-")[1] for one in world.azd.names("eventSubscriptions")] == [last] * 2
        assert (
            world.azd.names("systemTopics")
            == world.azd.names("eventSubscriptions")
            == world.azd.names("roleAssignments")
            == []
        )


class TestTwoWorkspaces:
    def test_one_of_them_is_disconnected_later(self, world: World) -> None:
        world.arm.add(sample.workspace(OTHER))
        both = {"AML_WORKSPACE_IDS": OTHER, **WAITS}
        world.succeeds("connect")
        alone = world.state
        world.succeeds("connect", **both)
        assert len(world.azd.names("systemTopics")) == 2
        assert len(world.azd.names("eventSubscriptions")) == 4
        assert len(world.azd.names("roleAssignments")) == 4
        world.succeeds("disconnect", "--workspace", OTHER)
        world.succeeds("disconnect")
        world.succeeds("connect")
        assert world.state == alone


class TestLocks:
    """A lock against deletion on the journal's account, as the production profile has it, also covers its roles."""

    def test_disconnect_leaves_the_role_of_the_topic(self, world: World) -> None:
        world.arm.add(lock(sample.STORAGE, "CanNotDelete"))
        world.succeeds("connect", **WAITS)
        lines = world.succeeds("disconnect")
        assert [line for line in lines if "locked" in line]
        assert (
            world.azd.names("systemTopics")
            == world.azd.names("eventSubscriptions")
            == world.azd.names("metricAlerts")
            == []
        )
        assert len(world.azd.names("roleAssignments")) == 1
        world.succeeds("connect")
        assert len(world.azd.names("eventSubscriptions")) == 2

    def test_a_locked_workspace_keeps_its_topic(self, world: World) -> None:
        world.succeeds("connect")
        world.arm.add(lock(ML, "CanNotDelete"))
        line = world.fails("disconnect")
        assert "ScopeLocked: The scope" in line
        assert f"'{ML}'" in line


def test_a_checkout_whose_path_has_spaces(world: World, tmp_path: Path, undisturbed: list[str]) -> None:
    """azd starts a hook in Python without a shell, so nothing divides its path. Source: Azure/azure-dev, hooks."""
    checkout = tmp_path / "my check out"
    for name in ("handlers", "infra/hooks", "shared", "tools"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", checkout)
    hook = checkout / "infra" / "hooks" / "postdeploy.py"
    ended = world.azd.end(world.azd.start([hook], hook.parent))
    assert ended.code == 0, ended
    assert world.state == undisturbed
