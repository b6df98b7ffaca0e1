"""Tries the journal for real: writes a record, reads it, and removes it again. Nothing of it is left.

Where there is no journal yet none is made: a file is tried in a folder of its own beside it, and a table by a write
that the service lets in and then finds no table for.
"""

import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.clock import utc_now
from shared.errors import JournalUnavailable
from shared.journal.records import Entry, JournalKey, Record, State, Step, Store
from shared.journal.sqlite import SqliteStore
from shared.journal.tables.protocol import Drop, Page, Put, Query, Stored, Table
from shared.settings import SQLITE_PREFIX, Settings

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

ROUTE: Final = "$doctor"
"""The probe's partition; no route can have this name."""

PROBED: Final = "a record was written, read and removed"
NO_TABLE_YET: Final = "it lets us in; the table is made with the first event"


def probe_journal(settings: Settings, make_identity: "Callable[[], TokenCredential]") -> str:
    """What was done, in words.

    :raises JournalUnavailable: it cannot be used.
    """
    connection = settings.journal_connection
    if connection.startswith(SQLITE_PREFIX):
        return _probe_file(Path(connection.removeprefix(SQLITE_PREFIX)))
    from shared.journal.tables.client import open_table  # noqa: PLC0415 - slow, and only for those who use it

    return probe_table(open_table(connection, make_identity, table_name=_table_name(), connections=1))


def probe_table(table: Table) -> str:
    """The same for a table, which is closed at the end.

    :raises JournalUnavailable: it cannot be used.
    """
    from shared.journal.tables.store import TablesStore  # noqa: PLC0415 - the same

    with closing(TablesStore(_TableAsItIs(table))) as store:
        try:
            return _probe(store)
        except _TableMissing:
            return NO_TABLE_YET


def _probe_file(path: Path) -> str:
    if path.exists():
        with closing(SqliteStore(path)) as store:
            return _probe(store)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".nextstage-doctor-", dir=path.parent) as folder,
            closing(SqliteStore(Path(folder) / path.name)) as store,
        ):
            _probe(store)
    except OSError as exc:
        raise JournalUnavailable(
            f"there is no journal {path}, and none can be made: {exc.strerror}; make the folder, and let the app write "
            "to it"
        ) from exc
    return f"there is none yet, and {path.parent} takes one"


def _probe(store: Store) -> str:
    written = store.insert(_record())
    if written is None:
        raise JournalUnavailable("the probe's key is taken, which cannot be; try again")
    try:
        found = store.get(written.key)
    finally:
        is_removed = store.delete(written)
    if found is None or found.entry != written.entry:
        raise JournalUnavailable("the journal does not give back what was written; is it somebody else's table?")
    if not is_removed:
        raise JournalUnavailable(
            f"the probe's record is left behind under the route {ROUTE}; 'manage.py journal' shows it"
        )
    return PROBED


def _record() -> Record:
    """A record that the nightly purge would take away, should we die before we can."""
    now = utc_now()
    return Record(
        key=JournalKey(ROUTE, uuid.uuid4().hex * 2),
        state=State.SUPPRESSED,
        entry=Entry(str(uuid.uuid4()), "doctor", "", "{}"),
        claimed_at=now,
        lease_until=now,
        settled_at=now,
        reason="a probe of manage.py doctor",
        history=(Step(now, State.SUPPRESSED, "a probe of manage.py doctor"),),
    )


def _table_name() -> str:
    from shared.journal.tables.store import TABLE_NAME  # noqa: PLC0415 - the same

    return TABLE_NAME


class _TableMissing(Exception):
    """A first record would make the table now."""


class _TableAsItIs:
    """A table that is not made where it is missing. See ``shared.journal.tables.protocol.Table``."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @property
    def endpoint(self) -> str:
        return self._table.endpoint

    def write(self, operations: Sequence[Put | Drop], seconds: float) -> str:
        return self._table.write(operations, seconds)

    def read(self, partition_key: str, row_key: str, seconds: float) -> Stored:
        return self._table.read(partition_key, row_key, seconds)

    def page(self, query: Query, page: object, seconds: float) -> Page:
        return self._table.page(query, page, seconds)

    def create(self, seconds: float) -> None:  # noqa: ARG002 - see the class
        raise _TableMissing

    def close(self) -> None:
        self._table.close()
