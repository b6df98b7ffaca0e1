"""Runs nextstage from event to pipeline run locally, without a cloud.

The demo starts the Azure DevOps emulator and the function app on free ports. It delivers every sample event over HTTP
as Event Grid does, some of them with planned faults, and shows the outcomes. Meanwhile, two pipelines wait without an
agent. At the end, the demo compares the runs in the emulator's books with the expected runs. The exit code is 0 only if
every event was acknowledged, no run was lost or duplicated, and both waiting tasks were completed correctly.
"""

import json
import os
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import requests
from cryptography.fernet import Fernet

from devstack.demo.books import compare, expected_runs
from devstack.demo.event_grid import Delivery, all_at_once, deliver
from devstack.demo.report import Report
from devstack.demo.waits import EARLY, LATE, completed_as_expected, show_tasks, start_waiting
from devstack.events import sample_names
from devstack.processes import ProcessFailed, RunningProcess, end_interrupted, start
from handlers import NAMES
from shared.composition import load_configuration

ROOT = Path(__file__).resolve().parents[2]
# The app searches for a run whose answer was lost after this many seconds. The default is 120.
SETTLE_SECONDS = "1"

MISHAPS = {
    "model-registered": Delivery("model-registered", "delivered three times, two of them at once", 3, at_once=True),
    "run-completed.cloud": Delivery("run-completed.cloud", "Azure DevOps queued the run, but its answer was lost"),
    "model-deployed.cloud": Delivery("model-deployed.cloud", "Azure DevOps answered 429 first and asked for a pause"),
}
# Each fault is planned just before its event is delivered. See devstack/ado/faults.py.
FAULTS: dict[str, dict[str, Any]] = {
    "run-completed.cloud": {"accept": True, "drop": True},
    "model-deployed.cloud": {"accept": False, "status": 429, "headers": {"Retry-After": "1"}},
}


def main() -> int:
    """Run the demo and return the exit code."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="nextstage-demo-", ignore_cleanup_errors=True) as folder:
            return _run(Path(folder), Report())
    except ProcessFailed as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr, flush=True)
        end_interrupted()


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """End the demo, and ignore further signals while its processes are stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(folder: Path, report: Report) -> int:
    report.line("demo: starting the emulator of Azure DevOps and the function app …")
    with start("devstack.ado", env={}, cwd=folder, log=folder / "ado.log") as ado:
        settings = {
            "AZURE_DEVOPS_ORG_URL": ado.url,
            "AZURE_DEVOPS_PROJECT": "mlops",
            "AZURE_DEVOPS_AUTH": "pat",
            "AZURE_DEVOPS_EXT_PAT": os.environ.get("DEVSTACK_PAT", "devstack-pat"),
            "JOURNAL_CONNECTION": f"sqlite:{folder / 'journal.sqlite3'}",
            "JOURNAL_SETTLE_SECONDS": SETTLE_SECONDS,
            "WAIT_TOKEN_KEYS": Fernet.generate_key().decode(),
        }
        with start("devstack.host", "--app-dir", str(ROOT), env=settings, cwd=folder, log=folder / "host.log") as host:
            report.line(f"demo: delivering {len(sample_names())} events, some of them with faults …")
            start_waiting(_control(ado, "tasks"), host.url, EARLY)
            deliveries = _deliver_all(host, ado)
            start_waiting(_control(ado, "tasks"), host.url, LATE)
        books = requests.get(_control(ado, "books"), timeout=10).json()
    runs, tasks = books["runs"], books["tasks"]
    report.events(deliveries, _decisions(folder / "host.log"), {run["id"]: run["pipelineName"] for run in runs})
    show_tasks(tasks, report)
    report.line()
    expected = expected_runs(load_configuration(settings, ROOT, NAMES).routes, sample_names())
    result = compare(expected, runs)
    report.line(
        f"demo: {len(deliveries)} events delivered, {result.queued} pipeline runs queued, "
        f"{result.lost} lost, {result.duplicated} duplicated"
    )
    completed = completed_as_expected(tasks)
    report.line(
        f"demo: {len(tasks)} pipelines waited without an agent, {sum(completed)} of their tasks completed exactly once"
    )
    unacknowledged = [delivery.sample for delivery in deliveries if not delivery.acknowledged]
    if unacknowledged:
        print(f"demo: never acknowledged: {', '.join(unacknowledged)}", file=sys.stderr)
    if result.lost or result.duplicated or unacknowledged or not all(completed):
        return 1
    report.line("demo: next, write your own route in 10 minutes: docs/first-route.md")
    return 0


def _deliver_all(host: RunningProcess, ado: RunningProcess) -> list[Delivery]:
    """Deliver the samples with a mishap one after another, then the others four at a time.

    The order makes sure that each planned fault affects its own event.
    """
    endpoint = f"{host.url}/runtime/webhooks/eventgrid?functionName=aml_event"
    deliveries = [MISHAPS.get(name) or Delivery(name) for name in sample_names()]
    for delivery in deliveries:
        if delivery.sample in MISHAPS:
            if delivery.sample in FAULTS:
                requests.post(_control(ado, "faults"), json=[FAULTS[delivery.sample]], timeout=10).raise_for_status()
            deliver(endpoint, delivery)
    all_at_once([partial(deliver, endpoint, delivery) for delivery in deliveries if delivery.sample not in MISHAPS], 4)
    return deliveries


def _control(ado: RunningProcess, what: str) -> str:
    return "/".join(ado.url.split("/")[:3]) + f"/_emulator/{what}"


def _decisions(log: Path) -> list[dict[str, Any]]:
    """Return the decision records in the host's log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    documents = [json.loads(line) for line in lines if line.startswith('{"event_id"')]
    return [document for document in documents if "outcome" in document]
