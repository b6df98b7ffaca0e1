"""The emulator itself: a WSGI application with the state of one emulated organisation.

A request is entered in the books, then the first planned fault that covers it is applied, and carrying it out means:
check the credential, find the resource, check the api-version, do it. Every refusal is an ``ApiError``.
"""

from __future__ import annotations

import json
import string
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, MapAdapter, Rule
from werkzeug.wrappers import Request, Response

from devstack.ado import builds_api, control_api, locations, pipelines_api
from devstack.ado.access import SIGN_IN_PATH, Credentials, refuse, sign_in_page
from devstack.ado.books import KEPT_HEADERS, Books, RequestRecord, RunRecord, RunResult, utc_now, without_secrets
from devstack.ado.call import Call, error_answer
from devstack.ado.errors import ApiError, ConnectionDropped, method_not_allowed, not_found, project_not_found
from devstack.ado.faults import Fault, FaultPlan, apply_fault

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from devstack.ado.declaration import Declaration

# Under this key the server puts an Event that is set when it shuts down, so that no delay outlasts it.
STOPPING_KEY = "devstack.stopping"
_CONTROL_PREFIX = "/_emulator/"
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SCHEMES = {"basic": "Basic", "bearer": "Bearer", "": "none"}

_ORGANIZATION = "/<organization>/_apis"
_PROJECT = "/<organization>/<project>/_apis"
_PIPELINE = f"{_PROJECT}/pipelines/<int:pipeline_id>"
_BUILD = f"{_PROJECT}/build/builds/<int:build_id>"


def _rule(path: str, method: str, endpoint: Callable[..., Response]) -> Rule:
    return Rule(path, methods=[method], endpoint=endpoint, strict_slashes=False)


def _router(rules: Iterable[Rule]) -> MapAdapter:
    return Map(rules, redirect_defaults=False, merge_slashes=False).bind("")


# Rules are compiled, which takes a while: once for all emulators of the process.
_SERVICE = _router(
    [
        _rule(_ORGANIZATION, "OPTIONS", locations.list_locations),
        _rule(f"{_ORGANIZATION}/resourceareas", "GET", locations.list_resource_areas),
        _rule(f"{_PROJECT}/pipelines", "GET", pipelines_api.list_pipelines),
        _rule(_PIPELINE, "GET", pipelines_api.get_pipeline),
        _rule(f"{_PIPELINE}/preview", "POST", pipelines_api.preview_pipeline),
        _rule(f"{_PIPELINE}/runs", "POST", pipelines_api.run_pipeline),
        _rule(f"{_PIPELINE}/runs", "GET", pipelines_api.list_runs),
        _rule(f"{_PIPELINE}/runs/<int:run_id>", "GET", pipelines_api.get_run),
        _rule(f"{_PROJECT}/build/builds", "GET", builds_api.list_builds),
        _rule(_BUILD, "GET", builds_api.get_build),
        _rule(_BUILD, "PATCH", builds_api.update_build),
        _rule(f"{_BUILD}/tags", "GET", builds_api.get_tags),
        _rule(f"{_BUILD}/tags", "POST", builds_api.add_tags),
        _rule(f"{_BUILD}/tags", "PATCH", builds_api.change_tags),
        _rule(f"{_BUILD}/tags/<path:tag>", "PUT", builds_api.add_tag),
        _rule(f"{_BUILD}/tags/<path:tag>", "DELETE", builds_api.delete_tag),
    ]
)
_CONTROL = _router(
    [
        _rule(f"{_CONTROL_PREFIX}books", "GET", control_api.get_books),
        _rule(f"{_CONTROL_PREFIX}faults", "GET", control_api.get_faults),
        _rule(f"{_CONTROL_PREFIX}faults", "POST", control_api.plan_faults),
        _rule(f"{_CONTROL_PREFIX}faults", "DELETE", control_api.clear_faults),
        _rule(f"{_CONTROL_PREFIX}runs/<int:run_id>", "POST", control_api.finish_run),
    ]
)


