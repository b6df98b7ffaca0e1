"""Whole flows as processes: two hosts that share one journal, and a host that is killed."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.events import sample_text
from devstack.processes import RunningProcess, start, start_app
from tests.support.canaries import secret
from tests.support.polling import wait_until
from tests.support.services.host_apps import app_settings, deliver, web_hook


@dataclass
class Stage:
    """Two hosts, one emulator, one journal."""

    ado: RunningProcess
    hosts: list[RunningProcess]

    def post(self, host: int, text: str) -> int:
        return deliver(web_hook(self.hosts[host].url), text).status_code

    def deliver(self, host: int, text: str) -> list[int]:
        """Deliver until the event is acknowledged, and return all status codes."""
        statuses = [self.post(host, text)]
        deadline = time.monotonic() + 60
        while statuses[-1] != 202 and time.monotonic() < deadline:
            time.sleep(0.3)
            statuses.append(self.post(host, text))
        return statuses

    def plan(self, **fault: Any) -> None:
        requests.post(f"{self.emulator}/faults", json=[fault], timeout=60).raise_for_status()

    @property
    def emulator(self) -> str:
        return "/".join(self.ado.url.split("/")[:3]) + "/_emulator"

    @property
    def runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = requests.get(f"{self.emulator}/books", timeout=60).json()["runs"]
        return runs


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        pat = {"DEVSTACK_PAT": secret("pat")}
        ado = stack.enter_context(start("devstack.ado", env=pat, cwd=tmp_path, log=tmp_path / "ado.log"))
        settings = {
            **app_settings(ado.url, f"sqlite:{tmp_path / 'journal.sqlite3'}"),
            "DELIVERY_BUDGET_SECONDS": "4",
            "JOURNAL_LEASE_SECONDS": "5",
            "JOURNAL_SETTLE_SECONDS": "0.5",
        }
        hosts = [
            stack.enter_context(start_app(env=settings, cwd=tmp_path, log=tmp_path / log))
            for log in ("host0.log", "host1.log")
        ]
        yield Stage(ado, hosts)


def test_200_duplicates_from_32_threads_to_two_hosts_queue_one_run(stage: Stage) -> None:
    event = sample_text("model-registered")
    begin = threading.Barrier(32)

    def deliver_some(number: int) -> list[int]:
        begin.wait()
        return [stage.post(number % 2, event) for _ in range(7 if number < 8 else 6)]

    with ThreadPoolExecutor(32) as pool:
        statuses = [status for answers in pool.map(deliver_some, range(32)) for status in answers]
    assert len(statuses) == 200
    assert set(statuses) <= {202, 500}
    assert stage.post(0, event) == stage.post(1, event) == 202
    assert len(stage.runs) == 1


@pytest.mark.parametrize("accept", [True, False], ids=["after-it-was-queued", "before-it-was-queued"])
def test_the_other_host_finishes_what_a_killed_host_had_claimed(stage: Stage, accept: bool) -> None:
    event = sample_text("run-completed")
    delay = {"delay_after_seconds": 3} if accept else {"delay_before_seconds": 3, "drop": True}
    stage.plan(accept=accept, **delay)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(stage.post, 0, event)
        _wait_for_request(stage)
        stage.hosts[0].kill()
        with pytest.raises(requests.ConnectionError):
            hanging.result()
    statuses = stage.deliver(1, event)
    assert statuses[0] == 500, "the killed host's lease must protect its claim until it expires"
    assert statuses[-1] == 202
    assert [run["templateParameters"]["runId"] for run in stage.runs] == ["sample_run_00000001"]


def _wait_for_request(stage: Stage) -> None:
    """Wait until the emulator has received the request to queue a run."""

    def arrived() -> bool:
        books = requests.get(f"{stage.emulator}/books", timeout=60).json()
        return any(request["method"] == "POST" for request in books["requests"])

    wait_until(arrived)
