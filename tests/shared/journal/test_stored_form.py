"""Stored records of newer versions, and records that another program has changed, in every real store."""

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.errors import NewerJournal, NewerRecord
from shared.journal.records import JournalKey, Record, Store
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.store import TablesStore
from tests.support.journal.records import record, written

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
        client.update_entity({**entity, **fields, "notes0": zlib.compress(json.dumps(notes).encode())})

    return Stored(tables_store, written(tables_store.insert(record(run_id=5))), change)


@pytest.fixture(params=["in_sqlite", "in_tables"])
def stored(request: pytest.FixtureRequest) -> Stored:
    found: Stored = request.getfixturevalue(request.param)
    return found


def test_unknown_fields_are_ignored(stored: Stored) -> None:
    stored.change({"invented_later": 1}, {"also_invented": "x"})
    found = stored.store.get(KEY)
    assert replace(written(found), version=stored.kept.version) == stored.kept


def test_a_newer_record_is_not_read(stored: Stored) -> None:
    """The rest of the record may mean something else."""
    stored.change({"schema": 2, "history": "in another form"}, {})
    expected = r"^the record ab12 of route route was written by a newer .* 2, .* up to 1; upgrade this instance$"
    with pytest.raises(NewerRecord, match=expected):
        stored.store.get(KEY)


class TestFile:
    def test_a_newer_file_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "j"
        SqliteStore(path).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 2")
            with pytest.raises(NewerJournal, match=r"has version 2, .* up to 1; upgrade this instance"):
                SqliteStore(path)
            assert connection.execute("PRAGMA user_version").fetchone() == (2,)
