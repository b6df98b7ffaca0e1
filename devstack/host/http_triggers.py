"""Routes HTTP requests to functions with an HTTP trigger, and returns their answers.

The stand-in host supports only two kinds of segments in route templates: literal ones, which ignore case, and
``{name}``.

Source of the behavior: the Azure Functions host (its routes manager and its conversion of requests for
workers), and Microsoft's Python worker for what a function may return.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from werkzeug.wrappers import Request, Response

from devstack.host.bindings import http_datum
from devstack.host.errors import IndexingFailed, InvocationFailed
from devstack.host.index import HTTP_TRIGGER, IndexedFunction
from devstack.host.keys import Access, Keys, refusal
from devstack.host.worker import Worker


@dataclass(frozen=True)
class HttpRoute:
    """The route of a function with an HTTP trigger."""

    function: IndexedFunction
    path: str  # the route prefix and the template, without slashes at the ends
    pattern: re.Pattern[str]  # matches a path without slashes at the ends
    methods: frozenset[str]  # empty means every method, like a trigger without `methods` in the real host
    access: Access


def routes_of(functions: Iterable[IndexedFunction], route_prefix: str) -> tuple[HttpRoute, ...]:
    """Return the routes of the HTTP functions, in the order in which they are matched.

    :raises IndexingFailed: the stand-in host does not support a segment of a route.
    """
    routes = [_route(function, route_prefix) for function in functions if function.trigger_type == HTTP_TRIGGER]
    return tuple(sorted(routes, key=lambda route: ["{" in segment for segment in route.path.split("/")]))


def _route(function: IndexedFunction, route_prefix: str) -> HttpRoute:
    route = function.trigger.get("route") or function.name
    path = "/".join(part for part in (route_prefix, str(route).strip("/")) if part)
    return HttpRoute(
        function=function,
        path=path,
        pattern=re.compile("/".join(_segment(segment, path) for segment in path.split("/"))),
        methods=frozenset(str(method).upper() for method in function.trigger.get("methods") or ()),
        access=Access[str(function.trigger.get("authLevel") or "FUNCTION").upper()],
    )


def _segment(segment: str, template: str) -> str:
    if "{" not in segment:
        return f"(?i:{re.escape(segment)})"
    if not re.fullmatch(r"\{\w+\}", segment):
        raise IndexingFailed(f"route {template!r}: the stand-in host does not support the segment {segment!r}")
    return f"(?P<{segment[1:-1]}>[^/]+)"


def answer(request: Request, routes: Iterable[HttpRoute], worker: Worker, keys: Keys | None) -> Response:
    """Return the function's answer: 404 if no function has this path and method, 500 if the function fails.

    Without the key that the function's `authLevel` requires, the answer is 401.

    The host never answers 405. Methods are a constraint of the route, so a wrong method is an unknown route. See
    azure-functions-host issue 10098, and pull request 11658 about HEAD requests to GET functions.
    """
    path = request.path.strip("/")
    for route in routes:
        found = route.pattern.fullmatch(path)
        if found and (not route.methods or request.method in route.methods):
            return refusal(request, route.access, keys) or _invoke(request, route.function, found.groupdict(), worker)
    return Response(status=404)


def _invoke(request: Request, function: IndexedFunction, route_params: dict[str, str], worker: Worker) -> Response:
    datum = http_datum(
        request.method,
        request.url,
        headers={name.lower(): value for name, value in request.headers.items()},
        query=_query(request),
        route_params=route_params,
        body=request.get_data(),
    )
    try:
        return cast("Response", worker.submit(function, datum).result())  # see Invocation.result
    except InvocationFailed:
        return Response(status=500)  # like the real host, hide the function's exception from the caller


def _query(request: Request) -> dict[str, str]:
    """Return the query as the host passes it to Python: repeated values joined by commas, empty ones left out."""
    joined = {name: ",".join(values) for name, values in request.args.lists()}
    return {name: value for name, value in joined.items() if value}
