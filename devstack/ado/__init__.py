"""An Azure DevOps emulator: the parts of the Pipelines, Build and Task APIs that nextstage uses, with planned faults.

    emulator = Emulator(load_declaration())
    with serve(emulator) as served:
        emulator.behavior = Behavior(idempotency="honored", list_lag_seconds=40)    # for runs from now on
        emulator.plan(Fault(accept=True, drop=True))    # the next run is queued, but its answer is lost
        emulator.queue_run(13, reason="schedule", templateParameters={…})           # a run of somebody else
        ...                                             # requests to served.organization_url
        emulator.start_wait_task(served.organization_url, AzureFunction(function=…, key=…, body={"run_id": …}))
    emulator.books.runs, emulator.books.tasks, emulator.books.requests        # what really happened

To use it over HTTP, run ``python -m devstack.ado`` and call ``POST /_emulator/faults``, ``POST /_emulator/tasks`` and
``GET /_emulator/books``. The emulator also serves the status of Azure ML jobs, as Azure Resource Manager does, and a
managed identity. One process thus emulates all cloud services that the app needs.
"""

from devstack.ado.declaration import Declaration, load_declaration
from devstack.ado.emulator import Emulator
from devstack.ado.faults import EVENTS_PATH, Fault, Match
from devstack.ado.runs.behavior import Behavior
from devstack.ado.runs.records import RunRecord
from devstack.ado.server import Served, serve
from devstack.ado.tasks.inputs import AmlJobWait, AzureFunction, InvokeRestApi
from devstack.ado.tasks.records import TaskRecord
from devstack.ado.tasks.start import StartedTask

__all__ = [
    "EVENTS_PATH",
    "AmlJobWait",
    "AzureFunction",
    "Behavior",
    "Declaration",
    "Emulator",
    "Fault",
    "InvokeRestApi",
    "Match",
    "RunRecord",
    "Served",
    "StartedTask",
    "TaskRecord",
    "load_declaration",
    "serve",
]
