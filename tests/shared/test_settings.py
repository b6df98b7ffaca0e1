"""Tests of the settings: values, checks, secrets, and that a new setting is one row."""

import base64
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from shared.clouds import CHINA, CLOUDS, PUBLIC, US_GOVERNMENT, Cloud
from shared.errors import InvalidSettings
from shared.settings import SETTINGS, Settings, load_settings
from tests.support import ROOT
from tests.support.builders import WORKSPACE
from tests.support.canaries import leaks, secret

APP = Path("/app")
TOPIC = "https://nextstage.westeurope-1.eventgrid.azure.net/api/events"
LOCAL_TOPIC = "http://localhost:8080/api/events"
WITH_TOPIC_KEY = {"NOTIFY_TOPIC_ENDPOINT": LOCAL_TOPIC, "NOTIFY_TOPIC_KEY": "k"}
AUTH_BY_PAT = {"AZURE_DEVOPS_AUTH": "pat"}
PAT = AUTH_BY_PAT | {"AZURE_DEVOPS_EXT_PAT": secret("pat")}
VAULT_PAT = AUTH_BY_PAT | {"AZURE_DEVOPS_PAT_SECRET_NAME": "ado-pat"}
IN_AZURE = {"WEBSITE_INSTANCE_ID": "i", "JOURNAL_CONNECTION": "https://account.table.core.windows.net"}
KEYS = [base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in range(2)]
GUID = "5f1a5b0e-58a5-4a4e-9d0f-1a2b3c4d5e6f"
WITH_KEY = f"AccountName=a;AccountKey={base64.b64encode(b'x' * 64).decode()};EndpointSuffix=core.windows.net"

QUEUES = "https://account.queue.core.windows.net"

CREDENTIALS_URL = f"https://user:{secret('pw')}@kv.example"
WRONG_PROXIES = [
    f"http://user:{secret('pw')}@",
    f"http://user:{secret('p/w')}@proxy:3128",
    f"http://user:{secret('pw')}@proxy:99999",
    f"http://proxy:3128/{secret('path')}",
]


def load(**environment: str) -> Settings:
    return load_settings(environment, APP)


def complaint(**environment: str) -> str:
    with pytest.raises(InvalidSettings) as caught:
        load(**environment)
    assert leaks(str(caught.value)) == []
    return str(caught.value)


