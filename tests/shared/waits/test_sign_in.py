"""Tasks that sign in with Microsoft Entra in place of a function key."""

import json
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from cryptography.fernet import Fernet
from werkzeug.wrappers import Request

from devstack.ado import AzureFunction, Emulator, TaskRecord, load_declaration
from devstack.ado import serve as serve_ado
from devstack.events import sample_text
from devstack.host import Host, load_app
from devstack.host import serve as serve_host
from devstack.http_server import serving
from shared.waits.sign_in import SignIn
from tests.support import ROOT
from tests.support.builders import run_completed
from tests.support.canaries import secret
from tests.support.polling import wait_until
from tests.support.services.app_service import PRINCIPAL, AppService, principal
from tests.support.services.host_apps import app_settings, deliver, web_hook

CLIENT = "5f1a5b0e-58a5-4a4e-9d0f-1a2b3c4d5e6f"
OTHER = "00000000-0000-0000-0000-000000000003"
TOKENS = {secret("entra-token"): CLIENT, secret("other-token"): OTHER}


def _header(document: object) -> dict[str, str]:
    return {PRINCIPAL: b64encode(json.dumps(document).encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({PRINCIPAL: principal(CLIENT)}, None),
        ({PRINCIPAL.lower(): principal(CLIENT.upper(), "appid")}, None),
        ({}, 401),
        ({PRINCIPAL: principal(OTHER)}, 403),
        ({PRINCIPAL: principal(CLIENT, "oid")}, 403),
        ({PRINCIPAL: ""}, 403),
        ({PRINCIPAL: "%%%"}, 403),
        (_header([]), 403),
        (_header({"claims": [{"typ": "azp"}]}), 403),
        (_header({"claims": None}), 403),
        (_header({"claims": ["azp"]}), 403),
        ({PRINCIPAL: b64encode(b"[" * 100_000).decode()}, 403),
    ],
)
def test_only_the_applications_of_the_setting_may_register(headers: dict[str, str], status: int | None) -> None:
    answer = SignIn([CLIENT], is_checked=True).refusal(headers)
    assert (answer and answer.status) == status


@pytest.mark.parametrize(
    ("client_ids", "is_checked", "said"),
    [
        ([], True, "signing in is switched off; set WAIT_CLIENT_IDS"),
        ([CLIENT], False, "App Service authentication is off, so nobody can sign in"),
    ],
)
def test_a_header_that_nobody_checks_proves_nothing(client_ids: list[str], is_checked: bool, said: str) -> None:
    answer = SignIn(client_ids, is_checked=is_checked).refusal({PRINCIPAL: principal(CLIENT)})
    assert answer is not None
    assert answer.status == 501
    assert str(answer.document["error"]).startswith(said)


@dataclass
class Stack:
    """The emulator, and the function app behind App Service authentication."""

    emulator: Emulator
    organization_url: str
    url: str

    def start(self, token: str, path: str = "/api/entra/waits") -> TaskRecord:
        """Start AzureFunction@2, and return it when its request is answered."""
        inputs = AzureFunction(function=f"{self.url}{path}", authorization=f"Bearer {token}", body={"run_id": "run-1"})
        task_id = self.emulator.start_wait_task(self.organization_url, inputs).record.id
        wait_until(lambda: self.task(task_id).state != "calling")
        return self.task(task_id)

    def task(self, task_id: str) -> TaskRecord:
        return self.emulator.books.task_hub.task(task_id)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    emulator = Emulator(load_declaration(), pats={secret("pat")})
    with serve_ado(emulator) as ado:
        environment = app_settings(ado.organization_url, f"sqlite:{tmp_path / 'journal.sqlite3'}") | {
            "WAIT_TOKEN_KEYS": Fernet.generate_key().decode(),
            "WAIT_CLIENT_IDS": CLIENT,
            "WEBSITE_AUTH_ENABLED": "True",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "function_app", raising=False)
        with (
            serve_host(Host(load_app(ROOT), threads=8)) as host,
            serving(Request.application(AppService(host.url, TOKENS).answer)) as front,
        ):
            yield Stack(emulator, ado.organization_url, front.url)


def test_a_task_signs_in_and_is_completed(stack: Stack) -> None:
    (token, *_) = TOKENS
    task = stack.start(token)
    assert (task.state, task.feed_lines) == (
        "waiting",
        ("nextstage: waiting for Azure ML run run-1; no agent is occupied",),
    )
    assert deliver(web_hook(stack.url), run_completed()).status_code == 202
    wait_until(lambda: stack.task(task.id).state == "completed")
    assert stack.task(task.id).result == "succeeded"


@pytest.mark.parametrize(("token", "code"), [(secret("other-token"), "Forbidden"), ("unknown", "Unauthorized")])
def test_another_application_fails_the_task(stack: Stack, token: str, code: str) -> None:
    task = stack.start(token)
    assert (task.result, task.ended_by) == ("failed", "call")
    assert f"Response Code: {code}" in task.log_lines


def test_a_forged_header_is_not_passed_on(stack: Stack) -> None:
    forged = {PRINCIPAL: principal(CLIENT)}
    answer = requests.post(f"{stack.url}/api/entra/waits", json={"run_id": "run-1"}, headers=forged, timeout=60)
    assert answer.status_code == 401


def test_events_and_administration_need_no_sign_in(stack: Stack) -> None:
    assert deliver(web_hook(stack.url), sample_text("model-registered")).status_code == 202
    purge = requests.post(f"{stack.url}/admin/functions/purge_journal", json={"input": ""}, timeout=60)
    assert purge.status_code == 202
