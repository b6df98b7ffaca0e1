"""The application settings that Bicep sets: each is read, each equals its default, and the app starts with them."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from handlers import NAMES
from shared.composition import load_configuration
from shared.journal.tables.store import TABLE_NAME
from shared.settings import SETTINGS, Settings
from tests.infra.deployment import EVERYTHING, PROFILES, REQUIRED, app_settings, deploy
from tests.support import ROOT
from tests.support.builders import WORKSPACE

# Read by the host and the worker. Source: app settings reference of Azure Functions; OTEL_*: the host's Azure Monitor
# exporter.
READ_BY_THE_HOST = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "RESUME_STORAGE__credential",
    "RESUME_STORAGE__clientId",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "PYTHON_ISOLATE_WORKER_DEPENDENCIES",
}
AUTHS = ("identity", "pat")
NAMES_OF_SETTINGS = {one.name for one in SETTINGS if not one.is_set_by_azure}
each_profile = pytest.mark.parametrize("profile", PROFILES)


def started(**parameters: Any) -> Settings:
    """Return the app's settings after a start in Azure."""
    environment = app_settings(**parameters) | {"WEBSITE_INSTANCE_ID": "in Azure"}
    return load_configuration(environment, ROOT, NAMES).settings


@each_profile
def test_every_setting_is_read_by_the_code_or_the_host(profile: str) -> None:
    everything = set(app_settings(profile=profile, **EVERYTHING))
    assert everything - NAMES_OF_SETTINGS == READ_BY_THE_HOST
    assert set(app_settings(profile=profile, **REQUIRED)) < everything


@each_profile
def test_every_setting_with_a_default_is_set_to_it(profile: str) -> None:
    """They are easy to find and to change in the template. Those whose value Azure knows are not constants."""
    found = app_settings(profile=profile, **EVERYTHING)
    defaults = {one.name: one.default for one in SETTINGS if one.default and one.name in NAMES_OF_SETTINGS}
    del defaults["JOURNAL_CONNECTION"], defaults["AZURE_DEVOPS_AUTH"]  # other values, on purpose
    assert {name: found[name] for name in defaults} == defaults


def test_no_secret_is_set() -> None:
    secrets = {one.name for one in SETTINGS if one.is_secret}
    assert set(app_settings(**EVERYTHING)) & secrets == {"JOURNAL_CONNECTION"}, "an endpoint, not a connection string"


@pytest.mark.parametrize(("profile", "auth", "waits"), list(product(PROFILES, AUTHS, [False, True])))
def test_the_app_starts_with_them(profile: str, auth: str, waits: bool) -> None:
    settings = started(profile=profile, azureDevOpsAuth=auth, waits=waits, **REQUIRED)
    assert (settings.auth, settings.in_azure, settings.has_waits) == (auth, True, waits)
    journal = deploy("main.bicep", **REQUIRED).outputs["NEXTSTAGE_STORAGE_ACCOUNT_NAME"]
    assert settings.journal_connection == f"https://{journal}.table.core.windows.net/"
    assert settings.pat_secret_name == ("azure-devops-pat" if auth == "pat" else None)


def test_the_app_starts_with_everything() -> None:
    settings = started(**EVERYTHING)
    assert str(settings.notify_topic_endpoint).endswith("eventgrid.azure.net/api/events")
    assert settings.wait_keys_secret_name == "wait-token-keys"
    assert settings.wait_client_ids == (EVERYTHING["waitClientId"],)
    assert (settings.workspace_id, settings.workspace_ids) == (WORKSPACE, (WORKSPACE, f"{WORKSPACE}-2"))


@pytest.mark.parametrize(
    ("given", "default", "configured"),
    [
        ({}, None, ()),
        ({"amlWorkspaceId": WORKSPACE}, WORKSPACE, (WORKSPACE,)),
        ({"amlWorkspaceIds": WORKSPACE}, None, (WORKSPACE,)),
    ],
)
def test_the_workspaces_of_waits(given: dict[str, str], default: str | None, configured: tuple[str, ...]) -> None:
    settings = started(waits=True, **REQUIRED, **given)
    assert (settings.workspace_id, settings.workspace_ids, settings.wait_client_ids) == (default, configured, ())


def test_additional_settings_replace_the_others() -> None:
    more = {"JOURNAL_RETENTION_DAYS": "180", "STAGE": "prod"}
    assert app_settings(additionalSettings=more, **REQUIRED).items() >= more.items()


def test_signing_in_closes_no_other_door() -> None:
    """The keys of Event Grid and of /admin go on working: only requests with a token are checked for who sent them."""
    configs = {one.name: one.properties for one in deploy("main.bicep", **EVERYTHING).all("Microsoft.Web/sites/config")}
    sign_in = configs["authsettingsV2"]
    assert sign_in["globalValidation"] == {
        "requireAuthentication": False,
        "unauthenticatedClientAction": "AllowAnonymous",
    }
    validation = sign_in["identityProviders"]["azureActiveDirectory"]["validation"]
    assert validation["defaultAuthorizationPolicy"] == {"allowedApplications": [EVERYTHING["waitClientId"]]}


def test_no_decision_is_sampled_away() -> None:
    found = app_settings(**REQUIRED)
    assert (found["OTEL_TRACES_SAMPLER"], found["OTEL_TRACES_SAMPLER_ARG"]) == ("microsoft.fixed_percentage", "1")


def test_an_instance_is_given_as_many_requests_as_it_has_threads() -> None:
    """The default of Flex Consumption for Python is one request per instance."""
    app = deploy("main.bicep", **REQUIRED).one("Microsoft.Web/sites").properties["functionAppConfig"]
    concurrency = app["scaleAndConcurrency"]["triggers"]["http"]["perInstanceConcurrency"]
    assert str(concurrency) == app_settings(**REQUIRED)["PYTHON_THREADPOOL_THREAD_COUNT"]


def test_the_table_has_the_name_that_the_app_uses() -> None:
    table = deploy("main.bicep", **REQUIRED).one("Microsoft.Storage/storageAccounts/tableServices/tables")
    assert table.name == TABLE_NAME


def test_the_queues_have_the_names_that_app_and_host_use() -> None:
    queue = app_settings(**REQUIRED)["RESUME_QUEUE"]
    found = deploy("main.bicep", **REQUIRED).all("Microsoft.Storage/storageAccounts/queueServices/queues")
    assert sorted(one.name for one in found) == [queue, f"{queue}-poison"]


@each_profile
def test_deferred_events_come_back_through_the_account_of_the_journal(profile: str) -> None:
    found = app_settings(profile=profile, **REQUIRED)
    settings = started(profile=profile, **REQUIRED)
    account = deploy("main.bicep", profile=profile, **REQUIRED).outputs["NEXTSTAGE_STORAGE_ACCOUNT_NAME"]
    assert settings.resume_queue_url == f"https://{account}.queue.core.windows.net/"
    assert found["RESUME_STORAGE__clientId"] == found["AZURE_CLIENT_ID"]


def test_local_files_are_not_deployed() -> None:
    ignored = (ROOT / ".funcignore").read_text().splitlines()
    assert {".azure", "azure.yaml", "infra", "pipelines", ".github", "tests"} <= set(ignored)
    assert {"tools/page", "tools/commands/page.py", "requirements/page.txt"} <= set(ignored)
    assert ".azure/" in (ROOT / ".gitignore").read_text().splitlines()
    assert not any(Path(name).match(pattern) for pattern in ignored for name in ("routes.yaml", "constraints.txt"))
