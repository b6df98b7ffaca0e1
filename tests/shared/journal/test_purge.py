"""The purge: its batches, its time limit, and the timer that calls it."""

import logging
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests

from devstack.processes import start_app
from handlers import NAMES
from shared.composition import load_configuration
from shared.journal.journal import Claimed, Journal
from shared.journal.purge import MAX_DURATION, purge
from shared.journal.records import Entry, JournalKey, Selection, State, Store
from shared.journal.sqlite import SqliteStore
from shared.routing.running import announce, running_routes
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.polling import wait_until

RETENTION = timedelta(days=90)


@pytest.fixture
def filled(each_store: Store, clock: ManualClock) -> Journal:
    """Return a journal with four records in each state and one claimed record. Their age equals the retention."""
    journal = Journal(each_store, clock=clock)
    fill(journal, clock, count=17)
    clock.advance(RETENTION.total_seconds())
    return journal


def fill(journal: Journal, clock: ManualClock, count: int) -> None:
    for number in range(count):
        mine = journal.claim(JournalKey("route", f"{number:064x}"), Entry("id", "type", "s", "{}"), clock())
        assert isinstance(mine, Claimed)
        if number % 4 == 0 and number < count - 1:
            journal.complete(mine.record, number, "url")
        elif number % 4:
            (journal.suppress, journal.park, journal.release)[number % 4 - 1](mine.record, "why")


def left(store: Store) -> Counter[State]:
    return Counter(record.state for record in store.select(Selection(), 100))


def test_all_batches_are_purged_in_one_call(
    filled: Journal, each_store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert purge(filled, RETENTION, batch_records=3, clock=clock) == 0, (
        "the records are not older than the retention yet"
    )
    clock.advance(1)
    assert purge(filled, RETENTION, batch_records=3, clock=clock) == 8
    assert left(each_store) == {State.CLAIMED: 1, State.PARKED: 4, State.RELEASED: 4}
    assert "purged 8 journal records older than 90 days" in caplog.text


def test_it_stops_at_the_time_limit_and_continues_the_next_night(filled: Journal, clock: ManualClock) -> None:
    def slow_clock() -> datetime:
        clock.advance(MAX_DURATION.total_seconds() / 2)
        return clock()

    assert purge(filled, RETENTION, batch_records=3, clock=slow_clock) == 3
    assert purge(filled, RETENTION, batch_records=3, clock=clock) == 5


def test_a_record_is_kept_for_the_retention_after_its_last_change(
    filled: Journal, each_store: Store, clock: ManualClock
) -> None:
    """Parked records are redriven after the retention, and adopt the run of a lost request."""
    clock.advance(1)
    parked = list(filled.select(Selection(states=frozenset({State.PARKED})), 10))
    for record in parked:
        filled.complete(filled.mark_uncertain(record, "redriven", in_progress=False), 100 + int(record.key.key, 16), "")
    assert purge(filled, RETENTION, batch_records=3, clock=clock) == 8, "more records are kept than a batch has"
    assert left(each_store) == {State.CLAIMED: 1, State.QUEUED: 4, State.RELEASED: 4}
    clock.advance(RETENTION.total_seconds() + 1)
    assert purge(filled, RETENTION, batch_records=3, clock=clock) == 4


def test_the_timer_purges_the_journal(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "journal.sqlite3")
    long_ago = ManualClock()
    long_ago.advance(-400 * 86400)
    fill(Journal(store, clock=long_ago), long_ago, count=4)
    settings = {
        **ENVIRONMENT,
        "AZURE_DEVOPS_AUTH": "pat",
        "AZURE_DEVOPS_EXT_PAT": secret("pat"),
        "JOURNAL_CONNECTION": f"sqlite:{tmp_path / 'journal.sqlite3'}",
    }
    routes = load_configuration(settings, ROOT, NAMES).routes
    announce(Journal(store, clock=long_ago), routes)
    with start_app(env=settings, cwd=tmp_path, log=tmp_path / "host.log") as host:
        response = requests.post(f"{host.url}/admin/functions/purge_journal", json={"input": ""}, timeout=60)
        assert response.status_code == 202
        wait_until(lambda: (running := running_routes(Journal(store))) and running.since > long_ago())
        assert left(store) == {State.PARKED: 1, State.RELEASED: 1, State.NOTED: 1}
    store.close()
