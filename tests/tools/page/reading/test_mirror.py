"""The copy of a journal that is not a file."""

import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest

from shared.errors import JournalUnavailable, UnreadableRecord
from shared.http.azure_transport import PooledTransport
from shared.journal.journal import Journal
from shared.journal.records import JournalKey, Record, Selection, Skipped, State, Step, Store
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.journal.files import event_record
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.records import NOW, store_with, written
from tests.support.journal.stores import OpenTables
from tests.support.polling import wait_until
from tools.page.reading import mirror as module
from tools.page.reading.decisions import Search
from tools.page.reading.journal_file import read_only
from tools.page.reading.mirror import PAUSE_SECONDS, READ_ALL_AFTER_SECONDS, Mirror, Progress
from tools.page.reading.reader import Reader


@dataclass
class Remote:
    """A store far away, of which one record may be unreadable, and which may fail after some records."""

    store: MemoryStore = field(default_factory=MemoryStore)
    asked: list[Selection] = field(default_factory=list)
    fails_after: int | None = None
    unreadable: JournalKey | None = None
    seen: Callable[[], object] = lambda: None

    def select(self, selection: Selection, limit: int, skipped: Skipped) -> Iterator[Record]:
        self.asked.append(selection)
        for record in islice(self.store.select(selection, limit), self.fails_after):
            self.seen()
            if record.key == self.unreadable:
                skipped(UnreadableRecord("it cannot be read, says the test", *record.key))
            else:
                yield record
        if self.fails_after is not None:
            raise JournalUnavailable("the journal does not answer, says the test")

    def insert(self, *records: Record) -> None:
        for record in records:
            written(self.store.insert(record))

    @property
    def journal(self) -> Journal:
        return Journal(store_with(self.store, select=self.select), clock=lambda: NOW)


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mirror(remote: Remote, clock: ManualClock) -> Iterator[Mirror]:
    """A mirror that looks only when a test says so."""
    with closing(Mirror(remote.journal, lambda: clock().timestamp())) as made:
        yield made


def events(mirror: Mirror) -> dict[str, str]:
    """Return the states of the events in the copy."""
    found = read_only(Reader(mirror.store).decisions(Search(), NOW).records)
    return {record.entry.event_id: record.state.value for record in found}


def test_the_copy_has_what_the_journal_has(remote: Remote, mirror: Mirror) -> None:
    known = [event_record(1), event_record(2, State.PARKED, timedelta(hours=1), reason="half a pair: \ud800")]
    remote.insert(*known)
    mirror.refresh()
    assert mirror.progress == Progress(2, NOW)
    assert mirror.store.get(known[0].key) == known[0]._replace(version="1")
    assert events(mirror) == {"event-1": "queued", "event-2": "parked"}


def test_later_looks_ask_only_for_what_was_written_since(remote: Remote, mirror: Mirror) -> None:
    remote.insert(event_record(1))
    mirror.refresh()
    remote.insert(event_record(2))
    first = written(remote.store.get(event_record(1).key))
    remote.store.replace(first._replace(state=State.SUPPRESSED))
    mirror.refresh()
    assert events(mirror) == {"event-1": "suppressed", "event-2": "queued"}
    since = [selection.written_since for selection in remote.asked]
    assert since[0] is None
    assert since[1] is not None
    assert since[1] < NOW
    assert mirror.progress.records == 2


def test_a_removed_record_vanishes_with_the_next_look_at_everything(
    remote: Remote, mirror: Mirror, clock: ManualClock
) -> None:
    remote.insert(event_record(1), event_record(2))
    mirror.refresh()
    remote.store.delete(written(remote.store.get(event_record(1).key)))
    mirror.refresh()
    assert len(events(mirror)) == 2
    clock.advance(READ_ALL_AFTER_SECONDS)
    mirror.refresh()
    assert list(events(mirror)) == ["event-2"]
    assert mirror.progress.records == 1