@pytest.mark.parametrize(
    ("environment", "field", "value"),
    [
        ({}, "journal_connection", f"sqlite:{APP / 'journal.sqlite3'}"),
        ({}, "routes_file", APP / "routes.yaml"),
        ({}, "resource_manager_url", PUBLIC.resource_manager),
        ({}, "in_azure", False),
        ({}, "has_waits", False),
        ({}, "has_resume", False),
        ({"RESUME_STORAGE": "sqlite"}, "has_resume", True),
        ({"RESUME_STORAGE": WITH_KEY}, "resume_storage", WITH_KEY),
        ({"RESUME_STORAGE": "UseDevelopmentStorage=true"}, "has_resume", True),
        ({"RESUME_STORAGE__queueServiceUri": QUEUES}, "has_resume", True),
        ({"RESUME_STORAGE__queueServiceUri": "https://account.z01.queue.storage.azure.net/"}, "has_resume", True),
        ({"RESUME_STORAGE__queueServiceUri": "https://table.contoso.com"}, "has_resume", True),
        ({"RESUME_STORAGE__queueServiceUri": "https://127.0.0.1:10001/devstoreaccount1"}, "has_resume", True),
        ({"RESUME_STORAGE__queueServiceUri": "https://[queue"}, "has_resume", True),
        ({}, "resume_queue", "nextstage-resume"),
        ({}, "resume_give_up_hours", 168),
        ({"WAIT_TIMEOUT_HOURS": "5", "AML_WORKSPACE_ID": WORKSPACE}, "has_waits", False),
        ({"JOURNAL_LEASE_SECONDS": " "}, "lease_seconds", 60),
        ({"AZURE_DEVOPS_ORG_URL": " https://dev.azure.com/x "}, "organization_url", "https://dev.azure.com/x"),
        ({"AZURE_CLIENT_ID": "client"}, "client_id", "client"),
        ({"AZURE_CLOUD": "AzureCloud"}, "cloud", PUBLIC),
        ({"JOURNAL_CONNECTION": "sqlite:/data/j.sqlite3"}, "journal_connection", "sqlite:/data/j.sqlite3"),
        ({"JOURNAL_CONNECTION": WITH_KEY}, "journal_connection", WITH_KEY),
        ({"JOURNAL_LEASE_SECONDS": "32.5"}, "lease_seconds", 32.5),
        ({"DELIVERY_BUDGET_SECONDS": "5"}, "budget_seconds", 5),
        ({"JOURNAL_SETTLE_SECONDS": "3"}, "settle_seconds", 3),
        ({"JOURNAL_RETENTION_DAYS": "31"}, "retention_days", 31),
        ({"ROUTES_FILE": "tables/test.yaml"}, "routes_file", APP / "tables" / "test.yaml"),
        ({"PYTHON_THREADPOOL_THREAD_COUNT": "8"}, "worker_threads", 8),
        ({"WEBSITE_SITE_NAME": "func-nextstage"}, "app_name", "func-nextstage"),
        (IN_AZURE, "in_azure", True),
        (IN_AZURE | {"JOURNAL_CONNECTION": "UseDevelopmentStorage=true"}, "in_azure", True),
        (PAT, "auth", "pat"),
        (VAULT_PAT | {"KEY_VAULT_URL": "https://kv.vault.azure.net"}, "pat_secret_name", "ado-pat"),
        ({"WAIT_TOKEN_KEYS": f"{KEYS[0]}, {KEYS[1]}"}, "wait_token_keys", tuple(KEYS)),
        ({"KEY_VAULT_URL": "https://kv", "WAIT_TOKEN_KEYS_SECRET_NAME": "keys"}, "has_waits", True),
        ({"KEY_VAULT_URL": "https://kv", "WAIT_TOKEN_KEYS_SECRET_NAME": "keys"}, "wait_keys_secret_name", "keys"),
        ({"WAIT_ALLOWED_HOSTS": "tfs.x:8443, ADO.x"}, "wait_allowed_hosts", ("tfs.x:8443", "ado.x")),
        ({"WAIT_CLIENT_IDS": f"{GUID.upper()}, {GUID}"}, "wait_client_ids", (GUID, GUID)),
        ({"WEBSITE_AUTH_ENABLED": "True"}, "has_sign_in", True),
        ({"WEBSITE_AUTH_ENABLED": "0"}, "has_sign_in", False),
        ({"WAIT_SWEEP_AFTER_MINUTES": "5"}, "wait_sweep_after_minutes", 5),
        ({"WAIT_TIMEOUT_HOURS": "12"}, "wait_timeout_hours", 12),
        ({"AML_WORKSPACE_ID": WORKSPACE + "/"}, "workspace_id", WORKSPACE + "/"),
        ({"AML_WORKSPACE_IDS": f"{WORKSPACE}, {WORKSPACE}2"}, "workspace_ids", (WORKSPACE, WORKSPACE + "2")),
        (
            {"AML_WORKSPACE_ID": WORKSPACE, "AML_WORKSPACE_IDS": f"{WORKSPACE}2,{WORKSPACE.upper()}/"},
            "workspace_ids",
            (WORKSPACE + "2", WORKSPACE),
        ),
        ({"AZURE_RESOURCE_MANAGER_URL": "https://x"}, "resource_manager_url", "https://x"),
        ({"AZURE_RESOURCE_MANAGER_URL": "http://127.0.0.1:7080"}, "resource_manager_url", "http://127.0.0.1:7080"),
        (PAT | {"AZURE_CLOUD": CHINA.name}, "resource_manager_url", CHINA.resource_manager),
        # Topics for notifications
        (IN_AZURE | {"NOTIFY_TOPIC_ENDPOINT": TOPIC}, "notify_topic_endpoint", TOPIC),
        ({"NOTIFY_TOPIC_ENDPOINT": TOPIC + "/"}, "notify_topic_endpoint", TOPIC + "/"),
        (WITH_TOPIC_KEY, "notify_topic_key", "k"),
        (
            WITH_TOPIC_KEY | {"NOTIFY_TOPIC_ENDPOINT": LOCAL_TOPIC.replace("localhost", "[::1]")},
            "notify_topic_key",
            "k",
        ),
        # Hosts that belong to no cloud, and a connection string, which contains its own endpoints
        (VAULT_PAT | {"AZURE_CLOUD": CHINA.name, "KEY_VAULT_URL": "https://vault.example.org"}, "cloud", CHINA),
        (VAULT_PAT | {"KEY_VAULT_URL": "https://[kv"}, "cloud", PUBLIC),
        (PAT | {"AZURE_CLOUD": CHINA.name, "JOURNAL_CONNECTION": WITH_KEY}, "cloud", CHINA),
    ],
)
def test_each_setting_is_read(environment: dict[str, str], field: str, value: object) -> None:
    assert getattr(load(**environment), field) == value


