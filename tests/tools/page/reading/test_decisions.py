"""The latest decisions: filters, pages, and searches that stop."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import UnreadableRecord
from shared.journal.records import NO_EVENT, UNROUTED, JournalKey, State
from shared.journal.sqlite import SqliteStore
from tests.support.journal.files import change, event_record, journal_file
from tests.support.journal.records import NOW, record
from tests.tools.page.reading.conftest import ReaderOf
from tools.actions.records import RecordFilter
from tools.page.reading import decisions as module
from tools.page.reading.decisions import PAGE_RECORDS, Decisions, Search, decisions, position_text, read_position
from tools.page.reading.journal_file import JournalFile, key_of, read_only
from tools.page.reading.reader import Reader

HOUR = timedelta(hours=1)
SOME = [
    event_record(1, State.QUEUED, 1 * HOUR),
    event_record(2, State.PARKED, 2 * HOUR, reason="Azure DevOps refused: Größe 100 %"),
    event_record(3, State.SUPPRESSED, 3 * HOUR, key=JournalKey("triage", "ab" * 32)),
    event_record(4, State.RELEASED, 4 * HOUR),
    event_record(5, State.PARKED, 5 * HOUR, key=JournalKey(UNROUTED, "cd" * 32)),
    event_record(6, State.GATHERED, 6 * HOUR),
    # Not about events:
    record("f" * 64, "$cooldown.evaluate", state=State.QUEUED, claimed_at=NOW, entry=NO_EVENT, document="x"),
    record("e" * 64, "$wait.run", state=State.RELEASED, claimed_at=NOW, entry=NO_EVENT, document="{}"),
    record("$gather." + "a" * 64, "evaluate", state=State.RELEASED, claimed_at=NOW, entry=NO_EVENT, document="{}"),
]


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader of ``SOME``, which no test changes."""
    return Reader(journal_file(tmp_path_factory.mktemp("some") / "journal.sqlite3", SOME))


def numbers(found: Decisions) -> str:
    return "".join(record.entry.event_id.removeprefix("event-") for record in read_only(found.records))


def pages(reader: Reader, search: Search) -> Iterator[Decisions]:
    for _ in range(10):
        found = reader.decisions(search, NOW)
        yield found
        if found.after is None:
            return
        search = search._replace(after=read_position(position_text(found.after)))
    pytest.fail("the pages have no end")


@pytest.mark.parametrize(
    ("wanted", "text", "expected"),
    [
        (RecordFilter(), "", "123456"),
        (RecordFilter(route="evaluate"), "", "1246"),
        (RecordFilter(route="triage"), "", "3"),
        (RecordFilter(route=UNROUTED), "", "5"),
        (RecordFilter(route="nowhere"), "", ""),
        (RecordFilter(route="$wait.run"), "", ""),
        (RecordFilter(states=frozenset({State.PARKED, State.GATHERED})), "", "256"),
        (RecordFilter(states=frozenset({State.WAITING})), "", ""),
        (RecordFilter(newer_than=3 * HOUR), "", "123"),
        (RecordFilter(older_than=3 * HOUR), "", "456"),
        (RecordFilter("evaluate", frozenset({State.PARKED}), older_than=HOUR, newer_than=3 * HOUR), "", "2"),
        (RecordFilter(), "event-4", "4"),
        (RecordFilter(), "RUNS/RUN-6", "6"),
        (RecordFilter(), "größe 100 %", "2"),
        (RecordFilter(), "100_", ""),
        (RecordFilter(), "abab", "3"),
        (RecordFilter(route="evaluate"), "abab", ""),
        (RecordFilter(), "1", "12"),  # the run, and a reason
        (RecordFilter(), "claimed", ""),  # is in the history only
        (RecordFilter(), "9" * 40, ""),
        (RecordFilter(), "' OR 1=1 --", ""),
        (RecordFilter(), "\x00", ""),
    ],
)
@pytest.mark.parametrize("few", [0, module.FEW_RECORDS])
def test_a_decision_must_match_every_filter(
    some: Reader, monkeypatch: pytest.MonkeyPatch, wanted: RecordFilter, text: str, expected: str, few: int
) -> None:
    monkeypatch.setattr(module, "FEW_RECORDS", few)  # read by key, or by time
    assert numbers(some.decisions(Search(wanted, text), NOW)) == expected


