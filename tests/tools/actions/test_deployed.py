"""``manage.py doctor --deployed`` against the app on the stand-in host, with stand-ins for azd and Resource Manager."""

import json
import logging
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from devstack.arm import sample
from devstack.processes import start_app
from handlers import EVENT_TYPES
from shared.events.event import AML_PREFIX
from shared.journal.sqlite import SqliteStore
from shared.version import VERSION
from tests.support import ROOT
from tests.support.services.arm import SYSTEM_TOPIC, Arm, serve_arm, subscription, topic
from tests.tools.conftest import Desk, Result
from tools.azure.sign_in import PAUSE_VARIABLE, URL_VARIABLE
from tools.events.webhook import KEY_VARIABLE

TYPES = [declared.type for declared in EVENT_TYPES.values() if declared.type.startswith(AML_PREFIX)]
EVENTS = f"{SYSTEM_TOPIC}/eventSubscriptions"
TOKEN = {"token": "devstack-token", "expiresOn": "2099-01-01T00:00:00Z"}
WORKS = {"settings", "routes", "function app", "function", "key", "test event", "journal", "app", "events"}


@dataclass
class Laptop:
    """The desk of somebody who has deployed the app.

    :param values: the values of azd's environment.
    """

    desk: Desk
    arm: Arm
    url: str
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = {
            "AZURE_ENV_NAME": "dev",
            "NEXTSTAGE_FUNCTION_APP_ID": sample.APP,
            "AML_WORKSPACE_IDS": sample.WORKSPACE,
            "JOURNAL_CONNECTION": self.desk.environment["JOURNAL_CONNECTION"],
        }

    def install_azd(self, folder: Path) -> None:
        """Make an azd that knows the values, and is signed in."""
        folder.mkdir()
        answers = {"env get-values": str(folder / "values.json"), "auth token": str(folder / "token.json")}
        (folder / "token.json").write_text(json.dumps(TOKEN))
        (folder / "azd").write_text(
            f"#!{sys.executable}\nimport sys\nprint(open({answers!r}[' '.join(sys.argv[1:3])]).read())\n"
        )
        (folder / "azd").chmod(stat.S_IRWXU)

    def settings(self) -> dict[str, str]:
        """Return the environment of the shell, which does not contain azd's values."""
        bin_folder = self.desk.folder / "bin"
        if not bin_folder.exists():
            self.install_azd(bin_folder)
        (bin_folder / "values.json").write_text(json.dumps(self.values))
        return {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "JOURNAL_CONNECTION": "",
            URL_VARIABLE: self.arm.url,
            PAUSE_VARIABLE: "0",
        }

    def finds(self, *arguments: str) -> dict[str, list[dict[str, Any]]]:
        """Return what the doctor finds, by check."""
        self.desk.settings |= self.settings()
        result = self.desk.run("doctor", "--deployed", "--url", self.url, "--json", *arguments)
        found: dict[str, list[dict[str, Any]]] = {}
        for one in result.json:
            found.setdefault(one["check"], []).append(one)
        failed = any(one["status"] == "failed" for one in result.json)
        assert (result.code, result.err) == (int(failed), "")
        return found

    def is_told(self, check: str, status: str, *words: str) -> dict[str, list[dict[str, Any]]]:
        """Assert that one check, and only this one, has another result than "ok"."""
        found = self.finds()
        odd = [one for results in found.values() for one in results if one["status"] != "ok"]
        assert [(one["check"], one["status"]) for one in odd if one["status"] != "skipped"] == [(check, status)]
        text = f"{odd[0]['detail']} next: {odd[0]['next_step']}"
        assert [one for one in words if one not in text] == [], text
        return found


def deploy(desk: Desk, stack: ExitStack, app_dir: Path = ROOT) -> tuple[str, str]:
    """Start the app on a host that asks for keys, and return its URL and its system key."""
    desk.settings = {"ROUTES_FILE": str(ROOT / "routes.yaml")}
    log = desk.folder / "host.log"
    started = start_app("--keys", env=desk.environment, cwd=desk.folder, log=log, app_dir=app_dir)
    host = stack.enter_context(started)
    return host.url, re.findall(r"(?m)^system key: (\S+)$", log.read_text(encoding="utf-8"))[-1]


@pytest.fixture
def laptop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laptop]:
    with ExitStack() as stack:
        arm = stack.enter_context(serve_arm(syncs=0))
        url, key = deploy(desk, stack)
        arm.emulator.store.keys["system"] = key
        found = {"id": SYSTEM_TOPIC, **topic(), "identity": {"type": "SystemAssigned", "principalId": "p"}}
        arm.emulator.add(found, *(events(name, types) for name, types in (("n", TYPES[1:]), ("n-run", TYPES[:1]))))
        laptop = Laptop(desk, arm, url)
        # The identity library asks the azd of this process.
        monkeypatch.setenv("PATH", laptop.settings()["PATH"])
        yield laptop


def events(name: str, types: list[str], state: str = "Succeeded", **changes: Any) -> dict[str, Any]:
    document = subscription(filter={"includedEventTypes": types}, provisioningState=state, **changes)
    return {"id": f"{EVENTS}/{name}", "name": name, **document}


