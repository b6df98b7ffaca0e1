"""Deferred events come back through the queue trigger, each event is delivered only once, and the host is killed."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from azure.storage.queue import QueueServiceClient

from devstack.azurite import Azurite, installation_problem
from devstack.demo.books import Comparison, compare
from devstack.processes import RunningProcess, start, start_app
from devstack.soak.events import make_events
from shared.resume.azure_queue import API_VERSION
from tests.support.canaries import secret
from tests.support.effort import amount
from tests.support.polling import wait_until
from tests.support.prerequisites import need
from tests.support.services.host_apps import app_settings, deliver, web_hook

EVENTS = amount(20, long=100)


def messages_left(azurite: Azurite) -> int:
    """Return how many messages there are, visible or not."""
    with QueueServiceClient.from_connection_string(azurite.connection_string, api_version=API_VERSION) as service:
        queues = [service.get_queue_client(queue.name).get_queue_properties() for queue in service.list_queues()]
    return sum(queue.approximate_message_count or 0 for queue in queues)


def test_no_run_is_lost_or_duplicated_if_the_host_is_killed_while_it_resumes(tmp_path: Path) -> None:
    need(installation_problem())
    events = make_events(EVENTS, random.Random(7))
    with (
        Azurite(tmp_path / "azurite", in_memory=True, queues=True) as azurite,
        start("devstack.ado", env={"DEVSTACK_PAT": secret("pat")}, cwd=tmp_path, log=tmp_path / "ado.log") as ado,
    ):
        emulator = "/".join(ado.url.split("/")[:3]) + "/_emulator"
        settings = {
            **app_settings(ado.url, azurite.connection_string),
            "RESUME_STORAGE": azurite.connection_string,
            "DELIVERY_BUDGET_SECONDS": "4",
            "JOURNAL_LEASE_SECONDS": "5",
            "JOURNAL_SETTLE_SECONDS": "4",  # longer than requests are held, also on a slow machine
        }

        @contextmanager
        def host() -> Iterator[RunningProcess]:
            with start_app("--in-work-seconds", "2", env=settings, cwd=tmp_path, log=tmp_path / "host.log") as running:
                yield running

        def plan(**fault: Any) -> None:
            requests.post(f"{emulator}/faults", json=[fault], timeout=60).raise_for_status()

        def runs() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = requests.get(f"{emulator}/books", timeout=30).json()["runs"]
            return found

        with host() as first:
            plan(accept=False, status=429, headers={"Retry-After": "3"})
            assert {deliver(web_hook(first.url), event.text).status_code for event in events} == {202}
            # Requests that are in work when the host is killed: some have queued a run, some have not.
            plan(accept=True, delay_after_seconds=3, times=2)
            plan(accept=True, delay_before_seconds=3, times=2)
            wait_until(runs)
            first.kill()
        with host():
            wait_until(lambda: len(runs()) >= EVENTS)
            wait_until(lambda: not messages_left(azurite))
        queued = runs()
    assert compare([event.expected_run for event in events], queued) == Comparison(EVENTS, 0, 0)
