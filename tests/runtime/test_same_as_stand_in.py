"""The stand-in host and Microsoft's runtime behave in the same way with the same app.

The tests compare what the worker determines: whether a call succeeds, its return value or exception, the logs, and the
runs in Azure DevOps. The runtime does not include the real host's HTTP answers. The modules of the stand-in host
document where it differs from the real host.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.ado import Emulator, Fault, Match, load_declaration, serve
from devstack.events import sample_names, sample_text
from devstack.processes import RunningProcess
from devstack.processes import start as start_process
from tests.runtime.conftest import SHORT_TIMES, Ado
from tests.runtime.functions_host import Worker, event_grid_input
from tests.runtime.functions_host import start as start_runtime
from tests.support.canaries import leaks, secret
from tests.support.polling import wait_until

EVENT_GRID = "/runtime/webhooks/eventgrid?functionName="
# Replacements for values that differ between the two sides or between test runs.
DIFFERENCES = (
    (r"http://127\.0\.0\.1:\d+", "http://ado"),
    (r'"(duration_ms|delay_ms)": [\d.]+', r'"\1": 0'),
    (r"(\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d(\.\d+)?( UTC|Z|\+00:00)", "TIME"),
    (r"\b\d+(\.\d+)? s\b", "N s"),
    (r"timeout=[\d.]+", "timeout=N"),
    (r"0x[0-9a-f]+", "0x0"),
)


def normalized(text: str) -> str:
    for pattern, replacement in DIFFERENCES:
        text = re.sub(pattern, replacement, text)
    return text


@dataclass(frozen=True)
class Answer:
    """The result of one call."""

    error: str  # "Type: message", or empty if the call succeeded
    returned: object
    logged: list[str]


def is_end(line: str) -> bool:
    """Return whether a line of the host's log reports the end of a call."""
    return line.startswith("Executed '")


class StandIn:
    """The stand-in host as a process, on the Python that runs the tests."""

    def __init__(self, process: RunningProcess, log: Path) -> None:
        self._process = process
        self._log = log
        self._read = len(log.read_text(encoding="utf-8").splitlines())

    def deliver(self, function: str, text: str) -> Answer:
        response = requests.post(
            self._process.url + EVENT_GRID + function,
            data=text.encode(),
            headers={"aeg-event-type": "Notification"},
            timeout=60,
        )
        lines, ended = self._lines_until_it_ended()
        assert response.status_code == (202 if ended is None else 500)
        assert response.text == ("" if ended is None else f"Exception while executing function: Functions.{function}")
        return Answer(normalized(ended or ""), None, lines)

    def _lines_until_it_ended(self) -> tuple[list[str], str | None]:
        """Return the log lines since the last call, and the call's error or None.

        Wait for the end of the call in the log, because the log may be written after the answer.
        """

        def unread() -> list[str]:
            lines = self._log.read_text(encoding="utf-8").splitlines()[self._read :]
            return lines if any(map(is_end, lines)) else []

        lines = wait_until(unread)
        self._read += len(lines)
        ends = [line for line in lines if is_end(line)]
        failed = re.search(r"\(Failed, Id=[^)]*\): (.*)", "\n".join(lines[lines.index(ends[0]) :]), re.DOTALL)
        return [normalized(line) for line in lines if line not in ends], failed and failed[1]


class Runtime:
    """Microsoft's runtime as a process, on Python 3.13."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def deliver(self, function: str, text: str) -> Answer:
        invocation = self.worker.invoke(function, event_grid_input("event", text))
        assert invocation.succeeded == (invocation.error == "")
        logged = [normalized(log["message"]) for log in self.worker.logs_of(invocation)]
        return Answer(normalized(invocation.error), invocation.return_value, logged)


@dataclass
class Side:
    """The stand-in host or the runtime, with its own Azure DevOps and journal."""

    host: StandIn | Runtime
    ado: Emulator

    def runs(self) -> list[tuple[str, object]]:
        return [(run.pipeline_name, dict(run.template_parameters)) for run in self.ado.books.runs]


class Pair:
    """Both sides."""

    def __init__(self, stack: ExitStack, python: Path, app: Path, folder: Path, **settings: str) -> None:
        """:param settings: the app's settings, in addition to those for the emulator and the journal."""
        self._stack = stack
        self._python = python
        self._app = app
        self._folder = folder
        self._settings = settings
        self.sides = [self._start("stand-in"), self._start("runtime")]

    def _start(self, name: str) -> Side:
        emulator = Emulator(load_declaration(), pats={secret("pat")})
        served = self._stack.enter_context(serve(emulator))
        environment = Ado(emulator, served).settings(self._folder / f"{name}.sqlite3") | SHORT_TIMES | self._settings
        if name == "runtime":
            worker = self._stack.enter_context(start_runtime(self._python, environment, self._folder))
            assert worker.start_app(self._app)["result"]["status"] == "Success"
            return Side(Runtime(worker), emulator)
        log = self._folder / "stand-in.log"
        arguments = ("--app-dir", str(self._app))
        process = start_process("devstack.host", *arguments, env=environment, cwd=self._folder, log=log)
        return Side(StandIn(self._stack.enter_context(process), log), emulator)

    def deliver(self, text: str, *faults: Fault) -> Answer:
        """Deliver an event to both sides, and return their common answer."""
        answers: list[Answer] = []
        for side in self.sides:
            side.ado.plan(*faults)
            answers.append(side.host.deliver("aml_event", text))
        stand_in, runtime = answers
        assert stand_in == runtime
        return runtime

    def runs(self) -> list[tuple[str, object]]:
        """Return the runs that both sides have queued."""
        stand_in, runtime = (side.runs() for side in self.sides)
        assert stand_in == runtime
        return runtime


