"""What is stored of a token is not the token: the raw bytes of both backends, read past our own code."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableClient

from devstack.azurite import Azurite
from shared.clock import utc_now
from shared.journal.records import Store
from shared.journal.sqlite import SqliteStore
from tests.support.canaries import leaks
from tests.support.journal.stores import OpenTables
from tests.support.waits import EVENT, TOKEN, Scene, a_request, the_end


def file_bytes(path: Path) -> bytes:
    """The database and whatever SQLite keeps beside it."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))


def entity_bytes(entities: Iterator[dict[str, Any]]) -> bytes:
    """Every property as it is, and what is compressed also as it was."""
    parts: list[bytes] = []
    for entity in entities:
        for value in entity.values():
            if isinstance(value, bytes):
                parts += [value, zlib.decompress(value)]
            else:
                parts.append(str(value).encode())
    return b"\n".join(parts)


def play(store: Store) -> Iterator[None]:
    """Stops while a task waits, while it is in doubt whether it was told, and when it was told."""
    scene = Scene(store, utc_now)
    scene.waits.register(a_request(), scene.in_seconds())
    yield
    scene.waits.run_ended(the_end(run_id="run-2"), EVENT, scene.in_seconds())
    scene.waits.register(a_request(run_id="run-2"), scene.in_seconds())
    yield
    scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
    yield


def test_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    store = SqliteStore(path)
    for _ in play(store):
        raw = file_bytes(path)
        assert b"sealed_token" in raw, "the bytes that are looked at hold the wait"
        assert TOKEN.encode() not in raw
        assert leaks(raw.decode(errors="replace")) == []
    store.close()


def test_tables(open_tables: OpenTables, azurite: Azurite) -> None:
    name = "tokensatrest"
    store = open_tables(table_name=name)
    with TableClient.from_connection_string(azurite.connection_string, name) as table:
        for _ in play(store):
            raw = entity_bytes(table.list_entities())
            assert b"sealed_token" in raw, "the bytes that are looked at hold the wait"
            assert TOKEN.encode() not in raw
            assert leaks(raw.decode(errors="replace")) == []


@pytest.mark.parametrize("sealed", [True, False])
def test_it_would_be_found(tmp_path: Path, *, sealed: bool) -> None:
    """The same look at a store that a token was written into."""
    store = SqliteStore(tmp_path / "journal.sqlite3")
    scene = Scene(store, utc_now)
    if not sealed:
        scene.waits._seal = Open()  # type: ignore[assignment]
    scene.waits.register(a_request(), scene.in_seconds())
    assert (TOKEN.encode() in file_bytes(tmp_path / "journal.sqlite3")) is not sealed
    store.close()


class Open:
    """A seal that seals nothing."""

    def close(self, token: Any) -> str:
        return str(token.value)
