"""The week of the page's tests and screenshots has everything that the page shows."""

from datetime import UTC, datetime
from pathlib import Path

from devstack.demo.week import week
from shared.journal.journal import Journal
from shared.journal.records import Selection, State
from shared.journal.sqlite import SqliteStore

END = datetime(2026, 11, 27, 15, 12, tzinfo=UTC)


def test_it_ends_with_events_that_need_a_person_and_others_that_wait(tmp_path: Path) -> None:
    with week(tmp_path, END, days=1) as day:
        journal = Journal(SqliteStore(tmp_path / "journal.sqlite3", is_reader=True))
        found = list(journal.select(Selection(), 1000))
        runs = day.served.emulator.state.books.runs
    states = {record.state for record in found}
    assert {State.QUEUED, State.SUPPRESSED, State.GATHERED, State.PARKED, State.RELEASED, State.WAITING} <= states
    assert max(record.claimed_at for record in found) <= END
    reasons = sorted(record.reason[:11] for record in found if record.state is State.PARKED)
    assert reasons == ["HTTP 404: P", "cannot tell", "parameter '"]
    assert {run.id for run in runs} >= {record.run_id for record in found if record.state is State.QUEUED} - {None}
