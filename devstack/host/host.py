"""The stand-in host as a WSGI application around an indexed function app."""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from azure.functions import FunctionRegister
from werkzeug.wrappers import Request, Response

from devstack.host import admin, eventgrid_webhook, http_triggers
from devstack.host.errors import HostStopping
from devstack.host.host_json import HostSettings
from devstack.host.index import EVENT_GRID_TRIGGER, HTTP_TRIGGER, QUEUE_TRIGGER, IndexedFunction, find_app, index_app
from devstack.host.keys import Access, Keys, refusal
from devstack.host.worker import Worker, thread_count

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from devstack.host.queue_trigger import QueueListener

EVENT_GRID_PATH = "/runtime/webhooks/eventgrid"
ADMIN_PATH = "/admin/"
IN_WORK_SECONDS = 600.0
"""How long the real host keeps a message in work invisible, whatever host.json says."""

STATUS_PATH = ADMIN_PATH + "host/status"
FUNCTIONS_PATH = ADMIN_PATH + "functions/"

_log = logging.getLogger("devstack.host")


class Host:
    """Serves one function app over WSGI. :func:`devstack.host.serve` serves it on a port."""

    def __init__(
        self,
        app: FunctionRegister | ModuleType,
        *,
        settings: HostSettings | None = None,
        threads: int | None = None,
        keys: Keys | None = None,
        in_work_seconds: float = IN_WORK_SECONDS,
    ) -> None:
        """Index the app, start the worker and listen to the queues of its triggers. :meth:`close` stops all of it.

        :param app: the function app, or a module that contains exactly one.
        :param settings: the settings from host.json. None means the defaults.
        :param threads: the maximum number of sync functions that run at the same time. None means
            PYTHON_THREADPOOL_THREAD_COUNT, or 1000 if that is not set.
        :param keys: the keys to ask for. None means that no request needs one.
        :param in_work_seconds: how long a queue message is invisible that has been taken, but neither deleted nor
            released: the time until it comes back if the host is killed.
        :raises IndexingFailed: see :func:`devstack.host.index.index_app`.
        :raises Exception: whatever the app's own `get_functions` raises.
        """
        self.settings = settings or HostSettings()
        self.keys = keys
        register = find_app(app) if isinstance(app, ModuleType) else app
        self._app = register
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
        try:
            self._listeners = list(self._listen(in_work_seconds))
        except BaseException:
            self._worker.close(0)
            raise

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        return self._answer(Request(environ))(environ, start_response)

    def end_threads(self) -> None:
        """Call the app's own `end_threads`, if it has one. On the real host, threads end with the worker's process.

        Otherwise, the threads of an app that was reloaded would go on with the old code and settings.
        """
        end = getattr(self._app, "end_threads", None)
        if end is not None:
            end()

    def close(self, drain_seconds: float = 5.0) -> int:
        """Wait at most `drain_seconds` for running invocations, and return how many still run on threads."""
        self.end_threads()
        for listener in self._listeners:
            listener.stop()
        abandoned = self._worker.close(drain_seconds)
        for listener in self._listeners:
            listener.close()
        return abandoned

    def _listen(self, in_work_seconds: float) -> "Iterator[QueueListener]":
        for function in self.functions:
            if function.trigger_type == QUEUE_TRIGGER:
                from devstack.host.queue_trigger import QueueListener  # noqa: PLC0415 - slow to import

                yield QueueListener(function, self.settings.queues, self._worker, os.environ, in_work_seconds)

    def describe(self, function: IndexedFunction, base_url: str) -> str:
        """Return one line with the function's name, its trigger's type and its URL."""
        url = f"{base_url}{FUNCTIONS_PATH}{function.name} (POST, manual call)"
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
        except Exception:  # noqa: BLE001 - logged with its traceback, and hidden from the caller
            _log.exception("the host failed to answer a %s request", request.method)
            return Response(status=500)

    def _dispatch(self, request: Request) -> Response:
        """Route a request to the host's own paths first, then to the HTTP functions.

        Like ASP.NET Core, ignore the case of the host's own paths.
        """
        path = request.path.casefold().rstrip("/") or "/"
        if path == "/":
            return _only(request, "GET") or Response("devstack.host is up and running", mimetype="text/plain")
        if path.startswith(ADMIN_PATH):
            return refusal(request, Access.ADMIN, self.keys) or self._administer(request, path)
        if path == EVENT_GRID_PATH:
            refused = refusal(request, Access.EXTENSION, self.keys)
            return refused or eventgrid_webhook.answer(request, self._event_grid, self._worker)
        return http_triggers.answer(request, self.routes, self._worker, self.keys)

    def _administer(self, request: Request, path: str) -> Response:
        if path == STATUS_PATH:
            return _only(request, "GET") or admin.status(self._started)
        if path.startswith(FUNCTIONS_PATH):
            name = path.removeprefix(FUNCTIONS_PATH)
            return _only(request, "POST") or admin.invoke(request, name, self._by_name, self._worker)
        return Response(status=404)


def _only(request: Request, method: str) -> Response | None:
    """Return a 405 if the request has another method, else None. HTTP functions answer 404 instead."""
    return None if request.method == method else Response(status=405, headers={"Allow": method})
