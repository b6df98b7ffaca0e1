"""Azure Table storage for tests: one Azurite per session, and a new table for each test.

tests/conftest.py imports these fixtures.
"""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import TokenCredential

from devstack.azurite import Azurite, installation_problem
from shared.journal.records import Store
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.store import TablesStore
from tests.support.journal.memory_store import MemoryStore
from tests.support.prerequisites import need

OpenTables = Callable[..., TablesStore]


def no_identity() -> TokenCredential:
    raise AssertionError("the store asked for an identity although the connection has an account key")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    need(installation_problem())
    with Azurite(tmp_path_factory.mktemp("azurite"), in_memory=True) as started:
        yield started


@pytest.fixture(scope="session")
def queue_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Another Azurite, which has queues too, and starts more slowly."""
    need(installation_problem())
    with Azurite(tmp_path_factory.mktemp("queues"), in_memory=True, queues=True) as started:
        yield started


@pytest.fixture
def open_tables(azurite: Azurite) -> Iterator[OpenTables]:
    """A function that opens stores on a new table. They are closed after the test."""
    opened: list[TablesStore] = []
    table_name = "t" + uuid.uuid4().hex

    def open_store(**options: Any) -> TablesStore:
        options = {"table_name": table_name, "connections": 16, **options}
        store = TablesStore(azurite.connection_string, no_identity, **options)
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def tables_store(open_tables: OpenTables) -> TablesStore:
    return open_tables()


@pytest.fixture(params=["sqlite", "tables", "memory"])
def each_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each backend, and the one of the model check."""
    match request.param:
        case "tables":
            yield request.getfixturevalue("tables_store")
        case "memory":
            yield MemoryStore()
        case _:
            store = SqliteStore(tmp_path / "journal.sqlite3")
            yield store
            store.close()
