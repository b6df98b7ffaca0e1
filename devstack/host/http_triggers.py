"""HTTP-triggered functions: from a request to the function and back.

Of route templates the stand-in knows literal segments, which ignore case, and ``{name}``.

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
from devstack.host.worker import Worker


@dataclass(frozen=True)
class HttpRoute:
    """Where an HTTP-triggered function answers."""

    function: IndexedFunction
    path: str  # the template with the route prefix, no slash at either end
    pattern: re.Pattern[str]  # of a path without its slashes at the ends
    methods: frozenset[str]  # empty: every method, which is the host's meaning of a trigger without `methods`


def routes_of(functions: Iterable[IndexedFunction], route_prefix: str) -> tuple[HttpRoute, ...]:
    """The HTTP functions' routes, in the order in which they are tried.

    :raises IndexingFailed: a route that the stand-in cannot match.
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
    )


def _segment(segment: str, template: str) -> str:
    if "{" not in segment:
        return f"(?i:{re.escape(segment)})"
    if not re.fullmatch(r"\{\w+\}", segment):
        raise IndexingFailed(f"route {template!r}: the stand-in host cannot match {segment!r}")
    return f"(?P<{segment[1:-1]}>[^/]+)"


def answer(request: Request, routes: Iterable[HttpRoute], worker: Worker) -> Response:
    """What the function answers; 404 where none has this path *and* method, 500 where it fails.

    The host never says 405: methods are a constraint of the route, so that a wrong one is an unknown route
    (azure-functions-host issue 10098; HEAD on a GET function too, see pull request 11658).
    """
    path = request.path.strip("/")
    for route in routes:
        found = route.pattern.fullmatch(path)
        if found and (not route.methods or request.method in route.methods):
            return _invoke(request, route.function, found.groupdict(), worker)
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
        return Response(status=500)  # the host keeps a function's exception from its caller


def _query(request: Request) -> dict[str, str]:
    """Values of one name are joined by commas, and empty ones left out: so the host hands them to Python."""
    joined = {name: ",".join(values) for name, values in request.args.lists()}
    return {name: value for name, value in joined.items() if value}