def test_a_pat_is_read_each_time() -> None:
    environment = dict(PAT)
    settings = load_settings(environment, APP)
    environment["AZURE_DEVOPS_EXT_PAT"] = secret("rotated")
    assert settings.pat() == secret("rotated")


@pytest.mark.parametrize(("ours", "theirs"), list(product(CLOUDS.values(), repeat=2)))
def test_endpoints_must_belong_to_the_cloud(ours: Cloud, theirs: Cloud) -> None:
    vault, queue = f"https://KV.{theirs.key_vault_suffix}", f"https://account.queue.{theirs.storage_suffix}"
    table = f"https://account.table.{theirs.storage_suffix}"
    urls = {"KEY_VAULT_URL": vault, "JOURNAL_CONNECTION": table, "RESUME_STORAGE__queueServiceUri": queue}
    environment = VAULT_PAT | {"AZURE_CLOUD": ours.name} | urls
    if ours is theirs:
        assert load(**environment).cloud is ours
        return
    text = complaint(**environment)
    for name in urls:
        assert f"{name} is an endpoint of {theirs.name}, but AZURE_CLOUD is {ours.name}; correct one" in text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"AZURE_DEVOPS_AUTH": "PAT"}, "AZURE_DEVOPS_AUTH is 'PAT'; it must be 'identity' or 'pat'"),
        (AUTH_BY_PAT, "set AZURE_DEVOPS_EXT_PAT, or KEY_VAULT_URL and AZURE_DEVOPS_PAT_SECRET_NAME"),
        (AUTH_BY_PAT | {"KEY_VAULT_URL": "https://kv"}, "must be set together"),
        (VAULT_PAT, "must be set together"),
        ({"AZURE_DEVOPS_AUTH": secret("pat")}, "\n  AZURE_DEVOPS_AUTH must be 'identity' or 'pat'"),
        ({"AZURE_DEVOPS_ORG_URL": CREDENTIALS_URL}, "\n  AZURE_DEVOPS_ORG_URL must not contain a user name, password"),
        ({"AZURE_RESOURCE_MANAGER_URL": CREDENTIALS_URL}, "AZURE_RESOURCE_MANAGER_URL must not contain a user name"),
        ({"KEY_VAULT_URL": CREDENTIALS_URL}, "KEY_VAULT_URL is 'https://***@kv.example'; it must begin with https://"),
        *(({"HTTPS_PROXY": proxy}, "\n  HTTPS_PROXY must be the URL of a proxy, such as") for proxy in WRONG_PROXIES),
        ({"all_proxy": WRONG_PROXIES[0]}, "\n  all_proxy must be the URL of a proxy"),
        ({"KEY_VAULT_URL": "http://kv"}, "KEY_VAULT_URL is 'http://kv'; it must begin with https://, as in"),
        ({"AZURE_CLOUD": US_GOVERNMENT.name}, "accepts tokens of AzureUSGovernment; set it to 'pat'"),
        ({"JOURNAL_LEASE_SECONDS": "25"}, "LEASE_SECONDS (25) must be longer than DELIVERY_BUDGET_SECONDS (25)"),
        ({"RESUME_STORAGE": "on"}, "RESUME_STORAGE must be 'sqlite', or a storage account's connection string with"),
        ({"RESUME_STORAGE": QUEUES}, "RESUME_STORAGE is a URL, which belongs in RESUME_STORAGE__queueServiceUri"),
        (IN_AZURE | {"RESUME_STORAGE": "sqlite"}, "but JOURNAL_CONNECTION does not name a SQLite file; set RESUME_STO"),
        ({"RESUME_STORAGE": "sqlite", "RESUME_STORAGE__queueServiceUri": QUEUES}, "name two queues; remove one"),
        (
            {"RESUME_STORAGE__queueServiceUri": "http://a"},
            "RESUME_STORAGE__queueServiceUri is 'http://a'; it must begin",
        ),
        *(
            (
                {"RESUME_STORAGE__queueServiceUri": f"https://account.{service}.{suffix}/"},
                f"must be a queue endpoint, as in https://<account>.queue.core.windows.net, not a {service} endpoint",
            )
            for service, suffix in (
                ("table", PUBLIC.storage_suffix),
                ("blob", US_GOVERNMENT.storage_suffix),
                ("dfs", CHINA.storage_suffix),
                ("file", "storage.azure.net"),
            )
        ),
        ({"RESUME_QUEUE": "Nextstage"}, "RESUME_QUEUE is 'Nextstage'; it must be 3 to 55 lowercase letters"),
        ({"JOURNAL_LEASE_SECONDS": "soon"}, "JOURNAL_LEASE_SECONDS is 'soon'; it must be a number of seconds above"),
        ({"DELIVERY_BUDGET_SECONDS": "0"}, "DELIVERY_BUDGET_SECONDS is '0'"),
        ({"JOURNAL_SETTLE_SECONDS": "inf"}, "JOURNAL_SETTLE_SECONDS is 'inf'"),
        ({"JOURNAL_SETTLE_SECONDS": "nan"}, "JOURNAL_SETTLE_SECONDS is 'nan'"),
        ({"JOURNAL_RETENTION_DAYS": "long"}, "it must be a number of days above zero"),
        ({"JOURNAL_RETENTION_DAYS": "30"}, "JOURNAL_RETENTION_DAYS (30) must be more than 30, the longest cooldown"),
        ({"PYTHON_THREADPOOL_THREAD_COUNT": "²"}, "PYTHON_THREADPOOL_THREAD_COUNT is '²'; it must be a whole number"),
        ({"PYTHON_THREADPOOL_THREAD_COUNT": "0"}, "PYTHON_THREADPOOL_THREAD_COUNT is '0'"),
        ({"PYTHON_THREADPOOL_THREAD_COUNT": "9" * 5000}, "it must be a whole number above zero, at most 1000"),
        ({"JOURNAL_CONNECTION": f"AccountKey={secret('key')}"}, "JOURNAL_CONNECTION cannot be used: "),
        ({"JOURNAL_CONNECTION": "http://account.table.core.windows.net"}, "JOURNAL_CONNECTION cannot be used: "),
        ({"JOURNAL_CONNECTION": "sqlite:"}, "JOURNAL_CONNECTION is 'sqlite:' without a path; write sqlite:PATH"),
        ({"WEBSITE_INSTANCE_ID": "i"}, "JOURNAL_CONNECTION is a SQLite file, which instances in Azure cannot share"),
        ({"WEBSITE_POD_NAME": "p"}, "JOURNAL_CONNECTION is a SQLite file, which instances in Azure cannot share"),
        ({"NOTIFY_TOPIC_ENDPOINT": "nextstage"}, "NOTIFY_TOPIC_ENDPOINT must begin with https://; copy it from"),
        ({"NOTIFY_TOPIC_ENDPOINT": "ftp://a/api/events"}, "NOTIFY_TOPIC_ENDPOINT must begin with https://"),
        ({"NOTIFY_TOPIC_ENDPOINT": "https:///api/events"}, "NOTIFY_TOPIC_ENDPOINT must begin with https://"),
        ({"NOTIFY_TOPIC_ENDPOINT": "https://a:b/api/events"}, "NOTIFY_TOPIC_ENDPOINT is not a URL"),
        ({"NOTIFY_TOPIC_ENDPOINT": "https://[a/api/events"}, "NOTIFY_TOPIC_ENDPOINT is not a URL"),
        ({"NOTIFY_TOPIC_ENDPOINT": TOPIC.removesuffix("/api/events")}, "must end in /api/events"),
        ({"NOTIFY_TOPIC_ENDPOINT": TOPIC + f"?key={secret('sas')}"}, "must not contain a user name, password, query"),
        (
            {"NOTIFY_TOPIC_ENDPOINT": TOPIC.replace("://", f"://u:{secret('p')}@")},
            "must not contain a user name, password",
        ),
        ({"NOTIFY_TOPIC_ENDPOINT": TOPIC.replace("https", "http")}, "must begin with https://, since a credential"),
        (IN_AZURE | WITH_TOPIC_KEY, "NOTIFY_TOPIC_ENDPOINT must begin with https://, since a credential is sent there"),
        (
            {"NOTIFY_TOPIC_ENDPOINT": LOCAL_TOPIC},
            "is http://, which is not allowed for an identity's token; set NOTIFY_TOPIC_KEY",
        ),
        ({"NOTIFY_TOPIC_KEY": secret("topic-key")}, "NOTIFY_TOPIC_KEY has no effect without NOTIFY_TOPIC_ENDPOINT"),
        (
            WITH_TOPIC_KEY | {"NOTIFY_TOPIC_KEY": secret("topic") + "\n" + secret("key")},
            "NOTIFY_TOPIC_KEY contains characters that no key has; copy the whole key again",
        ),
        ({"WAIT_TOKEN_KEYS": f"{KEYS[0]},{secret('key')}"}, "WAIT_TOKEN_KEYS cannot be used: key 2 is not a Fernet"),
        ({"WAIT_TOKEN_KEYS_SECRET_NAME": "wait-keys"}, "WAIT_TOKEN_KEYS_SECRET_NAME is set without KEY_VAULT_URL"),
        (
            {"WAIT_ALLOWED_HOSTS": "a.b,https://tfs"},
            "it contains 'https://tfs', which is not a host such as tfs.contoso",
        ),
        ({"WAIT_ALLOWED_HOSTS": "tfs.contoso.com/tfs"}, "WAIT_ALLOWED_HOSTS is 'tfs.contoso.com/tfs'"),
        ({"WAIT_ALLOWED_HOSTS": "*.contoso.com"}, "WAIT_ALLOWED_HOSTS is '*.contoso.com'"),
        ({"WAIT_ALLOWED_HOSTS": "tfs:0"}, "WAIT_ALLOWED_HOSTS is 'tfs:0'"),
        ({"WAIT_CLIENT_IDS": f"{GUID},{secret('app')}"}, "WAIT_CLIENT_IDS cannot be used: client id 2 is not a GUID"),
        ({"AZURE_DEVOPS_API_VERSION": "v7"}, "AZURE_DEVOPS_API_VERSION is 'v7'; it must be a version such as 7.1"),
        ({"AML_WORKSPACE_ID": "ws"}, "AML_WORKSPACE_ID is 'ws'; it must be a workspace's resource id"),
        (
            {"AML_WORKSPACE_IDS": f"{WORKSPACE},ws"},
            "it contains 'ws', which is not a workspace's resource id, as in /subscriptions/",
        ),
        ({"AZURE_RESOURCE_MANAGER_URL": "http://10.0.0.7:7080"}, "'http://10.0.0.7:7080'; it must begin with https"),
        ({"AZURE_RESOURCE_MANAGER_URL": "management.azure.com"}, "AZURE_RESOURCE_MANAGER_URL is 'management.azure"),
        (IN_AZURE | {"AZURE_RESOURCE_MANAGER_URL": "http://127.0.0.1:7080"}, "it must begin with https://"),
    ],
)
def test_each_mistake_is_reported(environment: dict[str, str], expected: str) -> None:
    assert expected in complaint(**environment)


