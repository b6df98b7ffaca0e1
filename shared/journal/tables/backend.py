"""Azure Tables as a journal backend. The Azure libraries are slow to import, and are imported only to open a store."""

from contextlib import closing
from typing import TYPE_CHECKING, Final

from shared.clock import Clock, utc_now
from shared.journal.backend import Backend, MakeIdentity
from shared.journal.probe import Probe
from shared.journal.tables.connection import connection_problem, is_endpoint

if TYPE_CHECKING:
    from shared.journal.tables.store import TablesStore


class TablesBackend(Backend):
    """Azure Tables as a journal backend. The connection is the URL of a table endpoint, or a connection string."""

    def problem(self, connection: str) -> str | None:
        problem = connection_problem(connection)
        return None if problem is None else f"cannot be used: {problem}"

    def place(self, connection: str) -> str:
        return connection if is_endpoint(connection) else "in Azure Tables"

    def open(
        self, connection: str, make_identity: MakeIdentity, connections: int, clock: Clock = utc_now
    ) -> "TablesStore":
        """See the base class. Sends nothing yet."""
        from shared.journal.tables.store import TablesStore  # noqa: PLC0415 - slow to import

        return TablesStore(connection, make_identity, connections=connections, clock=clock)

    def probe(self, connection: str, make_identity: MakeIdentity) -> Probe:
        with closing(self.open(connection, make_identity, 1)) as store:
            return store.probe()


BACKEND: Final = TablesBackend()
