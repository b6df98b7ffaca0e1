"""The application settings that Bicep sets: each is read, each equals its default, and the app starts with them."""

import re
from pathlib import Path

import pytest

from handlers import NAMES
from shared.clouds import PUBLIC
from shared.composition import load_configuration
from shared.journal.tables.store import TABLE_NAME
from shared.settings import SETTINGS
from tests.infra import bicep
from tests.support import ROOT
from tests.support.builders import WORKSPACE

APP = bicep.read("modules/function-app.bicep")
PARTS = {
    name: bicep.object_of(APP, name)
    for name in (
        *("hostSettings", "isolation", "appSettings", "vaultSettings", "patSettings"),
        *("notificationSettings", "waitSettings"),
    )
}

# Read by the host and the worker. Source: app settings reference of Azure Functions; OTEL_*: the host's Azure Monitor
# exporter.
READ_BY_THE_HOST = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "PYTHON_ISOLATE_WORKER_DEPENDENCIES",
}
# Values of the expressions, which only a deployment can evaluate.
EVALUATED = {
    "azureDevOpsOrgUrl": "https://dev.azure.com/contoso",
    "azureDevOpsProject": "mlops",
    "identityClientId": "00000000-0000-0000-0000-000000000001",
    "environment().name": PUBLIC.name,
    "account.properties.primaryEndpoints.table": "https://account.table.core.windows.net/",
    "keyVaultUrl": "https://kv.vault.azure.net/",
    "notificationTopicEndpoint": "https://topic.westeurope-1.eventgrid.azure.net/api/events",
    "amlWorkspaceId": WORKSPACE,
    "waitClientId": "00000000-0000-0000-0000-000000000002",
}


def all_set() -> set[str]:
    return {name for part in PARTS.values() for name in part}


def evaluated(part: str, **expressions: str) -> dict[str, str]:
    """Return the environment variables that a part sets."""
    known = EVALUATED | expressions
    return {name: value.strip("'") if value.startswith("'") else known[value] for name, value in PARTS[part].items()}


def test_the_app_has_exactly_these_parts() -> None:
    (union,) = re.findall(r"properties: union\(([^)]*)\)", APP)
    assert [name.strip() for name in union.split(",")] == [*PARTS, "additionalSettings"]


def test_every_setting_is_read_by_the_code_or_the_host() -> None:
    assert set(PARTS["hostSettings"]) | set(PARTS["isolation"]) == READ_BY_THE_HOST
    assert all_set() - READ_BY_THE_HOST <= {one.name for one in SETTINGS if not one.is_set_by_azure}


def test_no_secret_is_set() -> None:
    secrets = {one.name for one in SETTINGS if one.is_secret}
    assert all_set() & secrets == {"JOURNAL_CONNECTION"}, "an endpoint, not a connection string"


@pytest.mark.parametrize("auth", ["identity", "pat"])
def test_the_app_starts_with_them(auth: str) -> None:
    environment = evaluated("appSettings", azureDevOpsAuth=auth) | {"WEBSITE_INSTANCE_ID": "in Azure"}
    if auth == "pat":
        environment |= evaluated("vaultSettings") | evaluated("patSettings")
    settings = load_configuration(environment, ROOT, NAMES).settings
    assert (settings.auth, settings.in_azure, settings.client_id) == (auth, True, EVALUATED["identityClientId"])
    assert settings.journal_connection == EVALUATED["account.properties.primaryEndpoints.table"]
    assert settings.pat_secret_name == ("azure-devops-pat" if auth == "pat" else None)


def test_the_app_starts_with_waits_and_notifications() -> None:
    environment = {"WEBSITE_INSTANCE_ID": "in Azure"}
    for part in ("appSettings", "vaultSettings", "notificationSettings", "waitSettings"):
        environment |= evaluated(part, azureDevOpsAuth="identity")
    settings = load_configuration(environment, ROOT, NAMES).settings
    assert settings.notify_topic_endpoint == EVALUATED["notificationTopicEndpoint"]
    assert (settings.wait_keys_secret_name, settings.workspace_id) == ("wait-token-keys", WORKSPACE)
    assert settings.wait_client_ids == (EVALUATED["waitClientId"],)
    without = load_configuration(environment | {"WAIT_CLIENT_IDS": ""}, ROOT, NAMES).settings
    assert without.wait_client_ids == ()


def test_signing_in_closes_no_other_door() -> None:
    """The keys of Event Grid and of /admin go on working: only requests with a token are checked for who sent them."""
    sign_in = bicep.object_at(APP, APP.index("{", APP.index("resource signIn ")))
    properties = bicep.object_at(sign_in["properties"], 0)
    assert bicep.object_at(properties["globalValidation"], 0) == {
        "requireAuthentication": "false",
        "unauthenticatedClientAction": "'AllowAnonymous'",
    }
    validation = APP[APP.index("defaultAuthorizationPolicy") :]
    assert validation.startswith("defaultAuthorizationPolicy: { allowedApplications: [waitClientId] }")


def test_settings_with_a_default_are_set_to_it() -> None:
    defaults = {one.name: f"'{one.default}'" for one in SETTINGS if one.default}
    constants = {name: value for part in PARTS.values() for name, value in part.items() if value.startswith("'")}
    shared = constants.keys() & defaults.keys()
    assert {"JOURNAL_LEASE_SECONDS", "WAIT_TIMEOUT_HOURS"} <= shared
    assert {name: constants[name] for name in shared} == {name: defaults[name] for name in shared}


def test_no_decision_is_sampled_away() -> None:
    host = PARTS["hostSettings"]
    assert (host["OTEL_TRACES_SAMPLER"], host["OTEL_TRACES_SAMPLER_ARG"]) == ("'microsoft.fixed_percentage'", "'1'")


def test_the_table_has_the_name_that_the_app_uses() -> None:
    text = bicep.read("modules/storage.bicep")
    start = text.index("{", text.index("resource journal "))
    assert bicep.object_at(text, start)["name"] == f"'{TABLE_NAME}'"


def test_local_files_are_not_deployed() -> None:
    ignored = (ROOT / ".funcignore").read_text().splitlines()
    assert {".azure", "azure.yaml", "infra", "pipelines", ".github", "tests"} <= set(ignored)
    assert ".azure/" in (ROOT / ".gitignore").read_text().splitlines()
    assert not any(Path(name).match(pattern) for pattern in ignored for name in ("routes.yaml", "constraints.txt"))