def test_it_works_as_a_process(laptop: Laptop) -> None:
    laptop.desk.settings |= laptop.settings()
    result: Result = laptop.desk.process("doctor", "--deployed", "--url", laptop.url)
    assert (result.code, result.err) == (0, "")
    assert laptop.arm.emulator.store.keys["system"] not in result.out
    *rows, last = result.rows
    assert ({row[1] for row in rows}, {row[0] for row in rows}) == (WORKS, {"ok"})
    assert last == ["9 checks: 9 ok"]
    assert [record.key.route for record in laptop.desk.records] == ["$test-events"]
    asked = [(one.method, one.path.rpartition("/")[2]) for one in laptop.arm.emulator.changes]
    assert asked == [("POST", "listKeys")]


def test_each_fault_has_its_own_message(laptop: Laptop, caplog: pytest.LogCaptureFixture) -> None:
    arm, desk, key = laptop.arm, laptop.desk, laptop.arm.emulator.store.keys["system"]
    caplog.set_level(logging.DEBUG)
    found = laptop.finds()
    assert {one["status"] for results in found.values() for one in results} == {"ok"}
    assert ("listKeys" in caplog.text, key in caplog.text, key in repr(found)) == (True, False, False)

    arm.emulator.store.keys["system"] = "wrong"
    laptop.is_told("test event", "failed", "HTTP 401: the app rejects its system key", "restart the app")
    arm.emulator.store.keys["system"] = key

    site = next(one for one in arm.emulator.resources if one["id"] == sample.APP)
    stopped = {**site, "properties": {**site["properties"], "state": "Stopped"}}
    arm.emulator.add(stopped)
    laptop.is_told("function app", "failed", "func-nextstage-dev is stopped", "the portal")
    arm.emulator.add(site)

    with closing(SqliteStore(desk.folder / "other.sqlite3")):
        laptop.values["JOURNAL_CONNECTION"] = f"sqlite:{desk.folder / 'other.sqlite3'}"
    laptop.is_told("journal", "failed", "other.sqlite3: it works with another journal", "compare JOURNAL_CONNECTION")
    laptop.values["JOURNAL_CONNECTION"] = f"sqlite:{desk.folder / 'journal.sqlite3'}"

    arm.emulator.add(events("n", TYPES[1:], "Failed"))
    laptop.is_told("events", "failed", "ws: the event subscription n is in the state Failed", "connect")
    arm.emulator.add(events("n", TYPES[1:], deadLetterWithResourceIdentity=None))
    laptop.is_told("events", "failed", "ws: n cannot keep the events that are not delivered", "connect")
    arm.emulator.add(events("n", TYPES[2:]))
    laptop.is_told("events", "warning", f"no event subscription delivers {TYPES[1].rpartition('.')[2]}", "connect")
    elsewhere = {"endpointType": "AzureFunction", "properties": {"resourceId": f"{sample.APP}2/functions/aml_event"}}
    arm.emulator.add(*(events(name, TYPES, destination=elsewhere) for name in ("n", "n-run")))
    laptop.is_told("events", "failed", "ws: no event subscription leads to func-nextstage-dev, so no event arrives")
    arm.emulator.add(events("n", TYPES))

    arm.switch(syncs=1)
    laptop.is_told("function", "failed", "does not list the function aml_event, only WarmUp", "connect")
    arm.switch(syncs=0)

    desk.routes("name: other\nevent: RunCompleted\npipeline: 1")
    desk.settings["ROUTES_FILE"] = str(desk.folder / "routes.yaml")
    laptop.is_told("app", "warning", "the app runs another routes.yaml (digest ", "azd deploy")


def test_an_older_version_is_deployed(laptop: Laptop) -> None:
    older = laptop.desk.folder / "older"
    for name in ("shared", "handlers"):
        shutil.copytree(ROOT / name, older / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("function_app.py", "host.json", "routes.yaml"):
        shutil.copy(ROOT / name, older)
    (older / "shared" / "version.py").write_text('VERSION = "0.0.9"\n')
    with ExitStack() as stack:
        laptop.url, laptop.arm.emulator.store.keys["system"] = deploy(laptop.desk, stack, older)
        laptop.is_told("app", "warning", f"the app runs version 0.0.9, and this is version {VERSION}", "azd deploy")


def test_the_address_is_that_of_azure(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request goes to https, which no server answers here. With a key in the shell, Azure is not asked for one."""
    laptop.desk.settings |= {KEY_VARIABLE: "a-key-of-the-shell"}
    host = {"defaultHostName": "127.0.0.1:9", "state": "Running"}
    site = next(one for one in laptop.arm.emulator.resources if one["id"] == sample.APP)
    laptop.arm.emulator.add({**site, "properties": host})
    laptop.url = ""
    found = laptop.finds()
    (result,) = found["test event"]
    assert "key" not in found
    assert result["detail"].startswith("no answer from https://127.0.0.1:9: ")
    assert "private endpoint" in result["next_step"]


def test_the_address_is_that_of_azds_environment(laptop: Laptop) -> None:
    laptop.values["NEXTSTAGE_URL"] = laptop.url
    laptop.desk.settings |= laptop.settings()
    result = laptop.desk.run("doctor", "--deployed")
    assert (result.code, f"{laptop.url} acknowledged it" in result.out) == (0, True), result.out


def test_no_azd(desk: Desk) -> None:
    desk.settings = {"PATH": "", "AML_WORKSPACE_ID": sample.WORKSPACE}
    desk.fails(
        2, "it is not known which app is deployed; run this after 'azd provision', or set", "doctor", "--deployed"
    )
    desk.fails(2, "--idempotency excludes", "doctor", "--deployed", "--idempotency", "4")
