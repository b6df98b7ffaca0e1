"""The purge: in batches, bounded in time, and as the timer calls it."""

import logging
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests

from devstack.processes import start
from shared.journal.journal import Journal, Mine
from shared.journal.purge import MAX_DURATION, purge
from shared.journal.records import Entry, JournalKey, Selection, State, Store
from shared.journal.sqlite import SqliteStore
from tests.support import ROOT
from tests.support.building import ENVIRONMENT
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.waiting import wait_until

RETENTION = timedelta(days=90)


def park_and_suppress(journal: Journal, now: datetime, count: int) -> None:
    """Half of the records parked, half suppressed."""
    for number in range(count):
        mine = journal.claim(JournalKey("route", f"{number:064x}"), Entry("id", "type", "s", "{}"), now)
        assert isinstance(mine, Mine)
        (journal.park if number % 2 else journal.suppress)(mine.record, "why")


def test_all_batches_in_one_go(store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    journal = Journal(store, clock=clock)
    park_and_suppress(journal, clock(), 20)
    clock.advance(RETENTION.total_seconds() + 1)
    assert purge(journal, RETENTION, batch_records=3, clock=clock) == 10
    assert {record.state for record in journal.select(Selection(), 100)} == {State.PARKED}
    assert "10 journal records older than 90 days were purged" in caplog.text


def test_it_ends_in_time_and_goes_on_the_next_night(store: Store, clock: ManualClock) -> None:
    journal = Journal(store, clock=clock)
    park_and_suppress(journal, clock(), 20)
    clock.advance(RETENTION.total_seconds() + 1)

    def slow_clock() -> datetime:
        clock.advance(MAX_DURATION.total_seconds() / 2)
        return clock()

    assert purge(journal, RETENTION, batch_records=3, clock=slow_clock) == 3
    assert purge(journal, RETENTION, batch_records=3, clock=clock) == 7


def test_the_timer_purges(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "journal.sqlite3")
    long_ago = ManualClock()
    long_ago.advance(-400 * 86400)
    park_and_suppress(Journal(store, clock=long_ago), long_ago(), 4)
    settings = {
        **ENVIRONMENT,
        "AZURE_DEVOPS_AUTH": "pat",
        "AZURE_DEVOPS_EXT_PAT": secret("pat"),
        "JOURNAL_CONNECTION": f"sqlite:{tmp_path / 'journal.sqlite3'}",
    }
    with start("devstack.host", "--app-dir", str(ROOT), env=settings, cwd=tmp_path, log=tmp_path / "host.log") as host:
        response = requests.post(f"{host.url}/admin/functions/purge_journal", json={"input": ""}, timeout=60)
        assert response.status_code == 202
        wait_until(lambda: len(list(store.select(Selection(), 100))) == 2)
    assert [record.state for record in store.select(Selection(), 100)] == [State.PARKED] * 2
    store.close()
