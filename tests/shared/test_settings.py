"""Application settings: defaults, checks, and that no secret shows."""

import base64
from itertools import permutations
from pathlib import Path

import pytest

from shared.clouds import CHINA, CLOUDS, PUBLIC, US_GOVERNMENT, Cloud
from shared.errors import InvalidSettings
from shared.settings import Settings, load_settings
from tests.support.canaries import secret

APP = Path("/app")
TOPIC = "https://nextstage.westeurope-1.eventgrid.azure.net/api/events"
PAT = {"AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_EXT_PAT": secret("pat")}
VAULT_PAT = {"AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_PAT_SECRET_NAME": "ado-pat"}


def load(**environment: str) -> Settings:
    return load_settings(environment, APP)


def complaint(**environment: str) -> str:
    with pytest.raises(InvalidSettings) as caught:
        load(**environment)
    assert "canary" not in str(caught.value)
    return str(caught.value)


def test_defaults() -> None:
    settings = load()
    assert settings.auth == "identity"
    assert settings.journal_connection == f"sqlite:{APP / 'journal.sqlite3'}"
    assert settings.routes_file == APP / "routes.yaml"
    assert (settings.lease_seconds, settings.budget_seconds, settings.settle_seconds) == (60, 25, 30)
    assert settings.retention_days == 90
    assert settings.worker_threads == 32
    assert not settings.in_azure
    assert (settings.client_id, settings.key_vault_url, settings.pat_secret_name) == (None, None, None)
    assert (settings.notify_topic_endpoint, settings.notify_topic_key, settings.app_name) == (None, None, "local")


def test_everything_given() -> None:
    settings = load(
        **PAT,
        KEY_VAULT_URL="https://kv.vault.azure.net",
        AZURE_DEVOPS_PAT_SECRET_NAME="ado-pat",
        AZURE_CLIENT_ID="client",
        AZURE_CLOUD="AzureCloud",
        JOURNAL_CONNECTION="sqlite:/data/j.sqlite3",
        JOURNAL_LEASE_SECONDS="12.5",
        DELIVERY_BUDGET_SECONDS="5",
        JOURNAL_SETTLE_SECONDS="3",
        JOURNAL_RETENTION_DAYS="31",
        ROUTES_FILE="tables/test.yaml",
        PYTHON_THREADPOOL_THREAD_COUNT="8",
        NOTIFY_TOPIC_ENDPOINT=TOPIC,
        NOTIFY_TOPIC_KEY=secret("topic-key"),
        WEBSITE_SITE_NAME="func-nextstage",
    )
    assert settings.auth == "pat"
    assert settings.pat() == secret("pat")
    assert settings.key_vault_url == "https://kv.vault.azure.net"
    assert settings.pat_secret_name == "ado-pat"
    assert settings.client_id == "client"
    assert settings.cloud is PUBLIC
    assert settings.journal_connection == "sqlite:/data/j.sqlite3"
    assert (settings.lease_seconds, settings.budget_seconds, settings.settle_seconds) == (12.5, 5, 3)
    assert settings.retention_days == 31
    assert settings.routes_file == APP / "tables" / "test.yaml"
    assert settings.worker_threads == 8
    assert (settings.notify_topic_endpoint, settings.notify_topic_key) == (TOPIC, secret("topic-key"))
    assert settings.app_name == "func-nextstage"


@pytest.mark.parametrize("connection", ["UseDevelopmentStorage=true", "https://account.table.core.windows.net"])
def test_a_journal_on_azure_tables_may_run_in_azure(connection: str) -> None:
    assert load(JOURNAL_CONNECTION=connection, WEBSITE_INSTANCE_ID="i").journal_connection == connection


