"""Tests that stored tokens are encrypted: the raw bytes of both backends, read without the app's code."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from azure.data.tables import TableClient

from devstack.azurite import Azurite
from shared.clock import utc_now
from shared.journal.records import Store
from shared.journal.sqlite import SqliteStore
from tests.support.canaries import leaks
from tests.support.journal.stores import OpenTables
from tests.support.waits import EVENT, Scene, a_request, the_end


def file_bytes(path: Path) -> bytes:
    """Return the bytes of the database and of SQLite's other files."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))


def entity_bytes(entities: Iterator[dict[str, Any]]) -> bytes:
    """Return the bytes of every property. Compressed ones are included in both forms."""
    values = [value for entity in entities for value in entity.values()]
    unpacked = [zlib.decompress(value) for value in values if isinstance(value, bytes)]
    return b"\n".join([*unpacked, *(value if isinstance(value, bytes) else str(value).encode() for value in values)])


def play(store: Store, read: Callable[[], bytes]) -> None:
    """Check the bytes while a task waits, while its completion is uncertain, and after it is completed."""
    scene = Scene(store, utc_now)
    scene.waits.register(a_request(), scene.in_seconds())
    check(read())
    scene.waits.run_ended(the_end(run_id="run-2"), EVENT, scene.in_seconds())
    scene.waits.register(a_request(run_id="run-2"), scene.in_seconds())
    check(read())
    scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
    check(read())


def check(raw: bytes) -> None:
    assert b"sealed_token" in raw, "the checked bytes must contain the wait"
    assert leaks(raw.decode(errors="replace")) == []


def test_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    store = SqliteStore(path)
    play(store, lambda: file_bytes(path))
    store.close()


def test_tables(open_tables: OpenTables, azurite: Azurite) -> None:
    name = "tokensatrest"
    with TableClient.from_connection_string(azurite.connection_string, name) as table:
        play(open_tables(table_name=name), lambda: entity_bytes(table.list_entities()))
