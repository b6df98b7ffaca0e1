"""A desk with everything that the operator's commands work on: an emulated Azure DevOps, routes and a journal."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.processes import NO_SETTINGS, RunningProcess, start, start_app
from handlers import DISPATCH, NAMES
from shared.clock import Clock, utc_now
from shared.composition import compose, load_configuration, open_store
from shared.errors import DeliveryDeferred, IncompleteEvent, RequestNotSent, UnreadableEvent
from shared.events.event import AmlEvent, Occurrence, parse_event
from shared.http.message import HttpRequest, HttpResponse
from shared.journal.records import Record, Selection, Store
from shared.routing.running import PARTITION as RUNNING_ROUTES
from shared.settings import load_settings
from tests.support import ROOT
from tests.support.builders import run_completed
from tests.support.canaries import leaks, secret
from tools.cli import main

UNREACHABLE = "http://127.0.0.1:9/contoso"
BUDGET_SECONDS = 20

EVALUATE = "name: evaluate\nevent: RunCompleted\npipeline: model-evaluation\nparameters:"
RIGHT = EVALUATE + " { runId: '{{ run_id }}', experimentName: '{{ experiment_name }}' }"
WRONG = EVALUATE + " { run: '{{ run_id }}', experimentName: '{{ experiment_name }}' }"
UNSOLVABLE = (
    "name: odd\nevent: RunCompleted\npipeline: triage\nwhen: join('-', [run_id, experiment_name]) == 'same-other'"
)
TRIAGE = "name: triage\nevent: RunCompleted\npipeline: triage\nparameters: { runId: '{{ run_id }}', runStatus: Failed }"


def occurrence_of(raw: str) -> tuple[AmlEvent, Occurrence] | None:
    """Return the event and its occurrence, or None if it is not one."""
    try:
        event = parse_event(raw)
        meaning = DISPATCH[event.type](event) if event.type in DISPATCH else None
    except (UnreadableEvent, IncompleteEvent):
        return None
    return (event, meaning) if isinstance(meaning, Occurrence) else None


@dataclass(frozen=True)
class Result:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def fails(self, code: int, message: str) -> None:
        """Assert that the command only printed one line on standard error, with this message."""
        assert (self.code, self.out, self.err.count("\n")) == (code, "", 1), self
        assert self.err.startswith("manage.py: ")
        assert message in self.err

    @property
    def rows(self) -> list[list[str]]:
        """The lines of the output, split at two or more spaces."""
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.out.splitlines()]


class NoServer:
    """A transport that makes no connection, and the clock of a delivery.

    The clock stands still, so that a slow machine has as much time as a fast one. When the transport is asked, the
    clock jumps: 0.3 s are left, which is enough to ask for another route, but not to wait and try again.
    """

    def __init__(self) -> None:
        self._now = utc_now()
        self._until_it_is_asked = timedelta(seconds=BUDGET_SECONDS - 0.3)

    def clock(self) -> datetime:
        return self._now - self._until_it_is_asked

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        self._until_it_is_asked = timedelta()
        raise RequestNotSent(f"no connection: {request.method} {request.url}: refused")


@dataclass
class Desk:
    """The working place of an operator.

    :param organization_url: the URL of Azure DevOps; by default, no server runs there.
    :param clock: the clock of commands that run in this process.
    """

    folder: Path
    capfd: pytest.CaptureFixture[str]
    organization_url: str = UNREACHABLE
    settings: dict[str, str] = field(default_factory=dict)
    clock: Clock = utc_now

    def __post_init__(self) -> None:
        self.routes(RIGHT)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AZURE_DEVOPS_ORG_URL": self.organization_url,
            "AZURE_DEVOPS_PROJECT": "mlops",
            "AZURE_DEVOPS_AUTH": "pat",
            "AZURE_DEVOPS_EXT_PAT": secret("pat"),
            "JOURNAL_CONNECTION": f"sqlite:{self.folder / 'journal.sqlite3'}",
            "JOURNAL_SETTLE_SECONDS": "0.2",
            "DELIVERY_BUDGET_SECONDS": str(BUDGET_SECONDS),
            "JOURNAL_LEASE_SECONDS": "30",
            "ROUTES_FILE": str(self.folder / "routes.yaml"),
            **self.settings,
        }

    def routes(self, *entries: str) -> None:
        """Write the dispatch table. Each route is YAML that begins with its ``name:`` line and is not indented."""
        indented = "\n".join("  - " + entry.replace("\n", "\n    ") for entry in entries)
        defaults = "{organization_url: '${AZURE_DEVOPS_ORG_URL}', project: '${AZURE_DEVOPS_PROJECT}', branch: main}"
        text = f"version: 1\ndefaults: {defaults}\nroutes:\n{indented}\n"
        (self.folder / "routes.yaml").write_text(text)

    def deliver(self, raw: str = "") -> None:
        """Deliver an event once, with the app's code."""
        configuration = load_configuration(self.environment, self.folder, NAMES)
        if self.organization_url == UNREACHABLE:
            nothing = NoServer()
            app = compose(configuration, DISPATCH, transport=nothing, clock=nothing.clock)
        else:
            app = compose(configuration, DISPATCH)
        with suppress(DeliveryDeferred):
            app.relay.deliver(raw or run_completed())

    def park(self, run_id: str = "run-1", **data: Any) -> Record:
        """Park an event because of a wrong route, then correct the route."""
        before = {record.key for record in self.records}
        self.routes(EVALUATE + " { runId: '{{ data.nope }}' }")
        self.deliver(run_completed(run_id, **data))
        self.routes(RIGHT)
        (record,) = [record for record in self.records if record.key not in before]
        return record

    @property
    def store(self) -> Store:
        """The journal's store, newly opened."""
        return open_store(load_settings(self.environment, self.folder))

    @property
    def records(self) -> list[Record]:
        """All records, apart from the one that says which routes the app runs."""
        return [record for record in self.store.select(Selection(), 10_000) if record.key.route != RUNNING_ROUTES]

    def settle(self) -> None:
        """Let the records settle: no request can be in progress any longer."""
        past = utc_now() - timedelta(seconds=1)
        for record in self.records:
            assert self.store.replace(record._replace(settled_at=past, lease_until=past)) is not None

    def file(self, content: str, name: str = "event.json") -> Path:
        """Write a file to the folder in which the commands run."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def run(self, *arguments: object) -> Result:
        """Run a command in this process."""
        self.capfd.readouterr()
        code = main([str(argument) for argument in arguments], self.folder, self.environment, self.clock)
        output = self.capfd.readouterr()
        assert leaks(output.out + output.err) == []
        return Result(code, output.out, output.err)

    def fails(self, code: int, message: str, *arguments: object) -> None:
        """Run a command in this process; assert that it only prints one line on standard error, with this message."""
        self.run(*arguments).fails(code, message)

    def start(self, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
        """Start a command in its own process."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, **NO_SETTINGS, **self.environment},
            text=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def finish(self, process: "subprocess.Popen[str]") -> Result:
        out, err = process.communicate(timeout=60)
        assert leaks((out or "") + (err or "")) == []
        assert "Traceback" not in (err or "")
        return Result(process.returncode, out or "", err or "")

    def process(self, *arguments: object) -> Result:
        return self.finish(self.start(*arguments))

    @property
    def emulator(self) -> str:
        return "/".join(self.organization_url.split("/")[:3]) + "/_emulator"

    def plan(self, **fault: Any) -> None:
        requests.post(f"{self.emulator}/faults", json=[fault], timeout=10).raise_for_status()

    def queue(self, pipeline: int, **order: Any) -> int:
        """Queue a run as somebody else would, and return its ID."""
        answer = requests.post(f"{self.emulator}/runs", json={"pipeline": pipeline, **order}, timeout=10)
        answer.raise_for_status()
        return int(answer.json()["id"])

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The runs that the emulator has recorded."""
        return list(requests.get(f"{self.emulator}/books", timeout=10).json()["runs"])


@pytest.fixture
def desk(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk without Azure DevOps. The commands run in its folder."""
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, capfd)


@pytest.fixture
def busy_desk(desk: Desk) -> Iterator[Desk]:
    """A desk with the Azure DevOps emulator."""
    folder, pat = desk.folder, {"DEVSTACK_PAT": secret("pat")}
    with start("devstack.ado", "--first-run-id", "501", env=pat, cwd=folder, log=folder / "ado.log") as ado:
        desk.organization_url = ado.url
        yield desk


@pytest.fixture
def host(busy_desk: Desk) -> Iterator[RunningProcess]:
    """The app on the stand-in host, with the desk's settings and the default routes."""
    with start_host(busy_desk) as running:
        yield running


def start_host(desk: Desk, *arguments: str) -> RunningProcess:
    """Start the stand-in host with the default routes. It writes to ``host.log`` in the desk's folder."""
    desk.settings = {"ROUTES_FILE": str(ROOT / "routes.yaml")}
    log = desk.folder / "host.log"
    return start_app(*arguments, env=desk.environment, cwd=desk.folder, log=log)
