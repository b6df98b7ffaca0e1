"""The process that forks workers, and the journals that the workers write."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from shared.journal.records import Selection, Store
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.store import TablesStore
from shared.resume.azure_queue import API_VERSION
from tests.crash.stage import QUEUE, EmptyJournal, Workers
from tests.support.journal.stores import no_identity


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    started = Workers()
    yield started
    started.close()


def empty_queue(connection: str) -> None:
    with (
        QueueClient.from_connection_string(connection, QUEUE, api_version=API_VERSION) as queue,
        suppress(ResourceNotFoundError),
    ):
        queue.clear_messages()


@pytest.fixture(params=["sqlite", "tables"])
def empty_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmptyJournal]:
    """Return a function that returns an empty journal, for each backend in turn. "queues": with an empty queue."""
    if request.param != "sqlite":
        has_queue = request.param == "queues"
        connection = request.getfixturevalue("queue_storage" if has_queue else "azurite").connection_string
        table = TablesStore(connection, no_identity)

        def emptied_table() -> tuple[str, Store]:
            for record in list(table.select(Selection(), 1000)):
                assert table.delete(record)
            if has_queue:
                empty_queue(connection)
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
