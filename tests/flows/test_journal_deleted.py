"""The SQLite file is deleted while two hosts run: their deliveries fail, and no run is duplicated after a restart."""

import random
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from devstack.demo.books import Comparison, compare
from devstack.processes import RunningProcess, start, start_app
from devstack.soak.events import make_events
from tests.support.canaries import secret
from tests.support.effort import amount
from tests.support.services.host_apps import app_settings, deliver, web_hook

BEFORE, AFTER = 4, 20


@contextmanager
def two_hosts(folder: Path, settings: dict[str, str]) -> Iterator[list[RunningProcess]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(start_app(env=settings, cwd=folder, log=folder / f"{name}.log"))
            for name in ("host0", "host1")
        ]


@pytest.mark.parametrize("deleted", amount(["journal.sqlite3*"], long=["journal.sqlite3", "journal.sqlite3*"]))
def test_a_deleted_journal_fails_deliveries_and_duplicates_none(tmp_path: Path, deleted: str) -> None:
    events = make_events(BEFORE + AFTER, random.Random(7))
    journal = tmp_path / "journal.sqlite3"
    with start("devstack.ado", env={"DEVSTACK_PAT": secret("pat")}, cwd=tmp_path, log=tmp_path / "ado.log") as ado:
        settings = {
            **app_settings(ado.url, f"sqlite:{journal}"),
            "DELIVERY_BUDGET_SECONDS": "20",
            "JOURNAL_LEASE_SECONDS": "30",
        }
        with two_hosts(tmp_path, settings) as hosts:
            for event in events[:BEFORE]:
                assert [deliver(web_hook(host.url), event.text).status_code for host in hosts] == [202, 202]
            for path in tmp_path.glob(deleted):
                path.unlink()
            for event in events[BEFORE:]:
                assert [deliver(web_hook(host.url), event.text).status_code for host in hosts] == [500, 500]
            for log in tmp_path.glob("*.log"):
                assert log.name == "ado.log" or f"the journal {journal} was deleted or replaced" in log.read_text()
            assert not journal.exists()
        with two_hosts(tmp_path, settings) as hosts:
            for event in events[BEFORE:]:
                assert [deliver(web_hook(host.url), event.text).status_code for host in hosts] == [202, 202]
        books = "/".join(ado.url.split("/")[:3]) + "/_emulator/books"
        runs = requests.get(books, timeout=30).json()["runs"]
    assert compare([event.expected_run for event in events], runs) == Comparison(BEFORE + AFTER, 0, 0)
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
