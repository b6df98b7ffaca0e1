"""The requests in docs/local.md and test.http are sent, and have the documented outcomes.

tests/tools/commands/test_docs.py compares test.http with the samples.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from devstack.ado import Emulator, load_declaration, serve
from devstack.processes import start_app
from tests.support import ROOT
from tests.support.canaries import secret
from tests.support.polling import wait_until
from tests.support.services.host_apps import app_settings
from tests.support.waits import KEY

LOCAL = (ROOT / "docs" / "local.md").read_text(encoding="utf-8")
HTTP = (ROOT / "test.http").read_text(encoding="utf-8")

HOST = "http://127.0.0.1:7071"
ENDPOINT = f"{HOST}/runtime/webhooks/eventgrid?functionName=aml_event"
CLOUD_EVENTS = "application/cloudevents+json"


@dataclass(frozen=True)
class Shown:
    """A request in a document, and its documented outcome."""

    sample: str
    outcome: str
    content_type: str
    command: str = ""  # shell command, only in docs/local.md


def curl_commands() -> list[Shown]:
    found = re.findall(r"^# (\w+)[^\n]*\n(curl -i \"\$url\" .*? -d @devstack/events/(\S+)\.json)$", LOCAL, re.MULTILINE)
    return [
        Shown(sample, outcome, re.findall(r"'Content-Type: ([^']+)'", command)[0], command)
        for outcome, command, sample in found
    ]


def http_requests() -> list[Shown]:
    pattern = (
        r"^### (?P<title>\S+): (?P<outcome>\w+)[^\n]*\n"
        r"POST {{host}}/runtime/webhooks/eventgrid\?functionName=aml_event\n"
        r"aeg-event-type: Notification\nContent-Type: (?P<type>\S+)\n\n< \./devstack/events/(?P=title)\.json\n"
    )
    return [
        Shown(found["title"], found["outcome"], found["type"]) for found in re.finditer(pattern, HTTP, re.MULTILINE)
    ]


def test_there_is_a_command_for_each_event_schema() -> None:
    assert [shown.content_type for shown in curl_commands()] == ["application/json", CLOUD_EVENTS]


def test_the_port_is_that_of_core_tools_and_the_header_that_of_event_grid() -> None:
    assert f"url='{ENDPOINT}'" in LOCAL
    assert f"@host = {HOST}\n" in HTTP
    assert all("-H 'aeg-event-type: Notification'" in shown.command for shown in curl_commands())


class TestSent:
    """Requests sent in the order of the documents to the stand-in host with an empty journal."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        return tmp_path / "host.log"

    @pytest.fixture
    def url(self, tmp_path: Path, log: Path) -> Iterator[str]:
        emulator = Emulator(load_declaration(), pats={secret("pat")})
        with serve(emulator) as ado:
            settings = app_settings(ado.organization_url, f"sqlite:{tmp_path / 'journal.sqlite3'}") | {
                "WAIT_TOKEN_KEYS": KEY
            }
            with start_app(env=settings, cwd=tmp_path, log=log) as host:
                yield host.url

    def test_the_curl_commands(self, url: str, log: Path) -> None:
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        for shown in curl_commands():
            script = f"url='{ENDPOINT.replace(HOST, url)}'\n{shown.command} --silent"
            answer = subprocess.run(["/bin/sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
            assert answer.stdout.startswith("HTTP/1.1 202 "), shown
        assert outcomes(log, len(curl_commands())) == [shown.outcome for shown in curl_commands()]

    def test_the_http_requests(self, url: str, log: Path) -> None:
        for shown in http_requests():
            headers = {"aeg-event-type": "Notification", "Content-Type": shown.content_type}
            body = (ROOT / "devstack" / "events" / f"{shown.sample}.json").read_bytes()
            answer = requests.post(ENDPOINT.replace(HOST, url), data=body, headers=headers, timeout=30)
            assert answer.status_code == 202, shown
        assert outcomes(log, len(http_requests())) == [shown.outcome for shown in http_requests()]

    def test_exactly_the_existing_functions_are_documented(self, url: str, log: Path) -> None:
        listed = dict(re.findall(r"^(\w+): (\w+Trigger) ", log.read_text(encoding="utf-8"), re.MULTILINE))
        assert dict(re.findall(r"`(\w+): (\w+Trigger)`", LOCAL)) == listed
        events = {name for name, trigger in listed.items() if trigger == "eventGridTrigger"}
        assert set(re.findall(r"functionName=(\w+)", LOCAL + HTTP)) == events
        timers = {name for name, trigger in listed.items() if trigger == "timerTrigger"}
        assert set(re.findall(r"/admin/functions/(\w+)", LOCAL)) == timers
        assert set(re.findall(r"/admin/functions/(\w+)", HTTP)) == timers
        for name in timers:
            answer = requests.post(f"{url}/admin/functions/{name}", json={"input": ""}, timeout=30)
            assert answer.status_code == 202


def outcomes(log: Path, number: int) -> list[str]:
    """Return the outcomes in order. Waits for them, because a log line may follow the answer to its request."""

    def decided() -> list[str]:
        lines = log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["outcome"] for line in lines if line.startswith('{"event_id"')]

    wait_until(lambda: len(decided()) >= number)
    return decided()
