"""The store's time: of this machine for a file, of the service for a table."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from devstack.azurite import Azurite
from shared.clock import Clock, utc_now
from shared.errors import JournalUnavailable
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Store
from shared.journal.tables import retry_policy
from shared.journal.tables.store import TablesStore
from tests.support.clock import ManualClock
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.records import NOW, record, store_with
from tests.support.journal.stores import no_identity
from tests.support.services.raw_server import answering, server
from tests.support.services.shifted_clock import shifted

SLACK = timedelta(seconds=1.5)
"""Half of the second that Date names, and time for the calls."""


@contextmanager
def shifted_tables(
    azurite: Azurite, shift: timedelta | None, clock: Clock = utc_now
) -> Iterator[tuple[TablesStore, list[bytes]]]:
    with shifted(azurite.port, shift) as (port, requests):
        connection = azurite.connection_string.replace(f":{azurite.port}", f":{port}")
        with closing(TablesStore(connection, no_identity, table_name="unmade", clock=clock)) as store:
            yield store, requests


def off(store: Store, real: timedelta) -> timedelta:
    """Return how far the store's offset is from the real one."""
    return abs(store.clock_offset() - real)


def test_every_store_tells_its_offset(each_store: Store) -> None:
    assert off(each_store, timedelta()) < SLACK


def test_the_journal_tells_the_time_of_its_store(clock: ManualClock) -> None:
    minute = timedelta(minutes=1)
    journal = Journal(store_with(MemoryStore(), clock_offset=lambda: minute), clock=clock)
    assert (journal.now(), journal.in_store_time(NOW), journal.in_local_time(NOW)) == (
        clock() + minute,
        NOW + minute,
        NOW - minute,
    )


class TestTables:
    @pytest.mark.parametrize("minutes", [-10, 10])
    def test_the_time_is_the_services(self, azurite: Azurite, minutes: int, caplog: pytest.LogCaptureFixture) -> None:
        shift = timedelta(minutes=minutes)
        with shifted_tables(azurite, shift) as (store, _):
            assert off(store, shift) < SLACK
        (logged,) = (one.getMessage() for one in caplog.records if one.name == "nextstage.clock")
        assert re.search(rf"/devstoreaccount1\S* is (599|600)\.\d s {'behind' if minutes < 0 else 'ahead of'} ", logged)

    @pytest.mark.parametrize("host", [-60, 60])
    def test_hosts_with_different_clocks_agree(self, azurite: Azurite, host: int) -> None:
        there, minute = timedelta(seconds=host), timedelta(minutes=1)
        with (
            shifted_tables(azurite, minute, clock=lambda: utc_now() + there) as (one, _),
            shifted_tables(azurite, minute) as (other, _),
        ):
            assert off(one, minute - there) < SLACK
            assert off(other, minute) < SLACK

    def test_only_the_first_call_may_cost_a_read(self, azurite: Azurite) -> None:
        with shifted_tables(azurite, timedelta()) as (store, requests):
            for _ in range(3):
                store.clock_offset()
            assert len(requests) == 1

    def test_after_any_other_answer_no_read_is_needed(self, azurite: Azurite) -> None:
        with shifted_tables(azurite, timedelta(hours=1)) as (store, requests):
            store.get(JournalKey("route", "ab12"))
            assert off(store, timedelta(hours=1)) < SLACK
            assert len(requests) == 1

    def test_transactions_are_measured_too(self, azurite: Azurite) -> None:
        with shifted_tables(azurite, timedelta(hours=1)) as (store, requests):
            store.insert(record(run_id=7))
            assert b"/$batch" in requests[0]
            assert off(store, timedelta(hours=1)) < SLACK

    def test_without_dates_the_time_is_this_machines(self, azurite: Azurite) -> None:
        with shifted_tables(azurite, None) as (store, requests):
            for _ in range(3):
                assert off(store, timedelta()) < SLACK
            assert len(requests) == 1

    def test_a_refusal_shows_the_clock_too(self, azurite: Azurite) -> None:
        wrong = azurite.connection_string.replace("AccountKey=E", "AccountKey=F")
        with closing(TablesStore(wrong, no_identity)) as store:
            with pytest.raises(JournalUnavailable, match="account key"):
                store.clock_offset()
            assert off(store, timedelta()) < SLACK

    def test_there_is_no_time_before_the_service_has_answered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry_policy, "PAUSES_SECONDS", (0.01, 0.01))
        seen: list[bytes] = []
        head = b"HTTP/1.1 503 X\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\n"
        busy = head + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
        with server(answering(busy, seen)) as url:
            connection = f"AccountName=a;AccountKey=Zm9v;TableEndpoint={url.replace('contoso', 'a')}"
            with closing(TablesStore(connection, no_identity)) as store:
                for _ in range(2):
                    with pytest.raises(JournalUnavailable, match="does not answer"):
                        store.clock_offset()
        assert len(seen) == 6
