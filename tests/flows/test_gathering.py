"""Two hosts gather events, and are killed again and again. The runs are those of the quiet periods."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import requests

from devstack.azurite import Azurite, installation_problem
from devstack.processes import RunningProcess, start, start_app
from devstack.soak.delivery import Deliveries
from devstack.soak.stories.books import StoryEvent
from handlers import NAMES
from shared.composition import load_configuration, open_store
from shared.journal.records import Record, Selection, State
from shared.resume.period import is_group
from tests.support.effort import LONG, amount
from tests.support.journal.gathered_runs import expected_runs, run_of
from tests.support.polling import wait_until
from tests.support.prerequisites import need

EVENTS, GROUPS = amount(60, 1000), amount(4, 20)
SECONDS = amount(8, 60)
"""Over which the events are spread."""

THREADS = 8
QUIET, AT_MOST = timedelta(seconds=2), timedelta(seconds=5)
PAT = "devstack-pat"
PIPELINES = """organization: contoso
project: mlops
branches: [main]
pipelines:
  - { id: 1, name: retrain, parameters: [%s] }
""" % ", ".join(f"{{ name: {name}, type: string }}" for name in ("run", "of", "count", "since"))  # noqa: UP031
ROUTES = """version: 1
routes:
  - name: retrain
    event: RunCompleted
    pipeline: retrain
    parameters:
      run: "{{ run_id }}"
      of: "{{ experiment_name }}"
      count: "{{ gathered_count }}"
      since: "{{ gathered_since }}"
    gather: { quiet: 2s, at_most: 5s, by: "{{ experiment_name }}" }
"""
SETTINGS = {
    "AZURE_DEVOPS_PROJECT": "mlops",
    "AZURE_DEVOPS_AUTH": "pat",
    "AZURE_DEVOPS_EXT_PAT": PAT,
    "DELIVERY_BUDGET_SECONDS": "6",
    "JOURNAL_LEASE_SECONDS": "8",
    "JOURNAL_SETTLE_SECONDS": "1.5",
}


def make_events() -> list[StoryEvent]:
    """Return events of all groups. Every third one is delivered twice."""
    events = []
    for number in range(EVENTS):
        document = {
            "id": f"event-{number}",
            "source": "/subscriptions/0/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws",
            "type": "Microsoft.MachineLearningServices.RunCompleted",
            "subject": "subject",
            "time": "2026-11-20T10:00:00Z",
            "specversion": "1.0",
            "data": {"experimentName": f"group-{number % GROUPS}", "runId": f"run-{number}"},
        }
        events.append(StoryEvent(json.dumps(document), [], 1 + (number % 3 == 0)))
    return events


class Hosts:
    """Two hosts that share a journal and a queue."""

    def __init__(self, stack: ExitStack, folder: Path, settings: dict[str, str]) -> None:
        self._folder, self._settings = folder, settings
        self._hosts = [self._start(number) for number in range(2)]
        self.kills = 0
        stack.callback(lambda: [host.stop() for host in self._hosts])

    def _start(self, number: int, *arguments: str) -> RunningProcess:
        # A killed host forgets the messages that it has taken. In production, they are invisible for 10 minutes.
        arguments = ("--no-reload", "--in-work-seconds", "16", *arguments)
        log = self._folder / f"host{number}.log"
        return start_app(*arguments, env=self._settings, cwd=self._folder, log=log)

    def pick(self) -> str:
        return random.choice(self._hosts).url

    @contextmanager
    def killing(self) -> Iterator[None]:
        """Kill a host every few seconds while events are sent for the first time, and start it again."""
        is_over = threading.Event()
        until = time.monotonic() + SECONDS

        def kill() -> None:
            while time.monotonic() < until and not is_over.wait(random.uniform(0.5, 2.5)):
                number = self.kills % 2
                port = self._hosts[number].url.rpartition(":")[2]
                self._hosts[number].kill()
                self.kills += 1
                self._hosts[number] = self._start(number, "--port", port)

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


@pytest.mark.parametrize("store", ["sqlite", "azurite"] if LONG else ["sqlite"])
def test_killed_hosts_queue_the_runs_of_the_quiet_periods(store: Literal["sqlite", "azurite"], tmp_path: Path) -> None:
    if store == "azurite":
        need(installation_problem())
    (tmp_path / "routes.yaml").write_text(ROUTES)
    (tmp_path / "pipelines.yaml").write_text(PIPELINES)
    with ExitStack() as stack:
        azurite = None
        if store == "azurite":
            azurite = stack.enter_context(Azurite(tmp_path / "azurite", in_memory=True, queues=True))
        log, ado_settings = tmp_path / "ado.log", {"DEVSTACK_PAT": PAT}
        arguments = ("--pipelines", str(tmp_path / "pipelines.yaml"))
        ado = stack.enter_context(start("devstack.ado", *arguments, env=ado_settings, cwd=tmp_path, log=log))
        place = azurite.connection_string if azurite else f"sqlite:{tmp_path / 'journal.sqlite3'}"
        settings = SETTINGS | {
            "AZURE_DEVOPS_ORG_URL": ado.url,
            "JOURNAL_CONNECTION": place,
            "RESUME_STORAGE": azurite.connection_string if azurite else "sqlite",
            "ROUTES_FILE": str(tmp_path / "routes.yaml"),
        }
        hosts = Hosts(stack, tmp_path, settings)
        events = make_events()
        deliveries = Deliveries(events, hosts.pick, seed=1, seconds=SECONDS)
        with hosts.killing():
            deliveries.run(THREADS, until=time.monotonic() + 300)
        assert deliveries.left == 0, deliveries.reasons()
        assert hosts.kills > 0
        journal = stack.enter_context(closing(open_store(load_configuration(settings, tmp_path, NAMES).settings)))

        def records() -> list[Record]:
            return [*journal.select(Selection(route="retrain"), 100_000)]

        def is_over() -> bool:
            groups = [record.state for record in records() if is_group(record.key)]
            others = {record.state for record in records() if not is_group(record.key)}
            return set(groups) == {State.CLOSED} and others == {State.GATHERED, State.QUEUED}

        wait_until(is_over)
        gathered = [record for record in records() if record.state is State.GATHERED]
        runs: list[dict[str, Any]] = requests.get(_control(ado.url) + "/books", timeout=60).json()["runs"]
        queued = [record for record in records() if record.state is State.QUEUED]
    assert sorted(record.entry.event_id for record in gathered) == sorted(f"event-{n}" for n in range(EVENTS))
    expected = expected_runs(gathered, QUIET, AT_MOST)
    assert sorted(run_of(run["templateParameters"]) for run in runs) == expected
    assert len(queued) == len(expected)


def _control(url: str) -> str:
    return "/".join(url.split("/")[:3]) + "/_emulator"