def test_a_proxy_may_have_a_password() -> None:
    for proxy in ("http://proxy:3128", "proxy:3128", f"http://user:{secret('pw')}@proxy:3128/", "", "socks5://proxy"):
        load(HTTPS_PROXY=proxy)


BOUNDS: Final = {
    "JOURNAL_LEASE_SECONDS": 3600,
    "DELIVERY_BUDGET_SECONDS": 28,
    "JOURNAL_SETTLE_SECONDS": 3600,
    "JOURNAL_RETENTION_DAYS": 3650,
    "RESUME_GIVE_UP_HOURS": 8760,
    "WAIT_SWEEP_AFTER_MINUTES": 1440,
    "WAIT_TIMEOUT_HOURS": 720,
    "WAIT_LIMIT_PER_ORGANIZATION": 5000,
    "WAIT_LIMIT_PER_PLAN": 5000,
    "PYTHON_THREADPOOL_THREAD_COUNT": 1000,
}


@pytest.mark.parametrize(("name", "bound"), BOUNDS.items())
def test_each_number_has_an_upper_bound(name: str, bound: int) -> None:
    """The bound is accepted, a larger number is refused at the start, and the docs state it."""
    load(**{name: str(bound)})
    for text in (str(bound + 1), "1" + "0" * 12):
        found = complaint(**{name: text})
        assert found.partition("\n  ")[2].startswith(f"{name} is '{text}'; it must be a ")
        assert found.endswith(f" above zero, at most {bound}")
    assert f"at most {bound}" in next(one.meaning for one in SETTINGS if one.name == name)


