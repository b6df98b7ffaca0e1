"""Between what the host has and what a function takes and returns, by way of azure-functions' own converters.

The worker looks a binding's converter up in azure-functions' registry by the binding's type, hands it a
`Datum` (a value with the name of its kind), and falls back to a generic converter that passes texts through.
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

# azure-functions is typed in part only; its registry of converters is not.
_sdk: Any = importlib.import_module("azure.functions")
_meta: Any = importlib.import_module("azure.functions.meta")

GENERIC = "generic"
RETURN = "$return"

_thread_local_storage = threading.local()


@dataclass(frozen=True)
class InvocationContext(func.Context):
    """What a parameter named `context` gets, named as the worker names it; and neither trace nor retry."""

    function_name: str = ""
    function_directory: str = ""
    """Of the file that defines the function."""
    invocation_id: str = ""
    """A UUID, also on the invocation's log line."""
    thread_local_storage: Any = _thread_local_storage
    trace_context: Any = None
    retry_context: Any = None


def accepts(converter: str, annotation: object) -> bool:
    """Can a parameter with this annotation take what the converter makes?"""
    if not isinstance(annotation, type):
        return False
    found = _sdk.get_binding_registry().get(converter)
    return issubclass(annotation, str | bytes) if found is None else found.check_input_type_annotation(annotation)


def has_implicit_output(binding_type: str) -> bool:
    """Do functions with this binding return something without a `$return` binding?"""
    found = _sdk.get_binding_registry().get(binding_type)
    return True if found is None else bool(getattr(found, "has_implicit_output", lambda: False)())


def json_datum(value: object) -> Any:
    """A JSON value as the host hands it over: indented by two, nothing but control characters escaped.

    The real host indents where the trigger has `data_type="string"`, and writes it on one line otherwise;
    a function must not build on the layout.
    """
    return _meta.Datum(type="json", value=json.dumps(value, indent=2, ensure_ascii=False))


def http_datum(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    route_params: Mapping[str, str],
    body: bytes,
) -> Any:
    """An HTTP request as the host hands it over; every text is wrapped by itself."""

    def texts(values: Mapping[str, str]) -> dict[str, Any]:
        return {name: _meta.Datum(type="string", value=value) for name, value in values.items()}

    return _meta.Datum(
        type="http",
        value={
            "method": _meta.Datum(type="string", value=method),
            "url": _meta.Datum(type="string", value=url),
            "headers": texts(headers),
            "query": texts(query),
            "params": texts(route_params),
            "body": _meta.Datum(type="bytes", value=body),
        },
    )


def argument(converter: str, datum: Any) -> object:
    """What the function's trigger parameter gets.

    :raises Exception: whatever the converter raises on data that it does not understand; it then counts as
        the function's failure, as with the worker.
    """
    found = _sdk.get_binding_registry().get(converter)
    if found is None:
        return datum.value
    return found.decode(datum, trigger_metadata={})


def http_response(function_name: str, value: object) -> Response:
    """The HTTP answer for what a function returned: a `func.HttpResponse`, or a text.

    :raises TypeError: anything else, None too: the worker cannot encode it, so the caller gets a 500.
    """
    try:
        datum = _sdk.get_binding_registry().get("http").encode(value, expected_type=None)
    except NotImplementedError as exc:
        raise TypeError(
            f"function {function_name} returned {type(value).__name__}, not a func.HttpResponse or a str"
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
