"""Stored records of newer versions, and records that another program has changed, in every real store."""

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.errors import JournalUnavailable, NewerJournal, NewerRecord, UnreadableRecord
from shared.journal.journal import Journal
from shared.journal.purge import purge
from shared.journal.records import Gathered, JournalKey, Record, Selection, State, Store
from shared.journal.sqlite import SqliteStore
from shared.journal.stored_form import SCHEMA, schema_of
from shared.journal.tables.store import TablesStore
from tests.support.journal.records import NOW, record, written

KEY = JournalKey("route", "ab12")


class Stored(NamedTuple):
    """A store with one record.

    :param change: changes the stored form of the record: adds these fields, and adds others to its entry.
    """

    store: Store
    kept: Record
    change: Callable[[Mapping[str, Any], Mapping[str, Any]], None]


@pytest.fixture
def in_sqlite(tmp_path: Path) -> Iterator[Stored]:
    path = tmp_path / "journal.sqlite3"

    def change(fields: Mapping[str, Any], of_entry: Mapping[str, Any]) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            ((text,),) = connection.execute("SELECT document FROM records").fetchall()
            document = json.loads(text)
            document = {**document, **fields, "entry": {**document["entry"], **of_entry}}
            connection.execute("UPDATE records SET document = ?", [json.dumps(document)])

    with closing(SqliteStore(path)) as store:
        yield Stored(store, written(store.insert(record(run_id=5))), change)


@pytest.fixture
def in_tables(tables_store: TablesStore) -> Stored:
    client = tables_store._table._client

    def change(fields: Mapping[str, Any], of_entry: Mapping[str, Any]) -> None:
        entity = client.get_entity(KEY.route, KEY.key)
        notes = json.loads(zlib.decompress(entity["notes0"]))
        notes = {**notes, **fields, "entry": {**notes["entry"], **of_entry}}
        properties = {name: value for name, value in fields.items() if isinstance(value, (int, str))}
        client.update_entity({**entity, **properties, "notes0": zlib.compress(json.dumps(notes).encode())})

    return Stored(tables_store, written(tables_store.insert(record(run_id=5))), change)


@pytest.fixture(params=["in_sqlite", "in_tables"])
def stored(request: pytest.FixtureRequest) -> Stored:
    found: Stored = request.getfixturevalue(request.param)
    return found


def test_unknown_fields_are_ignored(stored: Stored) -> None:
    stored.change({"invented_later": 1}, {"also_invented": "x"})
    found = stored.store.get(KEY)
    assert written(found)._replace(version=stored.kept.version) == stored.kept


def test_a_newer_record_is_not_read(stored: Stored) -> None:
    """The rest of the record may mean something else."""
    stored.change({"schema": SCHEMA + 1, "history": "in another form"}, {})
    expected = r"^the record ab12 of route route was written by a newer .* 3, .* up to 2; upgrade this instance$"
    with pytest.raises(NewerRecord, match=expected):
        stored.store.get(KEY)
    skipped: list[UnreadableRecord] = []
    assert list(stored.store.select(Selection(), 9, skipped.append)) == []
    assert [type(one) for one in skipped] == [NewerRecord]


def test_only_records_that_an_earlier_version_would_misunderstand_have_the_new_schema() -> None:
    assert schema_of(record()) == 1
    assert schema_of(record(gathered=Gathered("ab", 3, NOW, "cd"))) == 2


def test_the_period_of_an_event_is_read_back(stored: Stored) -> None:
    kept = written(stored.store.replace(stored.kept._replace(gathered=Gathered("ab", 3, NOW, "cd"))))
    assert stored.store.get(KEY) == kept


PERIOD = {"into": "ab", "events": 3, "since": NOW.isoformat(), "group": "cd"}
ANOTHER_TIME = "0001-01-01T00:00:00+14:00"
ALTERED_FIELDS: dict[str, Mapping[str, Any]] = {
    **{f"{name} is {value}": {name: value} for name in ("reason", "run_url") for value in (None, 5)},
    "sender is a number": {"sender": 5},
    "history is empty": {"history": None},
    "period is a number": {"gathered": 5},
    "period is short": {"gathered": {"into": "ab", "events": 3}},
    "period has another type": {"gathered": {**PERIOD, "events": "3"}},
    "period has another time": {"gathered": {**PERIOD, "since": ANOTHER_TIME}},
    "period has another group": {"gathered": {**PERIOD, "group": 5}},
    "a step is empty": {"history": [[]]},
    "a step has another state": {"history": [[NOW.isoformat(), "unheard-of", ""]]},
    "a step has no time zone": {"history": [["2026-11-20T12:00:00", "queued", ""]]},
    "a step has a number": {"history": [[NOW.isoformat(), "queued", 5]]},
    **{f"lost_until is {value}": {"lost_until": value} for value in (None, 5, "soon", "2026-11-20", ANOTHER_TIME)},
    "schema is a string": {"schema": "new"},
}