def test_a_record_that_an_operator_has_moved_vanishes_with_the_next_look(remote: Remote, mirror: Mirror) -> None:
    remote.insert(event_record(1), event_record(2))
    mirror.refresh()
    remote.store.delete(written(remote.store.get(event_record(1).key)))
    mirror.forget(event_record(1).key)
    mirror.refresh()
    assert list(events(mirror)) == ["event-2"]
    remote.insert(event_record(1))
    mirror.refresh()
    assert len(events(mirror)) == 2


def test_a_record_keeps_its_place_in_the_file_when_it_is_copied_again(remote: Remote, mirror: Mirror) -> None:
    """Otherwise, a list that is read at the same time would lack it."""
    remote.insert(event_record(1), event_record(2))
    mirror.refresh()
    before = mirror.store.query("SELECT route, key, rowid FROM records")
    mirror.refresh()
    assert mirror.store.query("SELECT route, key, rowid FROM records") == before


def test_a_journal_that_does_not_answer_is_tried_again(remote: Remote, mirror: Mirror) -> None:
    remote.insert(event_record(1), event_record(2))
    remote.fails_after = 0
    mirror.refresh()
    assert mirror.progress == Progress(problem="the journal does not answer, says the test")
    remote.fails_after = None
    mirror.refresh()
    remote.fails_after = 0
    mirror.refresh()
    assert mirror.progress == Progress(2, NOW, "the journal does not answer, says the test")
    assert len(events(mirror)) == 2
    remote.fails_after = None
    mirror.refresh()
    assert mirror.progress == Progress(2, NOW)


@pytest.mark.parametrize("failure", [JournalUnavailable, ZeroDivisionError])
def test_a_problem_is_named_without_secrets(remote: Remote, failure: type[Exception]) -> None:
    def fail() -> None:
        raise failure(f"https://x/?sig={secret('sig')} does not answer")

    remote.insert(event_record(1))
    remote.seen = fail
    with closing(Mirror(remote.journal)) as mirror:
        mirror.start()
        wait_until(lambda: mirror.progress.problem)
        assert mirror.progress.problem.endswith("https://x/?*** does not answer")


def test_a_run_may_move_from_one_record_to_another_while_they_are_read(remote: Remote, mirror: Mirror) -> None:
    remote.insert(event_record(2), event_record(1, State.RELEASED))
    mirror.refresh()
    first, second = (written(remote.store.get(event_record(number).key)) for number in (1, 2))
    remote.store.replace(second._replace(state=State.RELEASED, run_id=None))
    remote.store.replace(first._replace(state=State.QUEUED, run_id=2))
    mirror.refresh()  # reads the first one first, as it was inserted last
    assert (events(mirror), mirror.progress.problem) == ({"event-1": "queued", "event-2": "released"}, "")


def test_a_record_that_the_copy_cannot_store_does_not_end_the_copying(remote: Remote, mirror: Mirror) -> None:
    remote.insert(event_record(1)._replace(run_id=2**63))
    with pytest.raises(OverflowError):
        mirror.refresh()
    first = written(remote.store.get(event_record(1).key))
    remote.store.replace(first._replace(run_id=7))
    mirror.refresh()
    assert (events(mirror), mirror.progress.problem) == ({"event-1": "queued"}, "")


