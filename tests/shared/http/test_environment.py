"""Proxies and certificates come from the environment, both for Azure DevOps and for Azure Tables."""

from contextlib import closing
from pathlib import Path

import pytest

from shared.errors import JournalUnavailable, RequestNotSent
from shared.http.environment import environment_settings
from shared.http.message import HttpRequest
from shared.http.transport import RequestsTransport
from shared.journal.records import JournalKey
from shared.journal.tables import retry_policy
from shared.journal.tables.store import TablesStore
from tests.support.canaries import leaks, secret
from tests.support.journal.stores import no_identity
from tests.support.services.raw_server import answering, server

UNAVAILABLE = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def test_proxies_exceptions_and_certificates_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = environment_settings("https://dev.azure.com/contoso/_apis?x=y")
    assert (dict(settings["proxies"]), settings["verify"]) == ({}, True)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "table.core.windows.net")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    settings = environment_settings("https://dev.azure.com/contoso")
    assert (settings["proxies"]["https"], settings["verify"]) == ("http://proxy:3128", str(tmp_path / "ca.pem"))
    assert "https" not in environment_settings("https://account.table.core.windows.net/t")["proxies"]


@pytest.mark.parametrize(
    "proxy",
    [f"http://user:{secret('pw')}@", f"http://user:{secret('p/w')}@proxy:1", f"http://user:{secret('pw')}@proxy:99999"],
)
def test_a_proxy_that_is_not_a_url_is_a_typed_error_and_not_shown(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with closing(RequestsTransport(1)) as transport, pytest.raises(RequestNotSent) as caught:
        transport(HttpRequest("GET", "https://dev.azure.com/contoso"), "Bearer token", 5)
    assert "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY must be the URL of a proxy" in str(caught.value)
    assert leaks(str(caught.value)) == []


def test_azure_tables_uses_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_policy, "PAUSES_SECONDS", ())
    seen: list[bytes] = []
    connection = "AccountName=a;AccountKey=canaryAccountKey;TableEndpoint=https://storage.invalid/a"
    with server(answering(UNAVAILABLE, seen)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.removesuffix("/contoso"))
        with (
            closing(TablesStore(connection, no_identity)) as store,
            pytest.raises(JournalUnavailable),
        ):
            store.get(JournalKey("route", "key"))
    assert seen[0].startswith(b"CONNECT storage.invalid:443 ")
