"""The triggers of the function app. Binds and composes, decides nothing.

What costs time to import is imported when it is first needed, so that the host is told quickly what functions
there are.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.functions as func

from shared.lazy import Lazy

if TYPE_CHECKING:
    from shared.composition import App, Configuration


def _load_configuration() -> "Configuration":
    from handlers import NAMES
    from shared.composition import load_configuration

    return load_configuration(os.environ, Path(__file__).parent, NAMES)


def _compose() -> "App":
    from handlers import DISPATCH
    from shared.composition import compose
    from shared.telemetry import quieten_libraries

    quieten_libraries()
    return compose(_configuration(), DISPATCH)


_configuration = Lazy(_load_configuration)
_app = Lazy(_compose)


class _App(func.FunctionApp):
    """Checks the configuration when the host asks which functions there are, which it does at its start.

    So a wrong setting or route stops the app there, with everything that is wrong, and not at the first event;
    and to import this module needs no environment.
    """

    def get_functions(self) -> Any:
        _configuration()
        return super().get_functions()


app = _App()


# Annotated str, so that the worker hands over the raw JSON: func.EventGridEvent breaks on CloudEvents with old
# workers, on "specVersion" spelt so, and on time offsets.
@app.function_name("aml_event")
@app.event_grid_trigger(arg_name="event")
def aml_event(event: str) -> None:
    """One event of an Azure ML workspace; returns where it is done with, raises where it must come again."""
    _app().relay.deliver(event)


# A function key in the query or a header, as the tasks of Azure Pipelines send it.
@app.function_name("register_wait")
@app.route(route="waits", trigger_arg_name="request", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def register_wait(request: func.HttpRequest) -> func.HttpResponse:
    """An agentless task waits for a run; answered at once, and told when the run has ended."""
    bridge = _app().bridge
    if bridge is None:
        error = {"error": "waits are off in this nextstage; set WAIT_TOKEN_KEYS, or WAIT_TOKEN_KEYS_SECRET_NAME"}
        return func.HttpResponse(json.dumps(error), status_code=501, mimetype="application/json")
    answer = bridge.endpoint.answer(request.headers, request.get_body())
    return func.HttpResponse(json.dumps(answer.document), status_code=answer.status, mimetype="application/json")


@app.function_name("sweep_waits")
@app.timer_trigger(arg_name="timer", schedule="0 */10 * * * *", run_on_startup=False)
def sweep_waits(timer: func.TimerRequest) -> None:
    """Look after tasks whose run's event has not come."""
    if (bridge := _app().bridge) is not None:
        bridge.sweep.run()


# Every night at a quiet hour. What a run does not get done, the next one does.
@app.function_name("purge_journal")
@app.timer_trigger(arg_name="timer", schedule="0 30 3 * * *", run_on_startup=False)
def purge_journal(timer: func.TimerRequest) -> None:
    """Remove what has been done for longer than JOURNAL_RETENTION_DAYS; what is parked stays."""
    from shared.journal.purge import purge

    purge(_app().journal, _app().retention)