def test_no_number_is_without_a_bound() -> None:
    numbers = {one.name for one in SETTINGS if type(one.default_value) in {int, float}}
    assert numbers == BOUNDS.keys()


def test_all_mistakes_are_reported_at_once_without_conflicts_of_invalid_settings() -> None:
    other = {"AZURE_CLOUD": "azure", "JOURNAL_CONNECTION": f"https://account.table.{CHINA.storage_suffix}"}
    text = complaint(**VAULT_PAT, **other, KEY_VAULT_URL="http://kv", JOURNAL_LEASE_SECONDS="x", AML_WORKSPACE_ID="x")
    first, *mistakes = text.split("\n  ")
    assert first == "the application settings are wrong, so the app does not start:"
    assert [mistake.split()[0] for mistake in mistakes] == [
        *("KEY_VAULT_URL", "AZURE_CLOUD", "JOURNAL_LEASE_SECONDS", "AML_WORKSPACE_ID")
    ]
    assert mistakes[1].endswith("it must be 'AzureCloud' or 'AzureUSGovernment' or 'AzureChinaCloud'")


@pytest.mark.parametrize("name", [one.name for one in SETTINGS if one.is_secret])
@pytest.mark.parametrize("form", ["{}", "{}\n", "é{}", "AccountName=a;AccountKey={}", "sqlite:{}"])
def test_no_secret_shows(name: str, form: str) -> None:
    """Neither the message about a wrong setting nor the repr of the settings contains a secret."""
    try:
        shown = repr(load(NOTIFY_TOPIC_ENDPOINT=TOPIC, **{name: form.format(secret(name))}))
    except InvalidSettings as exc:
        shown = str(exc)
    assert leaks(shown) == []