def check_unreadable(store: Store, key: JournalKey = KEY, name: str = "record ab12 of route route") -> None:
    """Check that a record cannot be read, and does not prevent others from being found."""
    other = written(store.insert(record("cd34", run_id=6)))
    skipped: list[str] = []
    assert list(store.select(Selection(), 1, lambda exc: skipped.append(str(exc)))) == [other]
    assert len(skipped) <= 1, "it may come after the other record"
    assert list(store.select(Selection(), 9, lambda exc: skipped.append(str(exc)))) == [other]
    for read in (lambda: store.get(key), lambda: list(store.may_own([5]))):
        with pytest.raises(UnreadableRecord) as caught:
            read()
        assert str(caught.value).startswith(f"the {name} cannot be read (")
        assert str(caught.value).endswith("); another program has changed it: repair or delete the record")
        assert str(caught.value).isprintable()
        assert str(caught.value) == skipped[-1]


@pytest.mark.parametrize("change", ALTERED_FIELDS)
def test_an_altered_record_is_unreadable(stored: Stored, change: str) -> None:
    stored.change(ALTERED_FIELDS[change], {})
    check_unreadable(stored.store)


@pytest.mark.parametrize("name", ["event_id", "event_type", "subject"])
@pytest.mark.parametrize("value", [None, 5, ["x"]])
def test_a_record_with_an_altered_entry_is_unreadable(stored: Stored, name: str, value: Any) -> None:
    stored.change({}, {name: value})
    check_unreadable(stored.store)


def test_a_skipped_record_is_logged(stored: Stored, caplog: pytest.LogCaptureFixture) -> None:
    stored.change({"reason": None}, {})
    assert list(stored.store.select(Selection(), 9)) == []
    (logged,) = [one for one in caplog.records if one.name == "nextstage.journal"]
    assert logged.levelname == "WARNING"
    assert logged.getMessage().startswith("the record ab12 of route route cannot be read (ValueError: a string is ")


def test_a_delivery_of_an_unreadable_record_is_deferred(stored: Stored) -> None:
    stored.change({"reason": None}, {})
    with pytest.raises(JournalUnavailable, match="repair or delete"):
        Journal(stored.store).claim(KEY, stored.kept.entry, NOW)


def test_purge_skips_unreadable_records(stored: Stored) -> None:
    """Also if it reads only one record at once."""
    stored.change({"reason": None}, {})
    for key in ("cd34", "ef56"):
        written(stored.store.insert(record(key, state=State.QUEUED)))
    assert purge(Journal(stored.store), timedelta(), batch_records=1) == 2


class TestRows:
    """Every column of a row in SQLite."""

    @pytest.mark.parametrize(
        "change",
        [
            "state = 'unheard-of'",
            "state = CAST(x'ff' AS TEXT)",
            "claimed_at = 'yesterday'",
            "claimed_at = '2026-11-20T12:00:00'",
            f"claimed_at = '{ANOTHER_TIME}'",
            "event = CAST(x'ff' AS TEXT)",
            "document = CAST(x'ff' AS TEXT)",
            "document = ''",
            "document = 'null'",
            "document = '[]'",
            "document = json_remove(document, '$.entry')",
            "document = json_set(document, '$.entry', 5)",
            "document = json_remove(document, '$.entry.request')",
            "document = json_set(json_remove(document, '$.entry'), '$.document', 5)",
            "document = json_set(document, '$.lease_until', 5)",
            "document = json_set(document, '$.settled_at', '')",
            f"document = '{'[' * 100_000}'",
        ],
        ids=lambda change: change[:60],
    )
    def test_an_altered_row_is_unreadable(self, in_sqlite: Stored, tmp_path: Path, change: str) -> None:
        alter_row(tmp_path, change)
        check_unreadable(in_sqlite.store)

    @pytest.mark.parametrize("column", ["route", "key"])
    def test_a_row_with_an_altered_key_is_read_under_another_name(
        self, in_sqlite: Stored, tmp_path: Path, column: str
    ) -> None:
        alter_row(tmp_path, f"{column} = CAST(x'1b5b32ff' AS TEXT)")
        assert in_sqlite.store.get(KEY) is None
        (found,) = in_sqlite.store.select(Selection(), 9)
        assert getattr(found.key, column) == "\x1b[2\ufffd"
        assert not in_sqlite.store.delete(found), "no record has this name"
        alter_row(tmp_path, "document = ''")
        skipped: list[str] = []
        assert list(in_sqlite.store.select(Selection(), 9, lambda exc: skipped.append(str(exc)))) == []
        assert " [2\ufffd " in skipped[0]
        assert skipped[0].isprintable()


def alter_row(folder: Path, change: str) -> None:
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as connection, connection:
        connection.execute(f"UPDATE records SET {change}")  # noqa: S608 - the test's own text


class TestFile:
    def test_a_newer_file_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "j"
        SqliteStore(path).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 2")
            with pytest.raises(NewerJournal, match=r"has version 2, .* up to 1; upgrade this instance"):
                SqliteStore(path)
            assert connection.execute("PRAGMA user_version").fetchone() == (2,)