def test_what_was_read_before_a_failure_is_shown(
    remote: Remote, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH_RECORDS", 2)
    remote.insert(*(event_record(number) for number in range(5)))
    so_far: list[int] = []
    remote.seen, remote.fails_after = lambda: so_far.append(mirror.progress.records), 5
    mirror.refresh()
    assert so_far == [0, 0, 2, 2, 4]
    assert (len(events(mirror)), mirror.progress.as_of) == (4, None)


def test_an_unreadable_record_is_named_and_not_shown(remote: Remote, mirror: Mirror, clock: ManualClock) -> None:
    remote.insert(event_record(1), event_record(2))
    mirror.refresh()
    remote.unreadable = event_record(1).key
    mirror.refresh()
    assert [str(one) for one in mirror.progress.unreadable] == ["it cannot be read, says the test"]
    assert list(events(mirror)) == ["event-2"]
    remote.unreadable = None
    mirror.refresh()
    assert (len(events(mirror)), mirror.progress.unreadable) == (2, ())
    remote.unreadable = event_record(1).key
    mirror.refresh()
    assert len(mirror.progress.unreadable) == 1
    remote.store.delete(written(remote.store.get(event_record(1).key)))
    clock.advance(READ_ALL_AFTER_SECONDS)
    mirror.refresh()
    assert list(mirror.progress.unreadable) == []


def test_only_the_owner_can_read_the_copy_and_it_is_removed(remote: Remote) -> None:
    remote.insert(event_record(1))
    mirror = Mirror(remote.journal)
    mirror.start()
    wait_until(lambda: mirror.progress.as_of)
    folder = Path(mirror._folder.name)
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600] * len(list(folder.iterdir()))
    mirror.close()
    assert not folder.exists()
    assert not mirror._thread.is_alive()


def test_a_defect_does_not_end_the_thread(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    remote.insert(event_record(1))
    defects = [ZeroDivisionError("says the test")]

    def fail() -> None:
        if defects:
            raise defects.pop()

    remote.seen = fail
    with closing(Mirror(remote.journal)) as mirror:
        mirror.start()
        wait_until(lambda: mirror.progress.as_of)
        assert (defects, mirror.progress.problem) == ([], "")


def test_a_mirror_that_ends_while_it_reads_stops_reading(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_RECORDS", 1)
    remote.insert(*(event_record(number) for number in range(50)))
    mirror = Mirror(remote.journal)
    read: list[None] = []

    def end() -> None:
        read.append(None)
        mirror._ended.set()

    remote.seen = end
    mirror.start()
    wait_until(lambda: not mirror._thread.is_alive())
    mirror.close()
    assert len(read) == 1


@pytest.mark.parametrize(("took", "pause", "all_after"), [(1, PAUSE_SECONDS, 3600), (5, 45, 3600), (600, 5400, 5400)])
def test_looks_take_at_most_a_tenth_of_the_time(
    remote: Remote, mirror: Mirror, clock: ManualClock, took: float, pause: float, all_after: float
) -> None:
    remote.insert(event_record(1))
    remote.seen = lambda: clock.advance(took)
    mirror.refresh()
    assert mirror.pause_seconds == PAUSE_SECONDS  # what has changed while everything was read is shown soon
    mirror.refresh()
    assert mirror.pause_seconds == pause
    clock.advance(all_after - took - 1)
    mirror.refresh()
    mirror.refresh()
    assert [one.written_since is None for one in remote.asked] == [True, False, False, True]
    assert mirror.pause_seconds == PAUSE_SECONDS


class Counting(PooledTransport):
    """Counts requests."""

    def __init__(self) -> None:
        super().__init__(2)
        self.filters: list[str] = []

    def send(self, request: object, **options: object) -> object:
        self.filters.append(str(getattr(request, "url", "")))
        return super().send(request, **options)


def test_a_look_at_a_table_is_one_request(open_tables: OpenTables) -> None:
    app: Store = open_tables()
    first = written(app.insert(event_record(1)))
    written(app.insert(event_record(2, State.RELEASED)))
    transport = Counting()
    with closing(Mirror(Journal(open_tables(transport=transport)))) as mirror:
        mirror.refresh()
        assert events(mirror) == {"event-1": "queued", "event-2": "released"}
        transport.filters.clear()
        step = Step(NOW, State.PARKED, "later")
        written(app.replace(first._replace(state=State.PARKED, run_id=None, history=(*first.history, step))))
        mirror.refresh()
        assert events(mirror) == {"event-1": "parked", "event-2": "released"}
        assert len(transport.filters) == 1
        assert "Timestamp" in transport.filters[0]