@pytest.fixture(scope="module")
def pair(runtime_python: Path, deployed_app: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        yield Pair(stack, runtime_python, deployed_app, folder)
    for log in folder.glob("*.log"):
        assert leaks(log.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("sample", sample_names())
def test_every_sample_event(pair: Pair, sample: str) -> None:
    answer = pair.deliver(sample_text(sample))
    assert answer.error == ""
    assert answer.logged, "no decision was logged"
    pair.runs()


@dataclass(frozen=True)
class Row:
    """A case with the expected outcomes, one per delivery."""

    outcomes: list[str]
    faults: list[Fault] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)  # a row with settings needs a separate pair
    alone: bool = False  # so does a row whose effects would change later rows
    changes: dict[str, Any] = field(default_factory=dict)  # changes to the event's data
    runs: int = 0
    decisions: int = 1  # in each delivery


def answered(status: int, message: str = "", **headers: str) -> list[Fault]:
    body = {"message": message} if message else None
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [Fault(accept=False, status=status, body=body, headers=named)]


SEARCH_FAILS = Fault(accept=False, status=500, match=Match(method="GET", path="build/builds"))

ROWS = {
    "queued": Row(["queued", "duplicate"], runs=1),
    "no route matches": Row(["ignored"], changes={"experimentName": "unknown"}),
    "an unsafe value": Row(["parked", "duplicate"], changes={"runId": "$(evil)"}),
    "no run id": Row(["parked"], changes={"runId": None}),
    "401": Row(["deferred", "queued"], answered(401, "TF400813"), runs=1),
    "403": Row(["deferred"], answered(403, "TF215106: needs Queue builds permissions")),
    "400": Row(["parked", "duplicate"], answered(400, "Unexpected parameter 'x'")),
    "429": Row(["deferred", "deferred"], answered(429, "TF400733", Retry_After="60"), alone=True),
    "the answer is lost": Row(["deferred"], [Fault(accept=True, drop=True)], runs=1),
    "the answer comes too late": Row(["deferred"], [Fault(accept=True, delay_after_seconds=6)], runs=1),
    "uncertain, and the search fails": Row(
        ["deferred", "deferred"],
        [Fault(accept=True, drop=True), SEARCH_FAILS],
        settings={"JOURNAL_SETTLE_SECONDS": "0.001"},
        runs=1,
    ),
    "uncertain, then found": Row(
        ["deferred", "queued"],
        [Fault(accept=True, drop=True)],
        settings={"JOURNAL_SETTLE_SECONDS": "0.001"},
        runs=1,
    ),
    "no connection": Row(["deferred"], settings={"AZURE_DEVOPS_ORG_URL": "http://127.0.0.1:{closed_port}/contoso"}),
    "a rejected PAT": Row(["deferred"], settings={"AZURE_DEVOPS_EXT_PAT": secret("expired")}),
    "no journal": Row(
        ["deferred"],
        settings={
            "JOURNAL_CONNECTION": "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=Y2FuYXJ5LWtleQ==;"
            "TableEndpoint=http://127.0.0.1:{closed_port}/a"
        },
        decisions=2,  # the second one is whether tasks wait for the run
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_failure(
    request: pytest.FixtureRequest, tmp_path: Path, closed_port: int, runtime_python: Path, name: str
) -> None:
    row = ROWS[name]
    text = event_of(name, row.changes)
    with ExitStack() as stack:
        if row.settings or row.alone:
            settings = {key: value.format(closed_port=closed_port) for key, value in row.settings.items()}
            app = request.getfixturevalue("deployed_app")
            pair = Pair(stack, runtime_python, app, tmp_path, **settings)
        else:
            pair = request.getfixturevalue("pair")
        before = len(pair.runs())
        deliveries = [pair.deliver(text, *(row.faults if number == 0 else ())) for number in range(len(row.outcomes))]
        assert len(pair.runs()) - before == row.runs
    for number, answer in enumerate(deliveries):
        outcomes = [json.loads(line)["outcome"] for line in answer.logged if line.startswith('{"event_id"')]
        assert outcomes == [row.outcomes[number]] * row.decisions
        assert answer.error.startswith("DeliveryDeferred: ") == ("deferred" in outcomes)
        assert answer.returned is None


def event_of(name: str, changes: dict[str, Any]) -> str:
    """Return a RunCompleted event with a separate run."""
    event = json.loads(sample_text("run-completed"))
    run_id = "run_" + re.sub(r"\W", "_", name)
    event |= {"id": f"event-{run_id}", "subject": event["subject"].rpartition("/")[0] + f"/{run_id}"}
    event["data"] |= {"runId": run_id} | changes
    return json.dumps(event)
