"""The settings of waiting tasks: off by default, checked at the start, and no key ever shown."""

import pytest
from cryptography.fernet import Fernet

from shared.waits.settings import WaitSettings
from tests.shared.test_settings import complaint, load
from tests.support.building import WORKSPACE
from tests.support.canaries import secret

KEYS = [Fernet.generate_key().decode() for _ in range(2)]


def waits(**environment: str) -> WaitSettings:
    settings = load(WAIT_TOKEN_KEYS=KEYS[0], **environment).waits
    assert settings is not None
    return settings


def test_off_unless_there_is_a_key() -> None:
    assert load().waits is None
    assert load(AML_WORKSPACE_ID=WORKSPACE, WAIT_TIMEOUT_HOURS="5").waits is None


def test_defaults() -> None:
    assert waits() == WaitSettings((KEYS[0],), None, (), 30, 72, None, "https://management.azure.com")


def test_everything_given() -> None:
    settings = load(
        WAIT_TOKEN_KEYS=f"{KEYS[0]}, {KEYS[1]}",
        WAIT_ALLOWED_HOSTS="tfs.contoso.com:8443, ADO.contoso.com",
        WAIT_SWEEP_AFTER_MINUTES="5",
        WAIT_TIMEOUT_HOURS="12",
        AML_WORKSPACE_ID=WORKSPACE + "/",
        AZURE_RESOURCE_MANAGER_URL="https://management.chinacloudapi.cn",
    ).waits
    assert settings == WaitSettings(
        tuple(KEYS),
        None,
        ("tfs.contoso.com:8443", "ado.contoso.com"),
        5,
        12,
        WORKSPACE + "/",
        "https://management.chinacloudapi.cn",
    )


def test_keys_in_key_vault() -> None:
    settings = load(KEY_VAULT_URL="https://kv.vault.azure.net", WAIT_TOKEN_KEYS_SECRET_NAME="wait-keys").waits
    assert settings is not None
    assert (settings.token_keys, settings.keys_secret_name) == ((), "wait-keys")


def test_the_keys_do_not_show() -> None:
    assert KEYS[0] not in repr(load(WAIT_TOKEN_KEYS=KEYS[0]))


def test_a_key_that_is_none_is_named_by_its_place() -> None:
    message = complaint(WAIT_TOKEN_KEYS=f"{KEYS[0]},{secret('key')}")
    assert "WAIT_TOKEN_KEYS: key 2 is not a Fernet key" in message
    assert KEYS[0] not in message


def test_a_secret_without_a_vault() -> None:
    assert "KEY_VAULT_URL does not say in which vault" in complaint(WAIT_TOKEN_KEYS_SECRET_NAME="wait-keys")


@pytest.mark.parametrize("host", ["https://tfs.contoso.com", "tfs.contoso.com/tfs", "*.contoso.com", "tfs:0", "a b"])
def test_a_host_that_is_none(host: str) -> None:
    assert "WAIT_ALLOWED_HOSTS" in complaint(WAIT_TOKEN_KEYS=KEYS[0], WAIT_ALLOWED_HOSTS=host)


def test_a_workspace_that_is_no_resource_id() -> None:
    assert "AML_WORKSPACE_ID is 'ws'" in complaint(WAIT_TOKEN_KEYS=KEYS[0], AML_WORKSPACE_ID="ws")


def test_a_manager_without_tls_only_on_this_machine() -> None:
    assert waits(AZURE_RESOURCE_MANAGER_URL="http://127.0.0.1:7080").manager_url == "http://127.0.0.1:7080"
    for url in ("http://10.0.0.7:7080", "management.azure.com"):
        assert "AZURE_RESOURCE_MANAGER_URL" in complaint(AZURE_RESOURCE_MANAGER_URL=url)
    in_azure = complaint(
        AZURE_RESOURCE_MANAGER_URL="http://127.0.0.1:7080",
        WEBSITE_INSTANCE_ID="x",
        JOURNAL_CONNECTION="https://account.table.core.windows.net",
    )
    assert "AZURE_RESOURCE_MANAGER_URL" in in_azure


def test_a_wait_may_not_outlast_what_is_remembered() -> None:
    message = complaint(WAIT_TOKEN_KEYS=KEYS[0], WAIT_TIMEOUT_HOURS="2160")
    assert "WAIT_TIMEOUT_HOURS (2160) must be less than JOURNAL_RETENTION_DAYS (90)" in message
