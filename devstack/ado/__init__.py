"""An Azure DevOps emulator: the parts of the Pipelines and Build APIs that nextstage uses, with planned faults.

    emulator = Emulator(load_declaration())
    with serve(emulator) as served:
        emulator.plan(Fault(accept=True, drop=True))    # the next run is queued, its answer is lost
        ...                                             # requests to served.organization_url
    emulator.books.runs, emulator.books.requests        # what really happened

The same over HTTP: ``python -m devstack.ado``, ``POST /_emulator/faults``, ``GET /_emulator/books``.
"""

from devstack.ado.books import Books, RequestRecord, RunRecord, Variable
from devstack.ado.declaration import Declaration, DeclarationError, load_declaration
from devstack.ado.emulator import Emulator
from devstack.ado.faults import Fault, FaultError, Match
from devstack.ado.server import Served, serve

__all__ = [
    "Books",
    "Declaration",
    "DeclarationError",
    "Emulator",
    "Fault",
    "FaultError",
    "Match",
    "RequestRecord",
    "RunRecord",
    "Served",
    "Variable",
    "load_declaration",
    "serve",
]
