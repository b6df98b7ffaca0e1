"""The process that forks workers, and the journals that the workers write."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.journal.records import Selection, Store
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.store import TablesStore
from tests.crash.stage import EmptyJournal, Workers
from tests.support.journal.stores import no_identity


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    started = Workers()
    yield started
    started.close()


@pytest.fixture(params=["sqlite", "tables"])
def empty_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmptyJournal]:
    """Return a function that returns an empty journal, for each backend in turn."""
    if request.param == "tables":
        connection = request.getfixturevalue("azurite").connection_string
        table = TablesStore(connection, no_identity)

        def emptied_table() -> tuple[str, Store]:
            for record in list(table.select(Selection(), 1000)):
                assert table.delete(record)
            return connection, table

        yield emptied_table
        table.close()
        return
    opened: list[SqliteStore] = []

    def new_file() -> tuple[str, Store]:
        path = tmp_path / f"journal-{len(opened)}.sqlite3"
        opened.append(SqliteStore(path))
        return f"sqlite:{path}", opened[-1]

    yield new_file
    for store in opened:
        store.close()
