"""HTTP-triggered functions: from a request to the function and back.

Source of the behavior: the Azure Functions host (its routes manager and its conversion of requests for
workers), and Microsoft's Python worker for what a function may return.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from werkzeug.wrappers import Request, Response

from devstack.host import route_template
from devstack.host.bindings import http_datum
from devstack.host.errors import InvocationFailed, InvocationTimedOut
from devstack.host.index import HTTP_TRIGGER, IndexedFunction
from devstack.host.worker import Worker


@dataclass(frozen=True)
class HttpRoute:
    """Where an HTTP-triggered function answers."""

    function: IndexedFunction
    path: str  # the template with the route prefix, no slash at either end
    template: route_template.RouteTemplate
    methods: frozenset[str]  # empty: every method, which is the host's meaning of a trigger without `methods`


def routes_of(functions: Iterable[IndexedFunction], route_prefix: str) -> tuple[HttpRoute, ...]:
    """The HTTP functions' routes, in the order in which they are tried.

    :raises IndexingFailed: a route that the stand-in cannot match.
    """
    routes = [_route(function, route_prefix) for function in functions if function.trigger_type == HTTP_TRIGGER]
    return tuple(sorted(routes, key=lambda route: route.template.precedence))


def _route(function: IndexedFunction, route_prefix: str) -> HttpRoute:
    route = function.trigger.get("route") or function.name
    path = "/".join(part for part in (route_prefix, str(route).strip("/")) if part)
    return HttpRoute(
        function=function,
        path=path,
        template=route_template.parse(path),
        methods=frozenset(str(method).upper() for method in function.trigger.get("methods") or ()),
    )


def answer(request: Request, routes: Iterable[HttpRoute], worker: Worker) -> Response:
    """What the function answers; 404 where none has this path *and* method, 500 where it fails.

    The host never says 405: methods are a constraint of the route, so that a wrong one is an unknown route
    (azure-functions-host issue 10098; HEAD on a GET function too, see pull request 11658).
    """
    path = request.path.strip("/")
    for route in routes:
        route_params = route.template.match(path)
        if route_params is None or (route.methods and request.method not in route.methods):
            continue
        return _invoke(request, route.function, route_params, worker)
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
    except InvocationTimedOut as exc:
        # The real host's answer has no body here either; this one says what a reader of a test would look for.
        return Response(str(exc), status=500, mimetype="text/plain")
    except InvocationFailed:
        return Response(status=500)  # the host keeps a function's exception from its caller


def _query(request: Request) -> dict[str, str]:
    """Values of one name are joined by commas, and empty ones left out: so the host hands them to Python."""
    joined = {name: ",".join(values) for name, values in request.args.lists()}
    return {name: value for name, value in joined.items() if value}
