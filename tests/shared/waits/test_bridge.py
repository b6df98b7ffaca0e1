"""Tests that each setting of the bridge takes effect, in its unit."""

from collections.abc import Iterator

import pytest

from handlers import DISPATCH, NAMES
from shared.composition import Bridge, compose, load_configuration
from tests.support import ROOT
from tests.support.azure import MANAGER, Azure
from tests.support.builders import ENVIRONMENT, WORKSPACE
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.fakes import Reports
from tests.support.journal.memory_store import MemoryStore
from tests.support.services.managed_identity import ManagedIdentity, managed_identity
from tests.support.waits import KEY, TOKEN, a_task, default_headers

TOKEN_OF_THE_IDENTITY = secret("identity-token")
IN_AZURE = {"WEBSITE_INSTANCE_ID": "i", "JOURNAL_CONNECTION": "https://account.table.core.windows.net"}
LOCALLY = {"AZURE_DEVOPS_ORG_URL": "http://127.0.0.1:7080/contoso"}


@pytest.fixture
def azure() -> Azure:
    return Azure()


def bridge(azure: Azure, clock: ManualClock, **environment: str) -> Bridge:
    configuration = load_configuration(ENVIRONMENT | {"WAIT_TOKEN_KEYS": KEY} | environment, ROOT, NAMES)
    app = compose(configuration, DISPATCH, store=MemoryStore(), transport=azure, report=Reports(), clock=clock)
    assert app.bridge is not None
    return app.bridge


def register(bridge: Bridge, plan_url: str = ENVIRONMENT["AZURE_DEVOPS_ORG_URL"]) -> int:
    return bridge.endpoint.answer(default_headers(a_task(plan_url=plan_url)), b'{"run_id": "run-1"}').status


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedIdentity]:
    with managed_identity(TOKEN_OF_THE_IDENTITY) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


def test_sweep_after_is_in_minutes_and_timeout_in_hours(
    azure: Azure, clock: ManualClock, identity: ManagedIdentity
) -> None:
    times = {"WAIT_SWEEP_AFTER_MINUTES": "20", "WAIT_TIMEOUT_HOURS": "5"}
    manager = {"AML_WORKSPACE_ID": WORKSPACE, "AZURE_RESOURCE_MANAGER_URL": MANAGER}
    waits = bridge(azure, clock, **IN_AZURE, **times, **manager)
    assert register(waits) == 202
    seen = []
    for seconds in (20 * 60, 1, 5 * 3600 - 20 * 60 - 1, 1):
        clock.advance(seconds)
        waits.sweep.run()
        seen.append((len(azure.asked_with), len(azure.completed)))
    assert seen == [(0, 0), (1, 0), (2, 0), (3, 1)]
    assert {query["resource"] for query in identity.asked} == {MANAGER}
    assert set(azure.asked_with) == {f"Bearer {TOKEN_OF_THE_IDENTITY}"}
    assert azure.completed == [(f"Bearer {TOKEN}", "failed")]


@pytest.mark.parametrize(
    ("environment", "plan_url", "status"),
    [
        ({}, "https://tfs.contoso.com/tfs", 400),
        ({"WAIT_ALLOWED_HOSTS": "tfs.contoso.com"}, "https://tfs.contoso.com/tfs", 202),
        ({"AZURE_DEVOPS_ORG_URL": "https://tfs.contoso.com/tfs"}, "https://tfs.contoso.com/tfs", 202),
        (LOCALLY, LOCALLY["AZURE_DEVOPS_ORG_URL"], 202),
        (LOCALLY | IN_AZURE, LOCALLY["AZURE_DEVOPS_ORG_URL"], 400),
    ],
)
def test_where_a_token_may_be_sent(
    azure: Azure, clock: ManualClock, environment: dict[str, str], plan_url: str, status: int
) -> None:
    assert register(bridge(azure, clock, **environment), plan_url) == status
