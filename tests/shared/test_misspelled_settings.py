"""Names in the environment that are probably misspelled settings, and names that are not."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

import pytest

from handlers import DISPATCH, NAMES
from shared.composition import compose, load_configuration
from shared.errors import InvalidSettings
from shared.settings import SETTINGS, load_settings
from shared.settings.misspelled import misspelled
from tests.support import ROOT
from tests.support.azd import ENVIRONMENT as AZD
from tests.support.builders import ENVIRONMENT

ROUTES = ROOT / "routes.yaml"

# Names of others that are like ours. Sources: Azure Functions, "App settings reference" and "Manage connections";
# App Service, "Environment variables and app settings"; azure-identity, README; Azure DevOps CLI, "Sign in with a PAT";
# infra/main.bicep.
OTHERS: Final = """
    AZURE_TENANT_ID AZURE_CLIENT_SECRET AZURE_CLIENT_CERTIFICATE_PATH AZURE_CLIENT_SEND_CERTIFICATE_CHAIN
    AZURE_AUTHORITY_HOST AZURE_REGIONAL_AUTHORITY_NAME AZURE_FEDERATED_TOKEN_FILE AZURE_TOKEN_CREDENTIALS
    AZURE_USERNAME AZURE_PASSWORD AZURE_POD_IDENTITY_AUTHORITY_HOST AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP
    AZURE_LOCATION AZURE_PRINCIPAL_ID AZURE_CONFIG_DIR AZURE_DEVOPS_EXT_GITHUB_PAT AZURE_DEVOPS_CACHE_DIR
    AzureWebJobsStorage AzureWebJobsStorage__queueServiceUri AzureWebJobsStorage__blobServiceUri
    AzureWebJobsStorage__tableServiceUri AzureWebJobsStorage__credential AzureWebJobsStorage__clientId
    RESUME_STORAGE__credential RESUME_STORAGE__clientId RESUME_STORAGE__managedIdentityResourceId
    RESUME_STORAGE__accountName RESUME_STORAGE__blobServiceUri
    FUNCTIONS_WORKER_RUNTIME FUNCTIONS_EXTENSION_VERSION FUNCTIONS_WORKER_PROCESS_COUNT PYTHON_THREADPOOL_THREAD_MAX
    PYTHON_ISOLATE_WORKER_DEPENDENCIES PYTHON_ENABLE_DEBUG_LOGGING PYTHON_ENABLE_WORKER_EXTENSIONS
    WEBSITE_HOSTNAME WEBSITE_OWNER_NAME WEBSITE_RESOURCE_GROUP WEBSITE_SLOT_NAME WEBSITE_SITE_NAMES WEBSITE_SKU
    WEBSITE_AUTH_ENCRYPTION_KEY WEBSITE_AUTH_CLIENT_ID WEBSITE_INSTANCE_IDS WEBSITE_CLOUD_NAME WEBSITE_TIME_ZONE
    NEXTSTAGE_NOTIFICATION_TOPIC_ENDPOINT NEXTSTAGE_KEY_VAULT_NAME NEXTSTAGE_WAIT_CLIENT_ID NEXTSTAGE_DEAD_LETTER_URL
    http_proxy HTTPS_PROXY NO_PROXY PYTHONPATH PATH HOME
"""


def found(names: Collection[str], routes_file: Path = ROUTES) -> list[str]:
    return list(misspelled(dict.fromkeys(names, "x"), routes_file))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RESUME_STORAG", "RESUME_STORAGE"),
        ("RESUME_STROAGE", "RESUME_STORAGE"),
        ("resume_storage", "RESUME_STORAGE"),
        ("RESUME_STORAGE_queueServiceUri", "RESUME_STORAGE__queueServiceUri"),
        ("RESUME_STORAGE__queueServiceUrl", "RESUME_STORAGE__queueServiceUri"),
        ("JOURNAL_CONECTION", "JOURNAL_CONNECTION"),
        ("WAIT_TOKEN_KEY", "WAIT_TOKEN_KEYS"),
        ("ROUTE_FILE", "ROUTES_FILE"),
        ("ROUTES_FLIE", "ROUTES_FILE"),
        ("AZURE_DEVOPS_EXTPAT", "AZURE_DEVOPS_EXT_PAT"),
        ("KEYVAULT_URL", "KEY_VAULT_URL"),
    ],
)
def test_a_misspelled_setting_is_named(name: str, meant: str) -> None:
    message = f"{name} is not a setting of nextstage, so it has no effect; did you mean '{meant}'?"
    assert found({name}) == [message]
    assert found({name, meant}) == [], "the setting is set"
    assert list(misspelled({name: ""}, ROUTES)) == []


@pytest.mark.parametrize("prefix", ["", "APPSETTING_"])
def test_no_other_name_is(prefix: str) -> None:
    """App Service passes each setting a second time, with a prefix."""
    names = {*OTHERS.split(), *AZD, *(row.name for row in SETTINGS)}
    assert found({prefix + name for name in names}) == []
    for name in names:
        assert found({prefix + name}) == []


def test_a_name_that_routes_use_is_not(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    assert len(found({"KEY_VAULT_URI"}, routes)) == 1, "there is no such file"
    routes.write_text("variables: { vault: '${KEY_VAULT_URI}' }")
    assert found({"KEY_VAULT_URI"}, routes) == []


def test_settings_that_are_wrong_may_be_misspelled() -> None:
    with pytest.raises(InvalidSettings, match=r"no PAT is configured.*\n  AZURE_DEVOPS_EXT_PATT is not a setting"):
        load_settings({"AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_EXT_PATT": "x"}, ROOT)


def test_the_app_logs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    environment = {
        **ENVIRONMENT,
        "AZURE_DEVOPS_EXT_PAT": "x",
        "JOURNAL_CONNECTION": f"sqlite:{tmp_path / 'j'}",
        "RESUME_STORAG": "sqlite",
    }
    configuration = load_configuration(environment, ROOT, NAMES)
    compose(configuration, DISPATCH)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "RESUME_STORAG is not a setting of nextstage, so it has no effect; did you mean 'RESUME_STORAGE'?"
    ]
