"""The host's administration requests: the host's status, and manual calls of functions that have no URL.

Source: the Azure Functions host's controllers for hosts and functions.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from devstack.host.bindings import json_datum, string_datum
from devstack.host.errors import InvocationFailed
from devstack.host.index import HTTP_TRIGGER, QUEUE_TRIGGER, TIMER_TRIGGER, IndexedFunction
from devstack.host.worker import Worker

_log = logging.getLogger("devstack.host")


def status(started: float) -> Response:
    """Answer `GET /admin/host/status`, with `processUptime` in milliseconds.

    :param started: the value of `time.monotonic()` when the host started.
    """
    uptime_ms = round((time.monotonic() - started) * 1000)
    body = {"id": "devstack", "state": "Running", "version": "devstack.host", "processUptime": uptime_ms}
    return Response(json.dumps(body), mimetype="application/json")


def invoke(request: Request, name: str, functions: Mapping[str, IndexedFunction], worker: Worker) -> Response:
    """Answer `POST /admin/functions/NAME` with the body `{"input": "…"}`.

    The answer is an immediate 202, even if the function fails later. It is 400 if the body is invalid, which is checked
    first, or if the function has an HTTP trigger and thus a URL. It is 404 if no function has this name. Like the real
    host, ignore the case of the name.
    """
    text = _input(request.get_data())
    if text is None:
        return Response('the body must be {"input": "<string>"}', status=400, mimetype="text/plain")
    function = next((each for each in functions.values() if each.name.casefold() == name.casefold()), None)
    if function is None:
        return Response(status=404)
    if function.trigger_type == HTTP_TRIGGER:
        return Response("this function has an HTTP trigger; call its URL", status=400, mimetype="text/plain")
    try:
        datum = _datum(function, text)
    except ValueError as exc:
        # The real host counts this as a failed invocation and does not report it to the caller.
        _log.error("'%s' was not executed: its input is not JSON (%s)", function.name, exc)
        return Response(status=202)
    invocation = worker.submit(function, datum)
    threading.Thread(target=_watch, args=(invocation.result,), daemon=True).start()
    return Response(status=202)


def _watch(result: Callable[[], object]) -> None:
    """Wait for the result, which enforces `functionTimeout`. A failure is already in the log."""
    try:
        result()
    except InvocationFailed:
        return


def _input(body: bytes) -> str | None:
    """Return the `input` of the request (empty if missing), or None if the body is invalid."""
    try:
        content = json.loads(body)
    except ValueError:
        return None
    text = content.get("input", "") if isinstance(content, dict) else None
    return text if isinstance(text, str) else None


def _datum(function: IndexedFunction, text: str) -> Any:
    """Convert the input to what the trigger passes on. A timer ignores the input and passes its own status.

    :raises ValueError: the input must be JSON, but is not.
    """
    if function.trigger_type == QUEUE_TRIGGER:
        return string_datum(text)
    if function.trigger_type == TIMER_TRIGGER:
        return json_datum({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False})
    return json_datum(json.loads(text))
