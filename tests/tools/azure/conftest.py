"""Commands in azd's environment, with a stand-in for Azure Resource Manager and several workspaces."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.arm import Fault, Match, sample
from tests.support.azd import TESTING, Azd, serving_azd
from tests.support.canaries import leaks
from tests.tools.conftest import Result
from tools.cli import main

OTHER = sample.workspace_id("other")
ELSEWHERE = sample.workspace_id("ws", group="ml2", subscription="1e1e1e1e-1111-2222-3333-444444444444")
TOPICS = f"/subscriptions/{sample.SUBSCRIPTION}/resourceGroups/ml/providers/Microsoft.EventGrid/systemTopics"
SECOND = f"/subscriptions/{sample.SUBSCRIPTION}/resourceGroups/elsewhere/providers/Microsoft.EventGrid/systemTopics"
THEIR_IDENTITY = {"type": "SystemAssigned", "principalId": "3f3f3f3f-1111-2222-3333-444444444444"}
LONG_NAME = "a_b.c (d)" + "x" * 60
LONG_PREFIX = "nextstage-a-b-c--d-" + "x" * 21 + "-0f0f0f0f"  # as Event Grid allows
B_PREFIX = "nextstage-b-0f0f0f0f"
B = {
    "AZURE_ENV_NAME": "b",
    "NEXTSTAGE_FUNCTION_APP_ID": sample.APP.replace("-dev", "-b"),
    "NEXTSTAGE_STORAGE_ACCOUNT_ID": sample.STORAGE.replace("rg-dev", "rg-b").replace("stagedev", "stageb"),
    "NEXTSTAGE_IDENTITY_PRINCIPAL_ID": "4a4a4a4a-1111-2222-3333-444444444444",
}
"""Another environment, for the same workspace."""

REQUIRED = (
    *("AZURE_ENV_NAME", "NEXTSTAGE_FUNCTION_APP_ID", "NEXTSTAGE_STORAGE_ACCOUNT_ID"),
    "NEXTSTAGE_DEAD_LETTER_CONTAINER",
)

Run = Callable[..., Result]


def topic(topic_id: str = f"{SECOND}/theirs", source: str = sample.WORKSPACE, **changes: Any) -> dict[str, Any]:
    """Return a system topic that somebody else has made."""
    properties = {"source": source, "topicType": "Microsoft.MachineLearningServices.Workspaces"}
    document = {
        "id": topic_id,
        "location": "westeurope",
        "identity": THEIR_IDENTITY,
        "properties": properties,
        **changes,
    }
    return {name: value for name, value in document.items() if value is not None}


def refusal(path: str, code: str, said: str = "No.", status: int = 400, times: int = 1, method: str = "PUT") -> Fault:
    """Return the refusal of requests whose path has a part."""
    body = {"error": {"code": code, "message": said}}
    return Fault(accept=False, match=Match(method=method, path=path), status=status, body=body, times=times)


@pytest.fixture
def azd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Azd]:
    """azd's environment with the workspaces, which this process is in."""
    with serving_azd(tmp_path) as azd:
        azd.arm.add(sample.workspace(OTHER), sample.workspace(ELSEWHERE, "northeurope"))
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        yield azd


@pytest.fixture
def run(azd: Azd, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in azd's environment. None leaves a variable out."""

    def run(*arguments: str, **changes: str | None) -> Result:
        capfd.readouterr()
        code = main(arguments, azd.folder, azd.environment(**changes))
        output = capfd.readouterr()
        assert leaks(output.out + output.err) == []
        return Result(code, output.out, output.err)

    return run


@pytest.fixture
def connect(run: Run) -> Run:
    return lambda *arguments, **changes: run("connect", *arguments, **changes)


@pytest.fixture
def disconnect(run: Run) -> Run:
    return lambda *arguments, **changes: run("disconnect", *arguments, **changes)


def lines(result: Result) -> list[str]:
    """Return what a command said that has succeeded, without the test at the end."""
    assert (result.code, "failed" in result.out) == (0, False), result
    return [line for line in result.err.splitlines() if line != TESTING]


def state(azd: Azd) -> list[dict[str, Any]]:
    """Return all resources, without the times at which they were written."""
    return [
        {**one, "properties": {name: value for name, value in one.get("properties", {}).items() if name != "updatedOn"}}
        for one in azd.arm.resources
    ]
