"""The emulator's own addresses, below ``/_emulator``: the books, planned faults, and the end of runs.

Those for agentless tasks are in tasks/control.py, and the managed identity's is in identity.py.

They take no credential (the server listens on the loopback address alone), they are not written into the books, and
no fault applies to them. Errors have the same shape as the service's.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from devstack.ado.call import Call, json_answer, json_body
from devstack.ado.errors import ApiError, invalid_argument, run_not_found
from devstack.ado.faults import FaultError, parse_faults

if TYPE_CHECKING:
    from werkzeug.wrappers import Response


def get_books(call: Call) -> Response:
    return json_answer(call.books.document())


def get_faults(call: Call) -> Response:
    """``{"faults": […]}``, each with ``times`` as far as they are still to come."""
    return json_answer({"faults": [asdict(fault) | {"times": left} for fault, left in call.state.faults.pending]})


def plan_faults(call: Call) -> Response:
    """Takes all of a JSON list of faults, or none: ``{"planned": …}`` is how many."""
    try:
        faults = parse_faults(json_body(call.request))
    except FaultError as exc:
        raise invalid_argument(str(exc)) from exc
    call.state.faults.add(*faults)
    return json_answer({"planned": len(faults)}, 201)


def clear_faults(call: Call) -> Response:
    return json_answer({"removed": call.state.faults.clear()})


def finish_run(call: Call, run_id: int) -> Response:
    """``{"result": "succeeded"}``, "failed" or "canceled"; a run that has ended with another result stays so: 409."""
    result = call.body("run_end")["result"]
    run = call.books.finish(run_id, result)
    if run is None:
        raise run_not_found(run_id)
    if run.result != result:
        message = f"Run {run_id} has ended already: {run.result}."
        raise ApiError(409, "Devstack", "RunEndedException", message)
    return json_answer(run.document())
