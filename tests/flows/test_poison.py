"""A message that fails too often is set aside. An operator puts it back after the cause is repaired."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient
from azure.storage.queue import QueueServiceClient

from devstack.azurite import Azurite
from devstack.events import sample_text
from devstack.host.queue_trigger import POISON
from devstack.processes import NO_SETTINGS, RunningProcess, start, start_app
from shared.journal.records import JournalKey
from shared.journal.tables.store import TABLE_NAME
from shared.resume.azure_queue import API_VERSION
from shared.resume.queue import message_of
from tests.support import ROOT
from tests.support.canaries import secret
from tests.support.polling import wait_until
from tests.support.services.host_apps import app_settings, deliver, web_hook

QUEUE = "poison-flow"


def app_with_short_times(folder: Path) -> Path:
    """Return a folder with the project's app, whose host looks at the queue often and gives up early."""
    folder.mkdir()
    for name in ("function_app.py", "handlers", "shared", "routes.yaml"):
        (folder / name).symlink_to(ROOT / name)
    host = json.loads((ROOT / "host.json").read_text())
    short = {"maxPollingInterval": "00:00:01", "visibilityTimeout": "00:00:01", "maxDequeueCount": 2}
    host["extensions"]["queues"] |= short
    (folder / "host.json").write_text(json.dumps(host))
    return folder


def test_a_message_is_set_aside_and_put_back_after_the_repair(tmp_path: Path, queue_storage: Azurite) -> None:
    app, storage = app_with_short_times(tmp_path / "app"), queue_storage.connection_string
    with (
        start("devstack.ado", env={"DEVSTACK_PAT": secret("pat")}, cwd=tmp_path, log=tmp_path / "ado.log") as ado,
        TableClient.from_connection_string(storage, TABLE_NAME) as table,
        QueueServiceClient.from_connection_string(storage, api_version=API_VERSION) as service,
    ):
        emulator = "/".join(ado.url.split("/")[:3]) + "/_emulator"
        settings = app_settings(ado.url, storage) | {"RESUME_STORAGE": storage, "RESUME_QUEUE": QUEUE}

        @contextmanager
        def host() -> Iterator[RunningProcess]:
            log = tmp_path / "host.log"
            with start_app(env=settings, cwd=tmp_path, log=log, app_dir=app) as running:
                yield running

        def runs() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = requests.get(f"{emulator}/books", timeout=30).json()["runs"]
            return found

        def set_aside() -> int:
            """Return how many messages are in the poison queue, which the host creates with the first one."""
            try:
                found = service.get_queue_client(QUEUE + POISON).get_queue_properties()
            except ResourceNotFoundError:
                return 0
            return found.approximate_message_count or 0

        def poison(*options: str) -> list[dict[str, Any]]:
            command = [sys.executable, str(ROOT / "manage.py"), "resume", "--poison", "--json", *options]
            done = subprocess.run(
                command, env=os.environ | NO_SETTINGS | settings, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            listed: list[dict[str, Any]] = json.loads(done.stdout)
            return listed

        with host() as running:
            fault = {"accept": False, "status": 429, "headers": {"Retry-After": "60"}}
            requests.post(f"{emulator}/faults", json=[fault], timeout=60).raise_for_status()
            assert deliver(web_hook(running.url), sample_text("run-completed")).status_code == 202
        (record,) = [found for found in table.list_entities() if found.get("state") == "released"]
        keys = {"PartitionKey": record["PartitionKey"], "RowKey": record["RowKey"]}
        key = JournalKey(record["PartitionKey"], record["RowKey"])
        table.update_entity(keys | {"state": "changed by another program"})

        service.get_queue_client(QUEUE).send_message(message_of(key), time_to_live=-1)
        with host():
            wait_until(set_aside)
            listed = poison()
            assert [(one["route"], one["key"]) for one in listed] == [tuple(key)]
            assert runs() == []
            table.update_entity(keys | {"state": "released"})
            assert poison("--now") == listed
            wait_until(runs)
        assert set_aside() == 0
        assert len(runs()) == 1
