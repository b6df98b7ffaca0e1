"""The Event Grid extension's webhook: `/runtime/webhooks/eventgrid?functionName=NAME`.

Source of the behavior: Microsoft's Event Grid extension for WebJobs (its `EventGridExtensionConfigProvider`
and `HttpRequestProcessor`), version 3.2 and later, which support the CloudEvents handshake.

There is one intended difference. When a function fails, the body of the real answer is only "Exception while executing
function: Functions.NAME", and the exception's message is in the log. Here the body is the exception's message. People
who try the app see it immediately, and tests that search the answer for secrets see more of it.
"""

import json
from collections.abc import Mapping

from werkzeug.wrappers import Request, Response

from devstack.host.bindings import json_datum
from devstack.host.errors import InvocationFailed
from devstack.host.index import IndexedFunction
from devstack.host.worker import Worker

# The methods that the host's route for extensions accepts. The extension itself treats only OPTIONS specially.
METHODS = ("GET", "POST", "DELETE", "OPTIONS")

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
    `aeg-event-type`, 404 for an unknown function, and 500 if the body is invalid or the function failed for any event.

    :param functions: the functions with an Event Grid trigger, by name.
    """
    name = _function_name(request)
    function = functions.get(name)  # exact: the extension keeps its listeners in a case-sensitive dictionary
    if function is None:
        return _text(f"cannot find function: '{name}'", 404)
    if request.method == "OPTIONS":
        return _cloud_events_handshake(request)
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
        events = json.loads(body)
        data = events[0]["data"] if isinstance(events, list) else events["data"]
        if isinstance(events, dict) and isinstance(data, str):
            data = json.loads(data)
        code = data["validationCode"]
    except (ValueError, LookupError, TypeError) as exc:
        return _text(f"the body does not contain a validation code ({type(exc).__name__})", 500)
    return Response(json.dumps({"validationResponse": str(code)}), mimetype="application/json")


def _notification(body: bytes, function: IndexedFunction, worker: Worker) -> Response:
    """Call the function for all events concurrently, and wait for all calls.

    One failure fails the whole request, and Event Grid then sends all of its events again.
    """
    try:
        events = json.loads(body)
    except ValueError as exc:
        return _text(f"the body is not JSON: {exc}", 500)
    if not isinstance(events, list | dict):
        return _text("the body must be an event or an array of events", 500)
    invocations = [
        worker.submit(function, json_datum(event)) for event in (events if isinstance(events, list) else [events])
    ]
    failures: list[str] = []
    for invocation in invocations:
        try:
            invocation.result()
        except InvocationFailed as exc:
            failures.append(str(exc))
    return _text(failures[0], 500) if failures else Response(status=202)


def _text(text: str, status: int) -> Response:
    return Response(text, status=status, mimetype="text/plain")
