"""The journal's storage is down for a while during deliveries: no run is lost or duplicated."""

import random
import threading
import time
from pathlib import Path

import requests

from devstack.azurite import Azurite, installation_problem
from devstack.demo.books import Comparison, compare
from devstack.processes import start, start_app
from devstack.soak.delivery import Deliveries
from devstack.soak.events import make_events
from tests.support.canaries import secret
from tests.support.effort import amount
from tests.support.polling import wait_until
from tests.support.prerequisites import need
from tests.support.services.host_apps import app_settings, deliver, web_hook

EVENTS, DOWN_SECONDS = amount((200, 5), long=(400, 30))


def test_no_run_is_lost_or_duplicated_while_the_storage_is_down(tmp_path: Path) -> None:
    need(installation_problem())
    events = make_events(EVENTS, random.Random(7))
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
        with start_app(env=settings, cwd=tmp_path, log=log) as host:
            deliveries = Deliveries(events, lambda: host.url, seed=7)
            delivering = threading.Thread(target=deliveries.run, args=(8, time.monotonic() + 300))
            delivering.start()
            wait_until(lambda: deliveries.progress.answers["202"] >= 20)
            azurite.stop()
            answer = deliver(web_hook(host.url), events[0].text)
            time.sleep(DOWN_SECONDS)
            left_while_down = deliveries.left
            azurite.start()
            delivering.join()
        emulator = "/".join(ado.url.split("/")[:3])
        runs = requests.get(f"{emulator}/_emulator/books", timeout=30).json()["runs"]
    assert left_while_down > 0, "all events were acknowledged before the storage went down"
    assert deliveries.left == 0
    assert compare([event.expected_run for event in events], runs) == Comparison(EVENTS, 0, 0)
    assert answer.status_code == 500
    logged = log.read_text(encoding="utf-8")
    assert f"127.0.0.1:{azurite.port}" in logged
    assert "does not answer" in logged
