"""Row 11: the number of storage transactions and of calls to Azure DevOps per event."""

from contextlib import closing
from pathlib import Path
from typing import Any, Final, NoReturn

from azure.core.pipeline.transport import RequestsTransport

from bench.comparison import Comparison, Target
from bench.sizes import Sizes
from bench.workload import ROUTES, Deliveries, compose_app
from devstack.ado import Emulator, load_declaration, serve
from devstack.azurite import Azurite
from shared.journal.tables.store import TablesStore

LEAST_TRANSACTIONS: Final = 2  # claim, because Event Grid may deliver twice at the same time; then record the run
LEAST_CALLS: Final = 1


def transactions(sizes: Sizes, folder: Path) -> list[Comparison]:
    """Count the requests sent to Azurite, and the calls to Azure DevOps that the emulator received."""
    plain = _count(sizes, folder, ROUTES)
    tagged = _count(sizes, folder, ROUTES.replace("tags: false", "tags: true"))
    least, exactly = "the least possible", Target("=", 1)
    stored = [(float(each), float(LEAST_TRANSACTIONS)) for each, _ in plain]
    called = [(float(each), float(LEAST_CALLS)) for _, each in plain]
    with_tags = [(float(each), float(LEAST_CALLS + 1)) for _, each in tagged]
    return [
        Comparison("11", "storage transactions per event", least, "", stored, exactly),
        Comparison("11b", "HTTP calls of Azure DevOps per event", least, "", called, exactly),
        Comparison("11c", "HTTP calls of Azure DevOps per event, with run tags", "one more", "", with_tags, exactly),
    ]


class CountingTransport(RequestsTransport):  # type: ignore[misc]  # azure-core exports it lazily, unseen by mypy
    """A transport that counts requests to storage. Each is one transaction, even if it is a batch.

    :ivar sent: number of requests so far.
    """

    sent = 0

    def send(self, request: Any, **options: Any) -> Any:
        """See ``HttpTransport.send``."""
        self.sent += 1
        return super().send(request, **options)


def _count(sizes: Sizes, folder: Path, routes: str) -> list[tuple[int, int]]:
    """Return for each event the number of requests to storage and to Azure DevOps."""
    transport, emulator = CountingTransport(), Emulator(load_declaration())
    with Azurite(folder / "azurite", in_memory=True) as azurite, serve(emulator) as served:
        connection = azurite.connection_string
        with closing(TablesStore(connection, _no_identity, transport=transport)) as store:
            deliver = Deliveries(compose_app(folder, served.organization_url, connection, store=store, routes=routes))
            deliver()  # creates the table
            counts = []
            for _ in range(sizes.repeats):
                sent, called = transport.sent, len(emulator.books.requests)
                deliver()
                counts.append((transport.sent - sent, len(emulator.books.requests) - called))
    return counts


def _no_identity() -> NoReturn:
    raise AssertionError("the store asked for an identity although the connection has an account key")