class TestCloud:
    """AZURE_CLOUD, and what must agree with it."""

    @pytest.mark.parametrize("cloud", CLOUDS.values(), ids=CLOUDS)
    def test_endpoints_of_the_same_cloud(self, cloud: Cloud) -> None:
        table = f"https://account.table.{cloud.storage_suffix}"
        settings = load(**VAULT_PAT, **named(cloud, cloud), JOURNAL_CONNECTION=table, WEBSITE_INSTANCE_ID="i")
        assert (settings.cloud, settings.journal_connection) == (cloud, table)

    @pytest.mark.parametrize(("ours", "theirs"), list(permutations(CLOUDS.values(), 2)))
    def test_endpoints_of_another_cloud(self, ours: Cloud, theirs: Cloud) -> None:
        text = complaint(
            **VAULT_PAT, **named(ours, theirs), JOURNAL_CONNECTION=f"https://account.table.{theirs.storage_suffix}"
        )
        for name in ("KEY_VAULT_URL", "JOURNAL_CONNECTION"):
            assert f"{name} is an endpoint of {theirs.name}, and AZURE_CLOUD is {ours.name}; correct one" in text

    def test_names_that_tell_no_cloud(self) -> None:
        settings = load(
            **VAULT_PAT,
            AZURE_CLOUD=CHINA.name,
            KEY_VAULT_URL="https://vault.example.org",
            JOURNAL_CONNECTION="https://account.z01.table.storage.azure.net",
        )
        assert settings.cloud is CHINA

    def test_a_url_that_is_none(self) -> None:
        assert load(**VAULT_PAT, KEY_VAULT_URL="https://[kv").cloud is PUBLIC

    def test_upper_case_is_the_same_cloud(self) -> None:
        assert "AzureChinaCloud" in complaint(**VAULT_PAT, KEY_VAULT_URL="https://KV.VAULT.AZURE.CN")

    def test_a_connection_string_says_its_cloud_itself(self) -> None:
        connection = f"AccountName=a;AccountKey={base64.b64encode(b'x' * 64).decode()};EndpointSuffix=core.windows.net"
        assert load(**PAT, AZURE_CLOUD=CHINA.name, JOURNAL_CONNECTION=connection).cloud is CHINA

    def test_one_that_is_unknown_is_told_once(self) -> None:
        assert complaint(AZURE_CLOUD="azure", JOURNAL_CONNECTION="https://account.table.core.chinacloudapi.cn") == (
            "the application settings are wrong; nothing was started:\n"
            "  AZURE_CLOUD is 'azure'; it must be one of AzureCloud, AzureUSGovernment, AzureChinaCloud"
        )

    def test_tokens_of_other_clouds_are_not_for_azure_devops(self) -> None:
        assert "AZURE_DEVOPS_AUTH is 'identity' in AzureUSGovernment" in complaint(AZURE_CLOUD=US_GOVERNMENT.name)


def named(ours: Cloud, theirs: Cloud) -> dict[str, str]:
    return {"AZURE_CLOUD": ours.name, "KEY_VAULT_URL": f"https://kv.{theirs.key_vault_suffix}"}


def test_the_settings_do_not_show_an_account_key() -> None:
    connection = f"AccountName=a;AccountKey={base64.b64encode(b'x' * 64).decode()};EndpointSuffix=core.windows.net"
    assert "AccountKey" not in repr(load(JOURNAL_CONNECTION=connection))


def test_empty_settings_are_unset_ones() -> None:
    assert load(AZURE_DEVOPS_AUTH=" ", JOURNAL_CONNECTION="", JOURNAL_LEASE_SECONDS="").lease_seconds == 60


def test_the_settings_show_no_secret() -> None:
    assert "canary" not in repr(load(**PAT, NOTIFY_TOPIC_ENDPOINT=TOPIC, NOTIFY_TOPIC_KEY=secret("topic-key")))


