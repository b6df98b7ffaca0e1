"""The hooks, run as azd runs them, with a stand-in for Azure Resource Manager."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.arm import sample
from tests.support.azd import OURS, PREFIX, TESTING, Azd, serving_azd

CONNECTED = f"events of the workspace ws come to func-nextstage-dev by the system topic {PREFIX}"


@pytest.fixture
def azd(tmp_path: Path) -> Iterator[Azd]:
    folder = tmp_path / "a folder"
    folder.mkdir()
    with serving_azd(folder) as azd:
        yield azd


def test_from_the_first_up_to_the_last_down(azd: Azd) -> None:
    """Every hook twice. Before the first `azd provision`, azd has neither a subscription nor a region."""
    first = azd.hook("preprovision", AZURE_SUBSCRIPTION_ID=None, AZURE_LOCATION=None)
    assert (first.code, first.lines) == (0, ["you are signed in, and may read the workspace ws"])
    again = azd.hook("preprovision")
    assert again.lines == [*first.lines, "the region westeurope offers Python 3.13 on Flex Consumption"]
    assert azd.hook("predeploy").code == 0
    assert azd.written == [], "nothing was made"

    connected = azd.hook("postdeploy")
    assert (connected.code, connected.lines[-2:]) == (0, [CONNECTED, TESTING])
    assert f"{azd.app_url} acknowledged it (HTTP 202)" in connected.out
    made = azd.arm.resources
    assert azd.names("eventSubscriptions") == OURS
    again = azd.hook("postdeploy")
    assert (again.code, again.lines) == (0, [CONNECTED, TESTING])
    assert [one["id"] for one in azd.arm.resources] == [one["id"] for one in made]

    # azd has deleted the app's resource group, and has forgotten the outputs of the deployment.
    azd.arm.store.delete(sample.GROUP)
    gone = dict.fromkeys(name for name in azd.environment() if name.startswith("NEXTSTAGE_"))
    down = azd.hook("postdown", **gone)
    assert (down.code, down.lines) == (
        0,
        [*(f"deleted the event subscription {name}" for name in OURS), f"deleted the system topic {PREFIX}"],
    )
    assert [one["type"] for one in azd.arm.resources if sample.WORKSPACE not in one["id"]] == [
        "Microsoft.Resources/subscriptions",
        "Microsoft.Resources/resourceGroups",
    ]
    assert azd.hook("postdown", **gone).lines == [
        "the workspace ws has no system topic; nothing is left to remove there"
    ]


def test_a_failure_ends_azd_too(azd: Azd) -> None:
    ended = azd.hook("postdeploy", AML_WORKSPACE_ID="ws")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("manage.py: AML_WORKSPACE_ID is not the resource id of an Azure ML workspace: ws; ")
