"""The host itself: a WSGI application around an indexed function app."""

import logging
import os
import time
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from azure.functions import FunctionRegister
from werkzeug.wrappers import Request, Response

from devstack.host import admin, eventgrid_webhook, http_triggers
from devstack.host.errors import HostStopping
from devstack.host.host_json import HostSettings
from devstack.host.index import EVENT_GRID_TRIGGER, HTTP_TRIGGER, IndexedFunction, find_app, index_app
from devstack.host.worker import Worker, thread_count

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

EVENT_GRID_PATH = "/runtime/webhooks/eventgrid"
STATUS_PATH = "/admin/host/status"
FUNCTIONS_PATH = "/admin/functions/"

_log = logging.getLogger("devstack.host")


class Host:
    """Serves one function app over WSGI; :func:`devstack.host.serve` puts it on a port."""

    def __init__(
        self,
        app: FunctionRegister | ModuleType,
        *,
        settings: HostSettings | None = None,
        threads: int | None = None,
    ) -> None:
        """Indexes `app`, or the one app in a module, and starts the worker; :meth:`close` ends it.

        `settings` are those of host.json (its defaults if None). `threads` is how many sync functions run at
        once (None: PYTHON_THREADPOOL_THREAD_COUNT, or Python's default).

        :raises IndexingFailed: see :func:`devstack.host.index.index_app`.
        :raises Exception: whatever the app's own `get_functions` raises.
        """
        self.settings = settings or HostSettings()
        register = find_app(app) if isinstance(app, ModuleType) else app
        self.functions = index_app(register)
        self.routes = http_triggers.routes_of(self.functions, self.settings.route_prefix)
        self._by_name = {function.name: function for function in self.functions}
        self._event_grid = {
            function.name: function for function in self.functions if function.trigger_type == EVENT_GRID_TRIGGER
        }
        self._started = time.monotonic()
        self._worker = Worker(
            threads=threads or thread_count(os.environ),
            timeout_seconds=self.settings.function_timeout_seconds,
        )

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answers one request."""
        return self._answer(Request(environ))(environ, start_response)

    def close(self, drain_seconds: float = 5.0) -> int:
        """Waits for running invocations, at most `drain_seconds`; returns how many still run (on threads)."""
        return self._worker.close(drain_seconds)

    def describe(self, function: IndexedFunction, base_url: str) -> str:
        """One line: the function's name, its trigger's type, and the URL by which it is called."""
        url = f"{base_url}{FUNCTIONS_PATH}{function.name} (POST, by hand)"
        if function.trigger_type == EVENT_GRID_TRIGGER:
            url = f"{base_url}{EVENT_GRID_PATH}?functionName={function.name}"
        elif function.trigger_type == HTTP_TRIGGER:
            route = next(route for route in self.routes if route.function is function)
            url = f"{base_url}/{route.path} ({', '.join(sorted(route.methods)) or 'any method'})"
        return f"{function.name}: {function.trigger_type} {url}"

    def _answer(self, request: Request) -> Response:
        try:
            return self._dispatch(request)
        except HostStopping as exc:
            return Response(str(exc), status=503, mimetype="text/plain")
        except Exception:  # noqa: BLE001 - logged with its traceback, and the caller hears no more of it
            _log.exception("the host failed to answer a %s request", request.method)
            return Response(status=500)

    def _dispatch(self, request: Request) -> Response:
        """The host's own paths come first, and like ASP.NET Core's ignore case; then the HTTP functions."""
        path = request.path.casefold().rstrip("/") or "/"
        if path == "/":
            return _only(request, ("GET",)) or Response("devstack.host is up and running", mimetype="text/plain")
        if path == STATUS_PATH:
            return _only(request, ("GET",)) or admin.status(self._started)
        if path.startswith(FUNCTIONS_PATH):
            name = path.removeprefix(FUNCTIONS_PATH)
            return _only(request, ("POST",)) or admin.invoke(request, name, self._by_name, self._worker)
        if path == EVENT_GRID_PATH:
            refusal = _only(request, eventgrid_webhook.METHODS)
            return refusal or eventgrid_webhook.answer(request, self._event_grid, self._worker)
        return http_triggers.answer(request, self.routes, self._worker)


def _only(request: Request, methods: tuple[str, ...]) -> Response | None:
    """The refusal of any other method; for the host's own paths, unlike for HTTP functions, that is a 405."""
    if request.method in methods:
        return None
    return Response(status=405, headers={"Allow": ", ".join(methods)})
