"""The storm: thousands of events against faults of all kinds and killed hosts.

Azurite holds the journal. The emulator answers one request in ten with a fault. Every few seconds, one of the two host
processes is killed. Every event is delivered until it is acknowledged, and some events are delivered several times.
After some minutes the faults and kills stop, and the remaining events are delivered. Then all parked events are
redriven, and the runs in the emulator's books are compared with the events. The storm is survived only if every event
was acknowledged, no run was lost and no run was duplicated.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from devstack.azurite import Azurite
from devstack.demo.books import Comparison, compare
from devstack.processes import NO_SETTINGS, RunningProcess, start, start_app
from devstack.soak.delivery import Deliveries
from devstack.soak.events import make_events
from devstack.soak.faults import FAULTS

ROOT: Final = Path(__file__).resolve().parents[2]
PAT: Final = "devstack-pat"
THREADS: Final = 16
# The time to deliver the remaining events after the faults and kills have stopped.
GRACE_SECONDS: Final = 180
FAULT_RATE: Final = 0.1
KILL_SECONDS: Final = (2.0, 5.0)
# Much shorter than in production, so that interrupted deliveries resume within the test.
TIMES: Final = {"DELIVERY_BUDGET_SECONDS": "6", "JOURNAL_LEASE_SECONDS": "8", "JOURNAL_SETTLE_SECONDS": "1.5"}


class Hosts:
    """Two host processes, which are killed and restarted in turn."""

    def __init__(self, stack: ExitStack, settings: dict[str, str], folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._hosts = [self._start(number) for number in range(2)]
        self.kills = 0
        stack.callback(self._stop)

    def pick(self) -> str:
        """Return the URL of one of the hosts at random."""
        return random.choice(self._hosts).url

    def kill_until(self, stopped: threading.Event, rng: random.Random) -> None:
        """Kill and restart a host every few seconds, until ``stopped`` is set."""
        while not stopped.wait(rng.uniform(*KILL_SECONDS)):
            number = self.kills % 2
            url = self._hosts[number].url
            self._hosts[number].kill()
            self.kills += 1
            self._hosts[number] = self._start(number, "--port", url.rpartition(":")[2])

    def _start(self, number: int, *arguments: str) -> RunningProcess:
        return start_app(
            "--no-reload",
            *arguments,
            env=self._settings,
            cwd=self._folder,
            log=self._folder / f"host{number}.log",
        )

    def _stop(self) -> None:
        for host in self._hosts:
            host.stop()


class FaultPlanner:
    """Plans faults, so that about one request in ten fails."""

    def __init__(self, control_url: str, rng: random.Random) -> None:
        self._url = control_url
        self._rng = rng
        self.planned: Counter[str] = Counter()

    def plan_until(self, stopped: threading.Event, deliveries: Deliveries) -> None:
        """Plan a fault for every tenth delivery, until ``stopped`` is set."""
        while not stopped.wait(0.05):
            missing = int(deliveries.progress.deliveries * FAULT_RATE) - self.planned.total()
            names = [self._rng.choice(list(FAULTS)) for _ in range(missing)]
            if names:
                requests.post(
                    f"{self._url}/faults", json=[FAULTS[name] for name in names], timeout=60
                ).raise_for_status()
                self.planned.update(names)


@dataclass(frozen=True)
class Storm:
    """How much happens.

    :param minutes: the maximum duration of faults and kills.
    :param seed: of all random choices.
    """

    minutes: float
    events: int
    seed: int

    def run(self, idempotency: str) -> bool:
        """Run the storm, print what came out, and return whether it was survived.

        :param idempotency: whether Azure DevOps honors the idempotency key of a request.
        """
        with tempfile.TemporaryDirectory(prefix="nextstage-soak-") as folder, ExitStack() as stack:
            return _soak(self, idempotency, Path(folder), stack)


def _soak(storm: Storm, idempotency: str, folder: Path, stack: ExitStack) -> bool:
    began = time.monotonic()
    rng = random.Random(storm.seed)
    azurite = stack.enter_context(Azurite(folder / "azurite"))
    behavior = json.dumps({"idempotency": idempotency})
    ado = stack.enter_context(
        start("devstack.ado", "--behavior", behavior, env={"DEVSTACK_PAT": PAT}, cwd=folder, log=folder / "ado.log")
    )
    control_url = "/".join(ado.url.split("/")[:3]) + "/_emulator"
    settings = {
        "AZURE_DEVOPS_ORG_URL": ado.url,
        "AZURE_DEVOPS_PROJECT": "mlops",
        "AZURE_DEVOPS_AUTH": "pat",
        "AZURE_DEVOPS_EXT_PAT": PAT,
        "JOURNAL_CONNECTION": azurite.connection_string,
        **TIMES,
    }
    hosts = Hosts(stack, settings, folder)
    events = make_events(storm.events, rng)
    deliveries = Deliveries(events, hosts.pick, seed=storm.seed)
    planner = FaultPlanner(control_url, rng)

    stopped = threading.Event()
    fault_threads = [
        threading.Thread(target=hosts.kill_until, args=(stopped, random.Random(storm.seed))),
        threading.Thread(target=planner.plan_until, args=(stopped, deliveries)),
    ]
    for thread in fault_threads:
        thread.start()
    stop_timer = threading.Timer(storm.minutes * 60, stopped.set)
    stop_timer.start()
    deliveries.run(THREADS, until=began + storm.minutes * 60 + GRACE_SECONDS)
    stop_timer.cancel()
    stopped.set()
    for thread in fault_threads:
        thread.join()
    requests.delete(f"{control_url}/faults", timeout=60)
    redriven = _redrive(settings, folder)
    runs = requests.get(f"{control_url}/books", timeout=60).json()["runs"]
    result = compare([event.expected_run for event in events], runs)
    _show(
        {
            "events": len(events),
            "deliveries": deliveries.progress.deliveries,
            **{f"answered {answer}": count for answer, count in sorted(deliveries.progress.answers.items())},
            "not acknowledged in time": deliveries.left,
            "hosts killed": hosts.kills,
            "faults": planner.planned.total(),
            "parked and redriven": redriven,
            "seconds": round(time.monotonic() - began),
        },
        planner.planned,
    )
    for reason, count in deliveries.reasons().most_common(5):
        print(f"soak: {count} deliveries were not acknowledged: {reason}", file=sys.stderr)
    return _verdict(len(events), result, deliveries.left, idempotency)


def _redrive(settings: dict[str, str], folder: Path) -> str:
    """Redrive all parked events with the operator's command, and return its last line of output and exit code."""
    command = [sys.executable, str(ROOT / "manage.py"), "redrive", "--all", "--yes", "--limit", "100000"]
    environment = {**os.environ, **NO_SETTINGS, **settings}
    result = subprocess.run(  # noqa: S603 - our own program
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    (folder / "redrive.log").write_text(result.stdout + result.stderr)
    lines = result.stdout.strip().splitlines() or result.stderr.strip().splitlines()
    return f"{lines[-1] if lines else 'nothing'} (exit code {result.returncode})"


def _show(figures: dict[str, Any], faults: Counter[str]) -> None:
    table = Table(box=SIMPLE_HEAD, show_header=False, pad_edge=False)
    for name, figure in figures.items():
        table.add_row(name, str(figure))
    for name, count in faults.most_common():
        table.add_row(f"  {name}", str(count), style="dim")
    Console().print(table)


def _verdict(events: int, result: Comparison, unacknowledged: int, idempotency: str) -> bool:
    print(
        f"storm, idempotency {idempotency}: {events} events, {result.queued} pipeline runs queued, "
        f"{result.lost} lost, {result.duplicated} duplicated",
        flush=True,
    )
    return not (result.lost or result.duplicated or unacknowledged)