@pytest.mark.parametrize(
    "environment",
    [
        {"NOTIFY_TOPIC_ENDPOINT": TOPIC},
        {
            "NOTIFY_TOPIC_ENDPOINT": TOPIC,
            "WEBSITE_INSTANCE_ID": "i",
            "JOURNAL_CONNECTION": "UseDevelopmentStorage=true",
        },
        {"NOTIFY_TOPIC_ENDPOINT": TOPIC + "/"},
        {"NOTIFY_TOPIC_ENDPOINT": TOPIC.replace("eventgrid.azure.net", "eventgrid.azure.us")},
        {"NOTIFY_TOPIC_ENDPOINT": "http://localhost:8080/api/events", "NOTIFY_TOPIC_KEY": "k"},
        {"NOTIFY_TOPIC_ENDPOINT": "http://127.0.0.1:8080/api/events", "NOTIFY_TOPIC_KEY": "k"},
        {"NOTIFY_TOPIC_ENDPOINT": "http://[::1]:8080/api/events", "NOTIFY_TOPIC_KEY": "k"},
    ],
)
def test_a_topic_that_notifications_may_go_to(environment: dict[str, str]) -> None:
    assert load(**environment).notify_topic_endpoint == environment["NOTIFY_TOPIC_ENDPOINT"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"AZURE_DEVOPS_AUTH": "PAT"}, "AZURE_DEVOPS_AUTH is 'PAT'; it must be 'identity' or 'pat'"),
        ({"AZURE_DEVOPS_AUTH": "pat"}, "set AZURE_DEVOPS_EXT_PAT, or KEY_VAULT_URL and AZURE_DEVOPS_PAT_SECRET_NAME"),
        ({"AZURE_DEVOPS_AUTH": "pat", "KEY_VAULT_URL": "https://kv"}, "belong together"),
        ({"AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_PAT_SECRET_NAME": "x"}, "belong together"),
        (
            {"AZURE_DEVOPS_AUTH": "pat", "AZURE_DEVOPS_PAT_SECRET_NAME": "x", "KEY_VAULT_URL": "http://kv"},
            "must begin with https://",
        ),
        (
            {"JOURNAL_LEASE_SECONDS": "25"},
            "JOURNAL_LEASE_SECONDS (25) must be longer than DELIVERY_BUDGET_SECONDS (25)",
        ),
        ({"JOURNAL_LEASE_SECONDS": "soon"}, "JOURNAL_LEASE_SECONDS is 'soon'"),
        ({"DELIVERY_BUDGET_SECONDS": "0"}, "DELIVERY_BUDGET_SECONDS is '0'"),
        ({"JOURNAL_SETTLE_SECONDS": "-1"}, "JOURNAL_SETTLE_SECONDS is '-1'"),
        ({"JOURNAL_SETTLE_SECONDS": "inf"}, "JOURNAL_SETTLE_SECONDS is 'inf'"),
        ({"JOURNAL_SETTLE_SECONDS": "nan"}, "JOURNAL_SETTLE_SECONDS is 'nan'"),
        (
            {"JOURNAL_RETENTION_DAYS": "long"},
            "JOURNAL_RETENTION_DAYS is 'long'; it must be a number of days above zero",
        ),
        ({"JOURNAL_RETENTION_DAYS": "30"}, "JOURNAL_RETENTION_DAYS (30) must be more than 30, the longest cooldown"),
        ({"PYTHON_THREADPOOL_THREAD_COUNT": "many"}, "PYTHON_THREADPOOL_THREAD_COUNT is 'many'"),
        ({"PYTHON_THREADPOOL_THREAD_COUNT": "0"}, "PYTHON_THREADPOOL_THREAD_COUNT is '0'"),
        ({"JOURNAL_CONNECTION": f"AccountKey={secret('key')}"}, "JOURNAL_CONNECTION cannot be used: "),
        ({"JOURNAL_CONNECTION": "http://account.table.core.windows.net"}, "JOURNAL_CONNECTION cannot be used: "),
        ({"NOTIFY_TOPIC_ENDPOINT": "nextstage"}, "NOTIFY_TOPIC_ENDPOINT must begin with https://; copy it from"),
        ({"NOTIFY_TOPIC_ENDPOINT": "ftp://a/api/events"}, "NOTIFY_TOPIC_ENDPOINT must begin with https://"),
        ({"NOTIFY_TOPIC_ENDPOINT": "https:///api/events"}, "NOTIFY_TOPIC_ENDPOINT must begin with https://"),
        ({"NOTIFY_TOPIC_ENDPOINT": "https://a:b/api/events"}, "NOTIFY_TOPIC_ENDPOINT is not a URL"),
        ({"NOTIFY_TOPIC_ENDPOINT": "https://[a/api/events"}, "NOTIFY_TOPIC_ENDPOINT is not a URL"),
        ({"NOTIFY_TOPIC_ENDPOINT": TOPIC.removesuffix("/api/events")}, "must end in /api/events"),
        ({"NOTIFY_TOPIC_ENDPOINT": TOPIC + f"?key={secret('sas')}"}, "must hold no user name, password, query"),
        ({"NOTIFY_TOPIC_ENDPOINT": TOPIC.replace("://", f"://u:{secret('p')}@")}, "must hold no user name, password"),
        ({"NOTIFY_TOPIC_ENDPOINT": TOPIC.replace("https", "http")}, "must begin with https://, since a credential"),
        (
            {"NOTIFY_TOPIC_ENDPOINT": "http://localhost/api/events", "WEBSITE_POD_NAME": "p"},
            "NOTIFY_TOPIC_ENDPOINT must begin with https://, since a credential is sent there",
        ),
        ({"NOTIFY_TOPIC_ENDPOINT": "http://localhost/api/events"}, "is http://, where no identity's token is sent"),
        ({"NOTIFY_TOPIC_KEY": secret("topic-key")}, "NOTIFY_TOPIC_KEY means nothing without NOTIFY_TOPIC_ENDPOINT"),
        (
            {"NOTIFY_TOPIC_ENDPOINT": TOPIC, "NOTIFY_TOPIC_KEY": secret("topic") + "\n" + secret("key")},
            "NOTIFY_TOPIC_KEY holds characters that no key has; copy it again",
        ),
        ({"JOURNAL_CONNECTION": "sqlite:"}, "JOURNAL_CONNECTION is 'sqlite:' without a path"),
        ({"WEBSITE_INSTANCE_ID": "i"}, "an SQLite file, which instances in Azure do not share"),
        ({"WEBSITE_POD_NAME": "p"}, "an SQLite file, which instances in Azure do not share"),
    ],
)
def test_each_mistake(environment: dict[str, str], expected: str) -> None:
    assert expected in complaint(**environment)


def test_all_mistakes_at_once() -> None:
    text = complaint(AZURE_DEVOPS_AUTH="x", JOURNAL_LEASE_SECONDS="x", PYTHON_THREADPOOL_THREAD_COUNT="x")
    assert text.count("\n") == 3
