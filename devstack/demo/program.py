"""Runs nextstage from event to pipeline run locally, without a cloud.

The demo starts the Azure DevOps emulator and the function app on free ports. It delivers every sample event over HTTP
as Event Grid does, some of them with planned faults, and shows the outcomes. During an outage of Azure DevOps, many
blobs land within a second, and the app is killed and started again. Meanwhile, two pipelines wait without an agent. At
the end, the demo compares the runs in the emulator's books with the expected runs. The exit code is 0 only if every
event was acknowledged, no run was lost or duplicated, one retraining was queued for all the blobs, the events of the
outage came back without another delivery, and both waiting tasks were completed correctly.

With --page, the emulator and the app go on, and the operator's page shows what happened until Ctrl-C.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import requests
from cryptography.fernet import Fernet

from devstack.demo.blobs import BLOBS, REPEATED, blobs, files_per_run, with_new_data
from devstack.demo.books import compare, expected_runs
from devstack.demo.event_grid import Delivery, all_at_once, deliver
from devstack.demo.outage import came_back, deferred_keys, is_up, wait_until
from devstack.demo.page import show_page
from devstack.demo.report import Decision, Report
from devstack.demo.waits import EARLY, LATE, completed_as_expected, show_tasks, start_waiting
from devstack.events import sample_names
from devstack.processes import ProcessFailed, RunningProcess, end_interrupted, start, start_app
from handlers import NAMES
from shared.composition import Configuration, load_configuration

ROOT = Path(__file__).resolve().parents[2]
# Short times, to keep the demo short. The app searches for a run whose answer was lost after the settle time, and takes
# over from a process that was killed when the lease ends. The defaults are 120, 60 and 25.
TIMES = {"JOURNAL_SETTLE_SECONDS": "1", "JOURNAL_LEASE_SECONDS": "6", "DELIVERY_BUDGET_SECONDS": "5"}
OUTAGE_SECONDS = 4.0
LONGEST_WAIT_SECONDS = 60.0

LOST = Delivery("run-completed.cloud", "Azure DevOps queued the run, but its answer was lost")
TWINS = Delivery("model-registered", "delivered three times, two of them at once", 3, at_once=True)
THROTTLED = Delivery("model-deployed.cloud", "Azure DevOps answered 429 first and asked for a pause")
_OUTAGE = "Azure DevOps was down, and the app was killed; it came back to the event later"
OUTAGE = [Delivery("dataset-drift-detected.cloud", _OUTAGE), Delivery("model-registered.cloud", _OUTAGE)]
LAST = Delivery("run-status-changed-running")
"""The app logs what its own threads have decided when it decides about the next event."""
IN_TURN = {delivery.sample: delivery for delivery in (LOST, TWINS, *OUTAGE, THROTTLED, LAST)}

# Each fault is planned just before its event is delivered, and events that come back later are for other pipelines. See
# devstack/ado/faults.py.
LOST_ANSWER = {"accept": True, "drop": True}
ASKS_FOR_A_PAUSE = {
    "accept": False,
    "status": 429,
    "headers": {"Retry-After": "1"},
    "match": {"path": "/pipelines/13/runs"},
}


def main() -> int:
    """Run the demo and return the exit code."""
    end_in_order()
    parser = argparse.ArgumentParser(prog="devstack.demo", description="Run nextstage locally, and show what happened.")
    parser.add_argument("--page", action="store_true", help="then show it in a browser, until Ctrl-C")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="nextstage-demo-", ignore_cleanup_errors=True) as folder:
            return _run(Path(folder), Report(), with_page=options.page)
    except ProcessFailed as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr, flush=True)
        end_interrupted()


def end_in_order() -> None:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does: the page, in a session of its own, would go on."""
    signal.signal(signal.SIGINT, _interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """End the demo, and ignore further signals while its processes are stopped."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(folder: Path, report: Report, *, with_page: bool) -> int:
    report.line("demo: starting the emulator of Azure DevOps and the function app …")
    with start("devstack.ado", env={}, cwd=folder, log=folder / "ado.log") as ado:
        journal, table = folder / "journal.sqlite3", folder / "routes.yaml"
        table.write_text(with_new_data((ROOT / "routes.yaml").read_text(encoding="utf-8")), encoding="utf-8")
        settings = {
            "AZURE_DEVOPS_ORG_URL": ado.url,
            "AZURE_DEVOPS_PROJECT": "mlops",
            "AZURE_DEVOPS_AUTH": "pat",
            "AZURE_DEVOPS_EXT_PAT": os.environ.get("DEVSTACK_PAT", "devstack-pat"),
            "JOURNAL_CONNECTION": f"sqlite:{journal}",
            "RESUME_STORAGE": "sqlite",
            "ROUTES_FILE": str(table),
            "WAIT_TOKEN_KEYS": Fernet.generate_key().decode(),
            **TIMES,
        }
        start_host = partial(start_app, env=settings, cwd=folder, log=folder / "host.log")
        with start_host() as host:
            report.line(f"demo: delivering {len(sample_names())} events, some of them with faults …")
            start_waiting(_control(ado, "tasks"), host.url, EARLY)
            _deliver(host, ado, LOST, LOST_ANSWER)
            _deliver(host, ado, TWINS)
            others = [Delivery(name) for name in sample_names() if name not in IN_TURN]
            all_at_once([partial(_deliver, host, ado, delivery) for delivery in others], 4)
            _ask(_control(ado, "outage"), {"seconds": OUTAGE_SECONDS})
            all_at_once([partial(_deliver, host, ado, delivery) for delivery in OUTAGE], len(OUTAGE))
            report.line(f"demo: {BLOBS} blobs land within a second …")
            landed = blobs()
            all_at_once([partial(_deliver, host, ado, delivery) for delivery in landed], 8)
            host.kill()
        with start_host() as host:
            wait_until(lambda: is_up(ado.url), LONGEST_WAIT_SECONDS)
            _deliver(host, ado, THROTTLED, ASKS_FOR_A_PAUSE)
            start_waiting(_control(ado, "tasks"), host.url, LATE)
            report.line("demo: waiting for the events that the app has deferred …")
            wait_until(lambda: not deferred_keys(journal), LONGEST_WAIT_SECONDS)
            _deliver(host, ado, LAST)
        books = requests.get(_control(ado, "books"), timeout=10).json()
        deliveries = sorted([*IN_TURN.values(), *others], key=lambda one: sample_names().index(one.sample))
        log = folder / "host.log"
        code = _verdict(deliveries, landed, _decisions(log), books, load_configuration(settings, ROOT, NAMES), report)
        if with_page:
            report.line("demo: the app and the emulator run until Ctrl-C")
            with start_host():
                code = show_page(ROOT, settings) or code
        else:
            report.line("demo: to see all of this in your browser: make demo PAGE=1")
    return code


def _verdict(
    deliveries: Sequence[Delivery],
    landed: Sequence[Delivery],
    decisions: Sequence[Decision],
    books: Mapping[str, Any],
    configuration: Configuration,
    report: Report,
) -> int:
    """Print what has happened to each event, and return the exit code.

    :param books: the emulator's books.
    """
    runs, tasks = books["runs"], books["tasks"]
    pipelines = {run["id"]: run["pipelineName"] for run in runs}
    report.events(deliveries, decisions, pipelines)
    report.many(f"{BLOBS} blobs in several folders", landed, decisions, pipelines)
    show_tasks(tasks, report)
    report.line()
    events = [delivery.text for delivery in (*deliveries, *landed)]
    expected = expected_runs(configuration.routes, events)
    result = compare(expected, runs)
    report.line(
        f"demo: {len(events)} events delivered, {result.queued} pipeline runs queued, "
        f"{result.lost} lost, {result.duplicated} duplicated"
    )
    files = files_per_run(runs)
    report.line(
        f"demo: {BLOBS} blobs landed within a second, {REPEATED} of them were delivered twice; {len(files)} retraining "
        f"was queued for {sum(files)} files, although the app was killed"
    )
    healed = [delivery for delivery in OUTAGE if came_back(delivery, decisions)]
    report.line(
        f"demo: {len(OUTAGE)} events arrived while Azure DevOps was down, {len(healed)} came back without another "
        "delivery, although the app was killed"
    )
    completed = completed_as_expected(tasks)
    report.line(
        f"demo: {len(tasks)} pipelines waited without an agent, {sum(completed)} of their tasks completed exactly once"
    )
    unacknowledged = [delivery.sample for delivery in (*deliveries, *landed) if not delivery.acknowledged]
    if unacknowledged:
        print(f"demo: never acknowledged: {', '.join(unacknowledged)}", file=sys.stderr)
    if result.lost or result.duplicated or unacknowledged or files != [BLOBS] or healed != OUTAGE or not all(completed):
        return 1
    report.line("demo: next, write your own route in 10 minutes: docs/first-route.md")
    return 0


def _deliver(
    host: RunningProcess, ado: RunningProcess, delivery: Delivery, fault: Mapping[str, Any] | None = None
) -> None:
    if fault is not None:
        _ask(_control(ado, "faults"), [fault])
    deliver(f"{host.url}/runtime/webhooks/eventgrid?functionName=aml_event", delivery)


def _ask(url: str, document: object) -> None:
    requests.post(url, json=document, timeout=10).raise_for_status()


def _control(ado: RunningProcess, what: str) -> str:
    return "/".join(ado.url.split("/")[:3]) + f"/_emulator/{what}"


def _decisions(log: Path) -> list[dict[str, Any]]:
    """Return the decision records in the host's log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    documents = [json.loads(line) for line in lines if line.startswith('{"event_id"')]
    return [document for document in documents if "outcome" in document]
