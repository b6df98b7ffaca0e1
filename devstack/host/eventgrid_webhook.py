"""The Event Grid extension's web hook: `/runtime/webhooks/eventgrid?functionName=NAME`.

Source of the behavior: Microsoft's Event Grid extension for WebJobs (its `EventGridExtensionConfigProvider`
and `HttpRequestProcessor`), as of the versions that know the CloudEvents handshake (3.2 and later). One
difference, on purpose: where a function fails, the real answer's body is only "Exception while executing
function: Functions.NAME", and the exception's own text is in the log. Here the body is the exception's text:
whoever tries the app wants to see it, and a test that looks for secrets in it sees more, not less.
"""

import json
from collections.abc import Mapping

from werkzeug.wrappers import Request, Response

from devstack.host.bindings import json_datum
from devstack.host.errors import InvocationFailed
from devstack.host.index import IndexedFunction
from devstack.host.worker import Worker

# What the host's route for extensions lets through; the extension itself tells only OPTIONS from the rest.
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
    """The extension's answer. `functions` holds the Event Grid-triggered functions by their names.

    404 no such function, 200 a handshake, 202 all events taken, 500 an event's function failed or the body
    is not what it should be, 400 a header that it does not know.
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
    """The extension reads the query with .NET's NameValueCollection, which ignores the case of names."""
    return next((value for key, value in request.args.items() if key.casefold() == "functionname"), "")


def _cloud_events_handshake(request: Request) -> Response:
    """CloudEvents' abuse protection: may this origin send? The real extension never answers `*`."""
    origin = request.headers.get("WebHook-Request-Origin")
    allowed = origin if origin in _ORIGINS else _PUBLIC_CLOUD_ORIGIN
    return Response(status=200, headers={"WebHook-Allowed-Origin": allowed})


def _validation(body: bytes) -> Response:
    """Sends the code of a `Microsoft.EventGrid.SubscriptionValidationEvent` back.

    Event Grid's own schema sends an array; CloudEvents one object, whose `data` is JSON in a string.
    """
    try:
        events = json.loads(body)
        data = events[0]["data"] if isinstance(events, list) else events["data"]
        if isinstance(events, dict) and isinstance(data, str):
            data = json.loads(data)
        code = data["validationCode"]
    except (ValueError, LookupError, TypeError) as exc:
        return _text(f"the body holds no validation code ({type(exc).__name__})", 500)
    return Response(json.dumps({"validationResponse": str(code)}), mimetype="application/json")


def _notification(body: bytes, function: IndexedFunction, worker: Worker) -> Response:
    """Calls the function once for each event, all at once, and waits for all of them.

    One failure fails the whole request, so that Event Grid sends all of its events again.
    """
    try:
        events = json.loads(body)
    except ValueError as exc:
        return _text(f"the body is not JSON: {exc}", 500)
    if not isinstance(events, list | dict):
        return _text("the body is JSON, but neither an array of events nor one event", 500)
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
