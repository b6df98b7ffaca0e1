"""The emulator's control addresses below ``/_emulator``: books, planned faults, behavior, and runs.

The control addresses for agentless tasks are in tasks/control.py, that of the managed identity is in identity.py.

Requests need no credential, because the server listens only on the loopback address. The books do not record them, and
faults do not affect them. Errors have the same shape as those of the service.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from devstack.ado.call import Call, json_answer, json_body
from devstack.ado.errors import ApiError, invalid_argument, run_not_found
from devstack.ado.faults import FaultError, parse_faults
from devstack.ado.runs.behavior import BehaviorError
from devstack.ado.runs.foreign_runs import queue_foreign_run
from devstack.http_server import GO_DOWN_KEY

if TYPE_CHECKING:
    from werkzeug.wrappers import Response


def get_books(call: Call) -> Response:
    return json_answer(call.books.document())


def get_faults(call: Call) -> Response:
    """Return ``{"faults": […]}``, where ``times`` is how many times each fault still applies."""
    return json_answer({"faults": [asdict(fault) | {"times": left} for fault, left in call.state.faults.pending]})


def plan_faults(call: Call) -> Response:
    """Plan a JSON list of faults and return their number as ``{"planned": …}``. If one is invalid, plan none."""
    try:
        faults = parse_faults(json_body(call.request))
    except FaultError as exc:
        raise invalid_argument(str(exc)) from exc
    call.state.faults.add(*faults)
    return json_answer({"planned": len(faults)}, 201)


def clear_faults(call: Call) -> Response:
    return json_answer({"removed": call.state.faults.clear()})


def get_behavior(call: Call) -> Response:
    return json_answer(asdict(call.state.behavior))


def change_behavior(call: Call) -> Response:
    """Change the switches in a JSON object, and return all switches."""
    try:
        call.state.behavior = call.state.behavior.changed(json_body(call.request))
    except BehaviorError as exc:
        raise invalid_argument(str(exc)) from exc
    return get_behavior(call)


def go_down(call: Call) -> Response:
    """Refuse connections for a while, as if nothing ran here, also those to control addresses: ``{"seconds": 60}``."""
    seconds = call.body("outage")["seconds"]
    call.request.environ[GO_DOWN_KEY](seconds)
    return json_answer({"seconds": seconds})


def restart(call: Call) -> Response:
    """Forget all runs, like a server that was restored, and begin with another run ID: ``{"first_run_id": 1}``."""
    call.books.restart(**call.body("restart"))
    return json_answer({"forgotten": len(call.books.runs)})


def queue_run(call: Call) -> Response:
    """Queue a run as somebody else would: ``{"pipeline": 13, "reason": "schedule", "templateParameters": {…}}``."""
    return json_answer(queue_foreign_run(call.state, call.body("foreign_run")).document(), 201)


def finish_run(call: Call, run_id: int) -> Response:
    """End a run: ``{"result": "succeeded"}``, "failed" or "canceled".

    Answer 409 if the run has already ended with another result, which it keeps.
    """
    result = call.body("run_end")["result"]
    run = call.books.finish(run_id, result)
    if run is None:
        raise run_not_found(run_id)
    if run.result != result:
        message = f"Run {run_id} has already ended with the result {run.result}."
        raise ApiError(409, "Devstack", "RunEndedException", message)
    return json_answer(run.document())
