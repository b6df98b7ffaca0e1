"""Azure Tables as a kind of journal. The Azure libraries are slow to import, so only what sends imports them."""

from contextlib import closing
from typing import TYPE_CHECKING, Final

from shared.journal.backend import Backend, MakeIdentity
from shared.journal.tables.connection import connection_problem, is_endpoint

if TYPE_CHECKING:
    from shared.journal.tables.store import TablesStore


class TablesBackend(Backend):
    """Azure Tables as a kind of journal. The connection is an endpoint's URL or a connection string."""

    def problem(self, connection: str) -> str | None:
        problem = connection_problem(connection)
        return None if problem is None else f"cannot be used: {problem}"

    def place(self, connection: str) -> str:
        return connection if is_endpoint(connection) else "in Azure Tables"

    def open(self, connection: str, make_identity: MakeIdentity, connections: int) -> "TablesStore":
        """See the base class; sends nothing yet."""
        from shared.journal.tables.store import TablesStore  # noqa: PLC0415 - slow

        return TablesStore(connection, make_identity, connections=connections)

    def probe(self, connection: str, make_identity: MakeIdentity) -> str:
        with closing(self.open(connection, make_identity, 1)) as store:
            return store.probe()


BACKEND: Final = TablesBackend()
