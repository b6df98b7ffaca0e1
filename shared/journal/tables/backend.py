"""Azure Tables as a kind of journal. The Azure libraries are slow to import, so only what sends imports them."""

from contextlib import closing
from typing import Final

from shared.journal.backend import Backend, MakeIdentity
from shared.journal.probe import probe_store
from shared.journal.records import Store
from shared.journal.tables.connection import connection_problem, is_endpoint
from shared.journal.tables.patience import Call
from shared.journal.tables.protocol import Table
from shared.journal.tables.store import TABLE_NAME, TablesStore

NO_TABLE_YET: Final = "it lets us in; the table is made with the first event"


class TablesBackend(Backend):
    """See ``shared.journal.backend.Backend``. The connection is an endpoint's URL or a connection string."""

    def problem(self, connection: str) -> str | None:
        """See ``Backend.problem``."""
        problem = connection_problem(connection)
        return None if problem is None else f"cannot be used: {problem}"

    def place(self, connection: str) -> str:
        """See ``Backend.place``."""
        return connection if is_endpoint(connection) else "in Azure Tables"

    def open(self, connection: str, make_identity: MakeIdentity, connections: int) -> Store:
        """See ``Backend.open``; sends nothing yet."""
        return TablesStore.open(connection, make_identity, connections=connections)

    def probe(self, connection: str, make_identity: MakeIdentity) -> str:
        """See ``Backend.probe``."""
        from shared.journal.tables.client import open_table  # noqa: PLC0415 - slow

        return probe_table(open_table(connection, make_identity, table_name=TABLE_NAME, connections=1))


BACKEND: Final = TablesBackend()


def probe_table(table: Table) -> str:
    """Try a table, which is closed at the end; a missing one is not made: the service lets a write in, or does not.

    :raises JournalUnavailable: it cannot be used.
    """
    with closing(_StoreAsItIs(table)) as store:
        try:
            return probe_store(store)
        except _TableMissing:
            return NO_TABLE_YET


class _TableMissing(Exception):
    """A first record would make the table now."""


class _StoreAsItIs(TablesStore):
    """A store whose table is not made if it is missing."""

    def _create_table(self, call: Call) -> None:  # noqa: ARG002 - see the class
        raise _TableMissing
