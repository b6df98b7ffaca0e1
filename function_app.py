"""The triggers of the function app. Contains no logic.

Slow modules are imported at their first use. The host therefore gets the list of functions quickly.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.functions as func

from shared.lazy import Lazy

if TYPE_CHECKING:
    from shared.composition import App, Configuration
    from shared.resume.thread import ResumeThread


def _load_configuration() -> "Configuration":
    from handlers import NAMES
    from shared.composition import load_configuration

    return load_configuration(os.environ, Path(__file__).parent, NAMES)


def _compose() -> "App":
    from handlers import DISPATCH
    from shared.composition import compose
    from shared.telemetry import silence_request_logs

    silence_request_logs()
    return compose(_configuration(), DISPATCH)


def _announce_routes() -> None:
    from shared.composition import announce_routes

    announce_routes(_app, _configuration().routes)


def _start_resuming() -> "ResumeThread":
    from shared.composition import start_resuming

    return start_resuming(_app)


_configuration = Lazy(_load_configuration)
_app = Lazy(_compose)
_announce = Lazy(_announce_routes)
_resuming = Lazy(_start_resuming)
_resume_trigger = Lazy(lambda: _bind_resume(_configuration().settings.resume_queue))


class _App(func.FunctionApp):
    """Checks the configuration when the host asks for the list of functions, which it does at its start.

    A wrong setting or route therefore stops the app at the start, not at the first event, and the error lists
    everything that is wrong. The module itself can be imported without any settings. A thread then writes down in the
    journal which routes the app runs. If the queue of deferred events is in a SQLite file, another one takes them up.

    While waits are off, there is no sweep, so that its timer does not wake the app. The function that takes messages of
    deferred events exists only if their queue is in Azure Queue Storage.
    """

    def get_functions(self) -> Any:
        if _configuration().settings.has_resume_trigger:
            _resume_trigger()
        functions = super().get_functions()
        _announce()
        if _configuration().settings.resume_storage == "sqlite":
            _resuming()
        if _configuration().settings.has_waits:
            return functions
        return [function for function in functions if function.get_function_name() != SWEEP]

    def end_threads(self) -> None:
        """Let the thread take up nothing more. Only the stand-in host calls this, when it has reloaded the app."""
        if _configuration().settings.resume_storage == "sqlite":
            _resuming().end()


app = _App()

SWEEP = "sweep_waits"

ORPHAN_SECONDS = 10.0
"""How long one execution of a timer may spend on orphans."""

ORPHAN_SECONDS_OF_A_DELIVERY = 2.0
"""The same, of a delivery. Only one delivery in ten minutes looks for orphans."""


# With the annotation str, the worker passes the raw JSON. func.EventGridEvent fails on CloudEvents with old workers, on
# the spelling "specVersion", and on time offsets.
@app.function_name("aml_event")
@app.event_grid_trigger(arg_name="event")
def aml_event(event: str) -> None:
    """Handle one event of Event Grid. Return to acknowledge it; raise to have it delivered again."""
    _app().relay.deliver(event)
    _app().queueing.settle_orphans_sometimes(ORPHAN_SECONDS_OF_A_DELIVERY)


def resume(message: func.QueueMessage) -> None:
    """Take up a deferred record. Return to have the message removed, also if the record must come again."""
    resumption = _app().resumption
    if resumption is not None:
        resumption.resume.take_up(message.get_body().decode(), message.dequeue_count or 1)


def _bind_resume(queue_name: str) -> None:
    """Bind the trigger when the settings are known. The host itself has no default for the queue's name."""
    trigger = app.queue_trigger(arg_name="message", queue_name=queue_name, connection="RESUME_STORAGE")
    app.function_name("resume")(trigger(resume))


# The tasks AzureFunction@1 and InvokeRESTAPI@1 send a function key in the query or in a header.
@app.function_name("register_wait")
@app.route(route="waits", trigger_arg_name="request", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def register_wait(request: func.HttpRequest) -> func.HttpResponse:
    """Register an agentless task that waits for a run, and answer at once. The task is completed when the run ends."""
    return _register(request, must_sign_in=False)


# AzureFunction@2 with a service connection sends a Microsoft Entra token and no key.
@app.function_name("register_wait_entra")
@app.route(route="entra/waits", trigger_arg_name="request", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def register_wait_entra(request: func.HttpRequest) -> func.HttpResponse:
    """Do the same for a task that has signed in with Microsoft Entra."""
    return _register(request, must_sign_in=True)


def _register(request: func.HttpRequest, *, must_sign_in: bool) -> func.HttpResponse:
    bridge = _app().bridge
    if bridge is None:
        error = {"error": "waiting for runs is switched off; set WAIT_TOKEN_KEYS or WAIT_TOKEN_KEYS_SECRET_NAME"}
        return func.HttpResponse(json.dumps(error), status_code=501, mimetype="application/json")
    refusal = bridge.sign_in.refusal(request.headers) if must_sign_in else None
    answer = refusal or bridge.endpoint.answer(request.headers, request.get_body())
    return func.HttpResponse(json.dumps(answer.document), status_code=answer.status, mimetype="application/json")


@app.function_name(SWEEP)
@app.timer_trigger(arg_name="timer", schedule="0 */10 * * * *", run_on_startup=False)
def sweep_waits(timer: func.TimerRequest) -> None:
    """Complete the tasks whose run has ended without an event that reported it. Cancel orphans."""
    _app().queueing.recovery.orphans.settle(ORPHAN_SECONDS)
    if (bridge := _app().bridge) is not None:
        bridge.sweep.run()


# At night, when there are few events. Each execution continues where the previous one stopped.
@app.function_name("purge_journal")
@app.timer_trigger(arg_name="timer", schedule="0 30 3 * * *", run_on_startup=False)
def purge_journal(timer: func.TimerRequest) -> None:
    """Remove final records that are older than JOURNAL_RETENTION_DAYS. Parked records stay. Cancel orphans.

    This also removes the note of which routes the app runs, if it is that old. Therefore, write the note again.
    """
    from shared.journal.purge import purge
    from shared.routing.running import announce

    _app().queueing.recovery.orphans.settle(ORPHAN_SECONDS)
    purge(_app().journal, _app().retention)
    announce(_app().journal, _configuration().routes)
