"""Function apps for the tests of the stand-in host, and the project's app."""

import http.client
import importlib.util
import logging
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest
import requests

from devstack.ado import Emulator, load_declaration, serve
from devstack.host import Host, heard, load_app
from devstack.host import serve as serve_host
from devstack.host.host_json import read_host_settings
from tests.support import ROOT
from tests.support.canaries import secret

HEADER = """
import asyncio
import logging
import threading
import time

import azure.functions as func

app = func.FunctionApp()
calls = []
"""


def write_app(directory: Path, text: str, *, header: str = HEADER) -> Path:
    """Write `function_app.py` and return its directory."""
    directory.mkdir(exist_ok=True)
    (directory / "function_app.py").write_text(header + textwrap.dedent(text), encoding="utf-8")
    return directory


def import_app(directory: Path, text: str, *, header: str = HEADER) -> ModuleType:
    """Write an app and import it, without adding it to `sys.modules`. The app may record its calls in `calls`."""
    write_app(directory, text, header=header)
    spec = importlib.util.spec_from_file_location("sample_app", directory / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def request_unlogged(
    method: str, url: str, body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """Send a request with a key in its URL, without logging the URL as other clients do."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def app_settings(organization_url: str, journal: str) -> dict[str, str]:
    """Return the settings of the app for an emulator that accepts ``secret("pat")``."""
    return {
        "AZURE_DEVOPS_ORG_URL": organization_url,
        "AZURE_DEVOPS_PROJECT": "mlops",
        "AZURE_DEVOPS_AUTH": "pat",
        "AZURE_DEVOPS_EXT_PAT": secret("pat"),
        "JOURNAL_CONNECTION": journal,
    }


def web_hook(host_url: str) -> str:
    """Return the URL to which Event Grid delivers the events for the project's app."""
    return f"{host_url}/runtime/webhooks/eventgrid?functionName=aml_event"


def deliver(url: str, *events: str) -> requests.Response:
    """Deliver events to the Event Grid web hook at a URL, in one request."""
    headers = {"aeg-event-type": "Notification", "Content-Type": "application/json"}
    return requests.post(url, data=f"[{','.join(events)}]".encode(), headers=headers, timeout=30)


class _Exported(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(heard)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "devstack.host":
            self.records.append(record)


@contextmanager
def exported_log(level: int = logging.INFO) -> Iterator[list[logging.LogRecord]]:
    """Yield the log records that the host would send to Application Insights, without its own.

    :param level: the level of the worker's root logger.
    """
    handler, root = _Exported(), logging.getLogger()
    handler.setLevel(level)
    root.addHandler(handler)
    try:
        yield handler.records
    finally:
        root.removeHandler(handler)


@contextmanager
def serving_app(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Iterator[tuple[str, Emulator]]:
    """Serve the real function_app with the stand-in host in this process; yield its web hook and the emulator.

    :param folder: folder of the journal.
    """
    emulator = Emulator(load_declaration(), pats={secret("pat")})
    with serve(emulator) as ado:
        environment = app_settings(ado.organization_url, f"sqlite:{folder / 'journal.sqlite3'}")
        for name, value in (environment | settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "function_app", raising=False)
        with serve_host(Host(load_app(ROOT), settings=read_host_settings(ROOT), threads=32)) as host:
            yield web_hook(host.url), emulator
