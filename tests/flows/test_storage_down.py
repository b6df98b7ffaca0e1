"""The journal's storage is down for half a minute in the middle of everything: nothing lost, nothing doubled."""

import os
import random
import threading
import time
from pathlib import Path

import requests

from devstack.azurite import Azurite, why_not_installed
from devstack.demo.books import Comparison, compare
from devstack.processes import start
from devstack.soak.delivery import Deliveries
from devstack.soak.events import make_events
from tests.support import ROOT
from tests.support.canaries import secret
from tests.support.host_apps import app_settings, deliver, web_hook
from tests.support.stores import without_azurite

DOWN_SECONDS = 30


def test_storage_that_is_down_for_30_seconds(tmp_path: Path) -> None:
    if (reason := why_not_installed()) is not None:
        without_azurite(reason, os.environ)
    events = make_events(400, random.Random(7))
    with (
        Azurite(tmp_path / "azurite") as azurite,
        start("devstack.ado", env={"DEVSTACK_PAT": secret("pat")}, cwd=tmp_path, log=tmp_path / "ado.log") as ado,
    ):
        settings = {
            **app_settings(ado.url, azurite.connection_string),
            "DELIVERY_BUDGET_SECONDS": "8",
            "JOURNAL_LEASE_SECONDS": "9",
            "JOURNAL_SETTLE_SECONDS": "1",
        }
        log = tmp_path / "host.log"
        with start("devstack.host", "--app-dir", str(ROOT), env=settings, cwd=tmp_path, log=log) as host:
            deliveries = Deliveries(events, lambda: host.url, seed=7)
            delivering = threading.Thread(target=deliveries.run, args=(8, time.monotonic() + 150))
            delivering.start()
            _wait_until_some_are_acknowledged(deliveries)
            azurite.stop()
            answer = deliver(web_hook(host.url), events[0].text)
            time.sleep(DOWN_SECONDS)
            left_while_down = deliveries.left
            azurite.start()
            delivering.join()
        emulator = "/".join(ado.url.split("/")[:3])
        runs = requests.get(f"{emulator}/_emulator/books", timeout=30).json()["runs"]
    assert left_while_down > 0, "there was nothing left to do when the storage went down"
    assert deliveries.left == 0
    assert compare([event.wanted for event in events], runs) == Comparison(400, 0, 0)
    assert answer.status_code == 500
    assert f"127.0.0.1:{azurite.port}" in answer.text
    assert "does not answer" in answer.text


def _wait_until_some_are_acknowledged(deliveries: Deliveries) -> None:
    for _ in range(1000):
        if deliveries.progress.answers["202"] >= 20:
            return
        time.sleep(0.01)
    raise AssertionError("nothing was acknowledged within 10 s")
