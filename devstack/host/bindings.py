"""Converts between the host's data and the arguments and results of functions, with azure-functions' own converters.

The worker looks up the converter by the binding's type in azure-functions' registry and passes it a `Datum` (a value
and the name of its type). If there is no converter, it uses a generic one that passes strings through unchanged.
Source: Microsoft's Python worker (`azure-functions-runtime`, its bindings package).
"""

import importlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import azure.functions as func
from werkzeug.wrappers import Response

# azure-functions has no types for its registry of converters.
_sdk: Any = importlib.import_module("azure.functions")
_meta: Any = importlib.import_module("azure.functions.meta")

GENERIC = "generic"
RETURN = "$return"

_thread_local_storage = threading.local()


@dataclass(frozen=True)
class InvocationContext(func.Context):
    """The argument for a parameter named `context`, as in the worker, but without trace and retry contexts."""

    function_name: str = ""
    function_directory: str = ""
    """The directory of the file that defines the function."""
    invocation_id: str = ""
    """A UUID, which is also in the invocation's log line."""
    thread_local_storage: Any = _thread_local_storage
    trace_context: Any = None
    retry_context: Any = None


def accepts(converter: str, annotation: object) -> bool:
    """Return whether a parameter with this annotation accepts what the converter produces."""
    if not isinstance(annotation, type):
        return False
    found = _sdk.get_binding_registry().get(converter)
    return issubclass(annotation, str | bytes) if found is None else found.check_input_type_annotation(annotation)


def has_implicit_output(binding_type: str) -> bool:
    """Return whether functions with this binding may return a value without a `$return` binding."""
    found = _sdk.get_binding_registry().get(binding_type)
    return True if found is None else bool(getattr(found, "has_implicit_output", lambda: False)())


def json_datum(value: object) -> Any:
    """Return a JSON value as the host passes it on: indented by two, with only control characters escaped.

    The real host indents if the trigger has `data_type="string"`, and otherwise writes one line. Functions must not
    depend on the layout.
    """
    return _meta.Datum(type="json", value=json.dumps(value, indent=2, ensure_ascii=False))


def string_datum(text: str) -> Any:
    """Return a string as the host passes it on: unchanged, even if it is JSON."""
    return _meta.Datum(type="string", value=text)


def message_metadata(message_id: str, dequeue_count: int) -> dict[str, Any]:
    """Return what the host says of a queue message, without its receipt and its times. Numbers are JSON.

    Source: https://github.com/Azure/azure-functions-host, WebJobs.Script.Grpc, GrpcMessageConversionExtensions.
    """
    return {"Id": string_datum(message_id), "DequeueCount": json_datum(dequeue_count)}


def http_datum(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    route_params: Mapping[str, str],
    body: bytes,
) -> Any:
    """Return an HTTP request as the host passes it on, with each string wrapped separately."""

    def strings(values: Mapping[str, str]) -> dict[str, Any]:
        return {name: string_datum(value) for name, value in values.items()}

    return _meta.Datum(
        type="http",
        value={
            "method": string_datum(method),
            "url": string_datum(url),
            "headers": strings(headers),
            "query": strings(query),
            "params": strings(route_params),
            "body": _meta.Datum(type="bytes", value=body),
        },
    )


def argument(converter: str, datum: Any, metadata: Mapping[str, Any]) -> object:
    """Return the argument for the function's trigger parameter.

    :param metadata: what else the trigger says, by name.
    :raises Exception: whatever the converter raises for data that it does not understand. As in the worker, this
        counts as a failure of the function.
    """
    found = _sdk.get_binding_registry().get(converter)
    if found is None:
        return datum.value
    return found.decode(datum, trigger_metadata=metadata)


def http_response(function_name: str, value: object) -> Response:
    """Convert a function's return value, a `func.HttpResponse` or a string, to an HTTP answer.

    :raises TypeError: the value is anything else, including None. The worker cannot encode it, so the caller gets
        a 500.
    """
    try:
        datum = _sdk.get_binding_registry().get("http").encode(value, expected_type=None)
    except NotImplementedError as exc:
        raise TypeError(
            f"function {function_name} must return a func.HttpResponse or a str, got {type(value).__name__}"
        ) from exc
    if datum.type == "string":
        return Response(datum.value, mimetype="text/plain")
    answer = datum.value
    response = Response(answer["body"].value, status=int(answer["status_code"].value))
    for name, header in answer["headers"].items():
        response.headers[name] = header.value
    for cookies in answer["cookies"] or ():
        for cookie in cookies.values():
            response.headers.add("Set-Cookie", cookie.OutputString())
    return response