NEW_ROW: Final = (
    '    tea_minutes: float = setting("TEA_MINUTES", parse.number_of("minutes", at_most=9), "How long", default="4")\n'
)
USE: Final = """
from pathlib import Path
from shared.settings import load_settings
from tools.settings_docs import PAGE, settings_page

print(load_settings({"TEA_MINUTES": "5"}, Path()).tea_minutes)
try:
    load_settings({"TEA_MINUTES": "x"}, Path())
except Exception as exc:
    print(str(exc).splitlines()[1])
PAGE.write_text(settings_page())  # as 'make docs' does
"""


def test_a_new_setting_is_one_row(tmp_path: Path) -> None:
    """In a copy of the project, a new setting is read, checked and documented, and the related tests accept it."""
    copy = tmp_path / "copy"
    others = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "node_modules", "dist", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=others)
    for path, line, before in (
        ("shared/settings/table.py", NEW_ROW, "    environment: Mapping[str, str] = "),
        ("infra/modules/function-app.bicep", "  TEA_MINUTES: '4'\n", "  ROUTES_FILE: "),
    ):
        text = (copy / path).read_text()
        assert before in text
        (copy / path).write_text(text.replace(before, line + before, 1))
    tests = ("tests/docs/test_settings_page.py", "tests/infra/test_app_settings.py")
    for arguments, said in (
        (("-c", USE), "5.0 TEA_MINUTES is 'x'; it must be a number of minutes above zero"),
        (("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests), "passed"),
    ):
        done = subprocess.run([sys.executable, *arguments], cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in " ".join(done.stdout.split())
    assert "| `TEA_MINUTES` | `4` | How long |" in (copy / "docs" / "settings.md").read_text()
