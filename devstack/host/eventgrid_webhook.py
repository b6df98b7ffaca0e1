"""The Event Grid extension's webhook: `/runtime/webhooks/eventgrid?functionName=NAME`.

Source of the behavior: measurements on the Functions host 4.1037 with version 3.3.0 of the extension, and Microsoft's
Event Grid extension for WebJobs (its `EventGridExtensionConfigProvider` and `HttpRequestProcessor`).

There are two intended differences:

- The extension's JSON parser also accepts comments, single quotes and trailing commas. Here they are answered with 500.
- Version 3.3.0 rewrites dates and large decimals in events. Here they are passed on unchanged, as by version 3.4.3.
"""

import json
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from devstack.host.bindings import json_datum
from devstack.host.errors import InvocationFailed, InvocationTimedOut
from devstack.host.index import IndexedFunction
from devstack.host.worker import Worker

# The host's route for extensions accepts these methods. The extension itself treats only OPTIONS specially.
_METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS")

_PUBLIC_CLOUD_ORIGIN = "eventgrid.azure.net"
_ORIGINS = (
    _PUBLIC_CLOUD_ORIGIN,
    "eventgrid.azure.us",
    "eventgrid.azure.cn",
    "eventgrid.azure.eaglex.ic.gov",
    "eventgrid.azure.microsoft.scloud",
)


def answer(request: Request, functions: Mapping[str, IndexedFunction], worker: Worker) -> Response:
    """Answer a request to the webhook.

    The status is 200 for a handshake, 202 if the function succeeded for all events, 400 for an unknown
    `aeg-event-type`, 404 for an unknown function or method, and 500 if the body is invalid or the function failed for
    any event.

    :param functions: the functions with an Event Grid trigger, by name.
    """
    name = _function_name(request)
    function = functions.get(name)  # exact: the extension keeps its listeners in a case-sensitive dictionary
    if request.method not in _METHODS:
        return Response(status=404)
    if function is None:
        return _text(f"cannot find function: '{name}'", 404)
    if request.method == "OPTIONS":
        return _cloud_events_handshake(request)
    if request.method == "GET":
        return Response(status=500)
    return _by_type(request, function, worker)


def _by_type(request: Request, function: IndexedFunction, worker: Worker) -> Response:
    match request.headers.get("aeg-event-type", "").casefold():
        case "subscriptionvalidation":
            return _validation(request.get_data())
        case "notification":
            return _notification(request.get_data(), function, worker)
        case "unsubscribe":
            return Response(status=202)
    return Response(status=400)


def _function_name(request: Request) -> str:
    """Return the query's `functionName`. Like .NET's NameValueCollection, ignore the case of the key."""
    return next((value for key, value in request.args.items() if key.casefold() == "functionname"), "")


def _cloud_events_handshake(request: Request) -> Response:
    """Answer CloudEvents' abuse protection, which asks whether an origin may send. The answer is never `*`."""
    origin = request.headers.get("WebHook-Request-Origin")
    allowed = origin if origin in _ORIGINS else _PUBLIC_CLOUD_ORIGIN
    return Response(status=200, headers={"WebHook-Allowed-Origin": allowed})


def _validation(body: bytes) -> Response:
    """Return the validation code of a `Microsoft.EventGrid.SubscriptionValidationEvent`.

    In Event Grid's own schema, the body is an array. In CloudEvents, it is one object whose `data` is JSON in a string.
    """
    try:
        events = _parsed(body)
        data = events[0]["data"] if isinstance(events, list) else events["data"]
        if isinstance(events, dict) and isinstance(data, str):
            data = json.loads(data)
        code = data["validationCode"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return Response(status=500)
    return _text(json.dumps({"validationResponse": str(code)}, separators=(",", ":")), 200)


def _notification(body: bytes, function: IndexedFunction, worker: Worker) -> Response:
    """Call the function for all events concurrently, and wait for all calls.

    One failure fails the whole request, and Event Grid then sends all of its events again.
    """
    try:
        content = _parsed(body)
        events = content if isinstance(content, list) else [content]
        data = [json_datum(event) for event in events]
    except (ValueError, RecursionError):
        return Response(status=500)
    if not all(isinstance(event, dict) for event in events):
        return Response(status=500)
    invocations = [worker.submit(function, datum) for datum in data]
    failures: list[InvocationFailed] = []
    for invocation in invocations:
        try:
            invocation.result()
        except InvocationFailed as exc:
            failures.append(exc)
    if not failures:
        return Response(status=202)
    timed_out = isinstance(failures[0], InvocationTimedOut)
    return _text(str(failures[0]) if timed_out else f"Exception while executing function: {function.full_name}", 500)


def _parsed(body: bytes) -> Any:
    """Parse JSON as leniently as Python can: invalid UTF-8, other encodings of Unicode, a byte order mark, NaN.

    :raises ValueError: it is not JSON.
    :raises RecursionError: it is nested too deeply.
    """
    return json.loads(body.decode(json.detect_encoding(body), "replace"), parse_constant=str)


def _text(text: str, status: int) -> Response:
    return Response(text, status=status, mimetype="text/plain")
