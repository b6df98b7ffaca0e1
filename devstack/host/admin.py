"""The host's administration requests: is it up, and a call by hand of a function that has no URL of its own.

Source: the Azure Functions host's controllers for hosts and functions.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from devstack.host.bindings import json_datum
from devstack.host.errors import InvocationFailed
from devstack.host.index import HTTP_TRIGGER, TIMER_TRIGGER, IndexedFunction
from devstack.host.worker import Worker

_log = logging.getLogger("devstack.host")


def status(started: float) -> Response:
    """`GET /admin/host/status`; `started` is of `time.monotonic()`, `processUptime` in milliseconds."""
    uptime_ms = round((time.monotonic() - started) * 1000)
    body = {"id": "devstack", "state": "Running", "version": "devstack.host", "processUptime": uptime_ms}
    return Response(json.dumps(body), mimetype="application/json")


def invoke(request: Request, name: str, functions: Mapping[str, IndexedFunction], worker: Worker) -> Response:
    """`POST /admin/functions/NAME` with `{"input": "text"}`: 202 at once, however the function fares.

    400 where the body is not such an object (looked at first) or the function is an HTTP one: those have a
    URL. 404 where there is none of that name, whose case the host ignores here.
    """
    text = _input(request.get_data())
    if text is None:
        return Response('the body must be {"input": "text"}', status=400, mimetype="text/plain")
    function = next((each for each in functions.values() if each.name.casefold() == name.casefold()), None)
    if function is None:
        return Response(status=404)
    if function.trigger_type == HTTP_TRIGGER:
        return Response("an HTTP function is called by its URL", status=400, mimetype="text/plain")
    try:
        datum = _datum(function, text)
    except ValueError as exc:
        # To the real host this is a failed invocation, which its caller does not hear of.
        _log.error("'%s' was not executed: its input is not JSON (%s)", function.name, exc)
        return Response(status=202)
    invocation = worker.submit(function, datum)
    threading.Thread(target=_watch, args=(invocation.result,), daemon=True).start()
    return Response(status=202)


def _watch(result: Callable[[], object]) -> None:
    """Somebody must wait for the outcome, so that `functionTimeout` holds; it is in the log already."""
    try:
        result()
    except InvocationFailed:
        return


def _input(body: bytes) -> str | None:
    """The `input` of the request (a missing one is empty), or None where the body is no such object."""
    try:
        content = json.loads(body)
    except ValueError:
        return None
    text = content.get("input", "") if isinstance(content, dict) else None
    return text if isinstance(text, str) else None


def _datum(function: IndexedFunction, text: str) -> Any:
    """What the trigger makes of the input; a timer gets its own status, whatever the input is.

    :raises ValueError: the input should be JSON and is not.
    """
    if function.trigger_type == TIMER_TRIGGER:
        return json_datum({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False})
    return json_datum(json.loads(text))
