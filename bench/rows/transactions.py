"""Row 11: how many storage transactions and calls of Azure DevOps an event takes. Counted, not timed."""

from contextlib import closing
from pathlib import Path
from typing import Any, Final, NoReturn

from azure.core.pipeline.transport import RequestsTransport

from bench.comparison import Comparison, Target
from bench.sizes import Sizes
from bench.workload import ROUTES, Deliveries, composed
from devstack.ado import Emulator, load_declaration, serve
from devstack.azurite import Azurite
from shared.journal.tables.store import TablesStore

LEAST_TRANSACTIONS: Final = 2  # one to claim, since Event Grid may deliver twice at once; one to note the run
LEAST_CALLS: Final = 1


def transactions(sizes: Sizes, folder: Path) -> list[Comparison]:
    """The requests to Azurite are counted as they leave, the calls of Azure DevOps in the emulator's books."""
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
    """:ivar sent: how many requests have gone to storage; each is one transaction, a batch too."""

    sent = 0

    def send(self, request: Any, **options: Any) -> Any:
        """See ``HttpTransport.send``."""
        self.sent += 1
        return super().send(request, **options)


def _count(sizes: Sizes, folder: Path, routes: str) -> list[tuple[int, int]]:
    """For each event: requests to storage, requests to Azure DevOps."""
    transport, emulator = CountingTransport(), Emulator(load_declaration())
    with Azurite(folder / "azurite", in_memory=True) as azurite, serve(emulator) as served:
        connection = azurite.connection_string
        with closing(TablesStore(connection, _no_identity, transport=transport)) as store:
            deliver = Deliveries(composed(folder, served.organization_url, connection, store=store, routes=routes))
            deliver()  # makes the table
            counts = []
            for _ in range(sizes.repeats):
                sent, called = transport.sent, len(emulator.books.requests)
                deliver()
                counts.append((transport.sent - sent, len(emulator.books.requests) - called))
    return counts


def _no_identity() -> NoReturn:
    raise AssertionError("an account key is there, so nobody should ask for an identity")
