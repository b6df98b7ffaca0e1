"""connect and disconnect in a shell, to which azd passes no values: the commands ask azd for them."""

import pytest

from devstack.arm import sample
from tests.support.azd import ENVIRONMENT, OURS, TOKEN, Azd
from tests.tools.azure.conftest import Run, lines, state

SHELL = dict.fromkeys(name for name in ENVIRONMENT if name != "NEXTSTAGE_HOOK_PAUSE_SECONDS")
OTHER_INSTALLATION = ("--name", "prod", "--subscription", sample.SUBSCRIPTION, "--workspace", sample.WORKSPACE)


@pytest.fixture(autouse=True)
def _values(azd: Azd) -> None:
    azd.answer(TOKEN, values=ENVIRONMENT)


def test_azd_is_asked_for_its_values(azd: Azd, run: Run) -> None:
    before = state(azd)
    assert lines(run("connect", "--check", **SHELL))[0].endswith("the workspace ws")
    lines(run("connect", **SHELL))
    assert azd.names("eventSubscriptions") == OURS
    assert "deleted the alert" in lines(run("disconnect", **SHELL))[0]
    assert state(azd) == before


def test_the_shell_takes_precedence(azd: Azd, run: Run) -> None:
    lines(run("connect", **SHELL))
    lines(run("connect", **{**SHELL, "NEXTSTAGE_RUN_STATUSES": "Failed"}))
    filters = azd.found("eventSubscriptions")[1]["properties"]["filter"]["advancedFilters"]
    assert filters[0]["values"] == ["Failed"]


def test_another_installation_gets_no_values_of_azd(azd: Azd, run: Run) -> None:
    lines(run("connect", **SHELL))
    kept = state(azd)
    run("connect", *OTHER_INSTALLATION, **{**SHELL, "AZURE_ENV_NAME": "dev"}).fails(
        2, "NEXTSTAGE_FUNCTION_APP_ID is not set"
    )
    lines(run("disconnect", *OTHER_INSTALLATION, **{**SHELL, "AZURE_ENV_NAME": "dev"}))
    assert state(azd) == kept


def test_azd_does_not_know_another_installation(azd: Azd, run: Run) -> None:
    """The values of the one that it knows, such as its app and its storage account, would be used for the other."""
    lines(run("connect", **SHELL))
    kept = state(azd)
    for command in ("connect", "disconnect"):
        journal = "https://account.table.core.windows.net"
        told = run("--deployed", command, *OTHER_INSTALLATION, **{**SHELL, "JOURNAL_CONNECTION": journal})
        told.fails(2, "--deployed excludes --name: azd does not know the values of prod")
    assert state(azd) == kept


def test_another_environment_gets_no_values_of_this_one(azd: Azd, run: Run) -> None:
    """As after ``azd down``, when azd has forgotten the values of the other one."""
    lines(run("connect", **SHELL))
    kept = state(azd)
    other = {**SHELL, "AZURE_ENV_NAME": "prod", "AZURE_SUBSCRIPTION_ID": sample.SUBSCRIPTION}
    lines(run("disconnect", **other, AML_WORKSPACE_IDS=sample.WORKSPACE))
    assert state(azd) == kept


def test_another_installation_is_not_signed_in_by_azd(azd: Azd, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    run("disconnect", *OTHER_INSTALLATION, **SHELL).fails(1, "DefaultAzureCredential failed")
    assert azd.arm.requests == ()