def test_pages_show_each_record_once_even_if_all_have_the_same_time(reader_of: ReaderOf) -> None:
    records = [event_record(number, list(State)[number % 7]) for number in range(2 * PAGE_RECORDS + 5)]
    reader = reader_of(records)
    found = list(pages(reader, Search()))
    assert [len(page.records) for page in found] == [PAGE_RECORDS, PAGE_RECORDS, 5]
    shown = [key_of(one).key for page in found for one in page.records]
    assert shown == sorted((record.key.key for record in records), reverse=True)
    assert all(page.searched is None for page in found)


def test_a_page_of_a_route_with_few_records_has_a_next_page_too(reader_of: ReaderOf) -> None:
    reader = reader_of([event_record(number) for number in range(PAGE_RECORDS + 2)])
    found = list(pages(reader, Search(RecordFilter(route="evaluate"))))
    assert [len(page.records) for page in found] == [PAGE_RECORDS, 2]


def test_the_texts_of_events_are_left_out(some: Reader) -> None:
    found = some.decisions(Search(text="event-1"), NOW)
    assert found.records == (SOME[0]._replace(version="1", entry=SOME[0].entry._replace(event="")),)


def test_a_search_that_stops_says_so_and_goes_on(tmp_path: Path) -> None:
    many = [event_record(number, ago=timedelta(minutes=number)) for number in range(1, 10)]
    file = JournalFile(journal_file(tmp_path / "journal.sqlite3", many))
    search = Search(text="event-8")
    first = decisions(file, search, NOW, max_searched=5)
    assert (first.records, first.searched, first.back_to) == ((), 5, NOW - timedelta(minutes=5))
    second = decisions(file, search._replace(after=first.after), NOW, max_searched=5)
    assert (numbers(second), second.searched, second.after) == ("8", None, None)


def test_a_run_or_key_is_found_however_old_it_is(tmp_path: Path) -> None:
    many = [event_record(number, ago=timedelta(minutes=number)) for number in range(1, 10)]
    file = JournalFile(journal_file(tmp_path / "journal.sqlite3", many))
    assert numbers(decisions(file, Search(text="9"), NOW, max_searched=5)) == "9"
    assert numbers(decisions(file, Search(text=f"{9:064x}"), NOW, max_searched=5)) == "9"
    parked = RecordFilter(states=frozenset({State.PARKED}))
    assert numbers(decisions(file, Search(parked, "9"), NOW, max_searched=5)) == ""


def test_an_unreadable_record_is_in_its_place(tmp_path: Path) -> None:
    store = journal_file(tmp_path / "journal.sqlite3", SOME)
    change(store, "UPDATE records SET document = 'no JSON' WHERE key = ?", SOME[1].key.key)
    change(store, "UPDATE records SET document = CAST(x'ff' AS TEXT) WHERE key = ?", SOME[2].key.key)
    found = Reader(store).decisions(Search(), NOW).records
    assert [isinstance(one, UnreadableRecord) for one in found] == [False, True, True, False, False, False]
    assert [key_of(one) for one in found] == [one.key for one in SOME[:6]]
    assert numbers(Reader(store).decisions(Search(text="event-"), NOW)) == "1456"
    assert Reader(store).decisions(Search(text="no JSON"), NOW).records == ()
    change(store, "UPDATE records SET route = CAST(x'ff' AS TEXT) WHERE key = ?", SOME[3].key.key)
    assert numbers(Reader(store).decisions(Search(), NOW)) == "1456"


@pytest.mark.parametrize("text", ["", "x", "a~b~c", "2026-11-20T12:00:00+00:00~route", "~~", "9" * 3000])
def test_a_position_that_was_changed_is_none(text: str) -> None:
    assert read_position(text) is None


def test_a_journal_without_a_table_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite3").touch()
    reader = Reader(SqliteStore(tmp_path / "empty.sqlite3", is_reader=True))
    assert reader.decisions(Search(text="1234"), NOW) == Decisions(())
    assert reader.routes() == []
    assert reader.attention(NOW).is_nothing