class Emulator:
    """One emulated organisation with one project.

    ``pats`` and ``tokens`` are the secrets accepted at first; left out, they are the declaration's defaults. Later
    they are ``credentials.pats`` and ``credentials.tokens``, sets that may be changed at any time.
    """

    def __init__(
        self,
        declaration: Declaration,
        *,
        pats: Iterable[str] | None = None,
        tokens: Iterable[str] | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.declaration = declaration
        self.credentials = Credentials(
            {declaration.pat.default} if pats is None else set(pats),
            {declaration.token.default} if tokens is None else set(tokens),
        )
        self.books = Books(clock)
        self.faults = FaultPlan()

    def plan(self, *faults: Fault) -> None:
        """Plans faults for the requests to come, after those planned already."""
        self.faults.add(*faults)

    def finish_run(self, run_id: int, result: RunResult) -> RunRecord:
        """Ends a run; one that has ended keeps its first result.

        :raises LookupError: there is no such run.
        """
        run = self.books.finish(run_id, result)
        if run is None:
            raise LookupError(f"there is no run {run_id}")
        return run

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request.

        :raises ConnectionDropped: the client is to get no answer.
        """
        request = Request(environ)
        if request.path.startswith(_CONTROL_PREFIX):
            answer = self._refusing(self._control, request)
        else:
            answer = self._answer(request, partial(_wait, environ.get(STOPPING_KEY)))
        return answer(environ, start_response)

    def _answer(self, request: Request, wait: Callable[[float], None]) -> Response:
        """Does what the request asks for, or what a planned fault makes of it, and writes that down."""
        place = self.books.receive(_record(request, self.books.clock()))
        fault = self.faults.take(request.method, request.path)
        carry_out = partial(self._refusing, self._carry_out, request)
        try:
            answer = apply_fault(fault, carry_out, wait) if fault else carry_out()
        except ConnectionDropped:
            self.books.answered(place, "dropped")
            raise
        answer.headers.setdefault("ActivityId", str(uuid.uuid4()))
        self.books.answered(place, answer.status_code)
        return answer

    @staticmethod
    def _refusing(carry_out: Callable[[Request], Response], request: Request) -> Response:
        """What ``carry_out`` answers, a refusal included."""
        try:
            return carry_out(request)
        except ApiError as error:
            return error_answer(error)

    def _carry_out(self, request: Request) -> Response:
        if request.path == SIGN_IN_PATH:
            return sign_in_page(200)
        if not self.credentials.accept(request.headers.get("Authorization", "")):
            return refuse(request)
        endpoint, arguments = _route(_SERVICE, request)
        organization = arguments.pop("organization")
        project = arguments.pop("project", self.declaration.project)
        if not self._knows(organization, project):
            raise project_not_found(organization, project)
        call = self._call(request)
        if request.method != "OPTIONS":
            call.check_version()
        return endpoint(call, **arguments)

    def _knows(self, organization: str, project: str) -> bool:
        known = self.declaration
        projects = {known.project.lower(), known.project_id}
        return organization.lower() == known.organization.lower() and project.lower() in projects

    def _control(self, request: Request) -> Response:
        endpoint, arguments = _route(_CONTROL, request)
        return endpoint(self._call(request), self.faults, **arguments)

    def _call(self, request: Request) -> Call:
        root = f"{request.host_url}{self.declaration.organization}"
        return Call(request, self.declaration, self.books, root)


def _route(router: MapAdapter, request: Request) -> tuple[Callable[..., Response], dict[str, Any]]:
    """The endpoint and its arguments. The service does not tell upper from lower case in a path; a tag keeps its."""
    try:
        endpoint, found = router.match(request.path.translate(_LOWER), request.method)
    except MethodNotAllowed as exc:
        allowed = sorted(set(exc.valid_methods or ()) - {"HEAD"})
        raise method_not_allowed(request.method, allowed) from exc
    except NotFound as exc:
        raise not_found() from exc
    arguments = dict(found)
    if "tag" in arguments:
        arguments["tag"] = request.path[-len(arguments["tag"]) :]
    return endpoint, arguments


def _wait(stopping: threading.Event | None, seconds: float) -> None:
    """Passes the time; a server that shuts down meanwhile drops the connection."""
    if not seconds:
        return
    if stopping is None:
        time.sleep(seconds)
    elif stopping.wait(seconds):
        raise ConnectionDropped("the server is shutting down")


def _record(request: Request, received: datetime) -> RequestRecord:
    scheme = request.headers.get("Authorization", "").partition(" ")[0].lower()
    return RequestRecord(
        method=request.method,
        path=request.path,
        query=request.query_string.decode("latin-1"),
        received=received,
        credential=_SCHEMES.get(scheme, "other"),
        headers={name: request.headers[name] for name in KEPT_HEADERS if name in request.headers},
        body=_recorded_body(request),
    )


def _recorded_body(request: Request) -> object:
    data = request.get_data()
    if not data:
        return None
    try:
        return without_secrets(json.loads(data))
    except ValueError:
        return None
