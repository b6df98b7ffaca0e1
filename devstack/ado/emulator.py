"""The emulator as a WSGI application, with the state of one emulated organization.

The emulator first records a request in the books, then applies the first planned fault that matches. To carry out a
request, it checks the credential, finds the resource, checks the api-version and calls the endpoint. Every refusal is
an ``ApiError``.

In addition to Azure DevOps, it emulates Azure Resource Manager below ``/subscriptions/``: the status of Azure ML jobs,
and the post-backs with which Azure ML completes tasks.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from devstack.ado import routes
from devstack.ado.access import SIGN_IN_PATH, Credentials, job_token, refuse, sign_in_page
from devstack.ado.books import FIRST_RUN_ID, KEPT_HEADERS, Books, RequestRecord
from devstack.ado.call import Call, error_answer
from devstack.ado.errors import ApiError, project_not_found
from devstack.ado.faults import Fault, apply_fault
from devstack.ado.masking import without_secrets
from devstack.ado.runs.behavior import Behavior
from devstack.ado.runs.foreign_runs import queue_foreign_run
from devstack.ado.state import State
from devstack.ado.tasks.hub_api import identify, open_plan
from devstack.ado.tasks.inputs import TaskRequest
from devstack.ado.tasks.start import StartedTask, start_wait_task
from devstack.ado.times import utc_now
from devstack.aml.resource_manager import SUBSCRIPTIONS_PREFIX, ResourceManager
from devstack.http_server import ConnectionDropped, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from devstack.ado.declaration import Declaration
    from devstack.ado.runs.records import RunRecord, RunResult
    from devstack.ado.tasks.inputs import TaskInputs
    from devstack.ado.tasks.records import EarlyEvents
    from devstack.aml.post_back import PostBack

_SCHEMES = {"basic": "Basic", "bearer": "Bearer", "": "none"}


class Emulator:
    """One emulated organization with one project.

    ``pats`` and ``tokens`` are the secrets that are accepted at first, by default those of the declaration. The sets
    ``credentials.pats`` and ``credentials.tokens`` may be changed at any time. ``identity_header`` is the value that
    clients of the managed identity must send. ``behavior`` may be replaced at any time. ``refresh`` returns the current
    declaration of the pipelines before each request.
    """

    def __init__(
        self,
        declaration: Declaration,
        *,
        pats: Iterable[str] | None = None,
        tokens: Iterable[str] | None = None,
        identity_header: str | None = None,
        clock: Callable[[], datetime] = utc_now,
        behavior: Behavior | None = None,
        first_run_id: int = FIRST_RUN_ID,
        refresh: Callable[[], Declaration] | None = None,
    ) -> None:
        self._refresh = refresh
        self.credentials = Credentials(
            {declaration.pat.default} if pats is None else set(pats),
            {declaration.token.default} if tokens is None else set(tokens),
        )
        self._own_clock = clock
        self.books = Books(self.clock, declaration.agentless, first_run_id)
        header = declaration.identity_header.default if identity_header is None else identity_header
        self.state = State(declaration, self.credentials, self.books, header, behavior or Behavior())
        self.faults = self.state.faults
        self._resource_manager = ResourceManager(self.books.jobs, self.credentials.accept_token)
        self.books.jobs.send = self._send_post_back

    @property
    def declaration(self) -> Declaration:
        return self.state.declaration

    @property
    def behavior(self) -> Behavior:
        return self.state.behavior

    @behavior.setter
    def behavior(self, behavior: Behavior) -> None:
        self.state.behavior = behavior

    def clock(self) -> datetime:
        """Return the service's time, which ``behavior`` may set ahead or back."""
        return self._own_clock() + timedelta(seconds=self.behavior.clock_offset_seconds)

    def plan(self, *faults: Fault) -> None:
        """Plan faults for the next requests, after those that are already planned."""
        self.faults.add(*faults)

    def queue_run(self, pipeline: int, **order: Any) -> RunRecord:
        """Queue a run as somebody else would. For the parameters, see ``queue_foreign_run``."""
        return queue_foreign_run(self.state, {"pipeline": pipeline, **order})

    def finish_run(self, run_id: int, result: RunResult) -> RunRecord:
        """End a run. A run that has already ended keeps its first result.

        :raises LookupError: the run does not exist.
        """
        run = self.books.finish(run_id, result)
        if run is None:
            raise LookupError(f"there is no run {run_id}")
        return run

    def start_wait_task(
        self,
        collection_url: str,
        inputs: TaskInputs | None = None,
        *,
        timeout_minutes: float | None = None,
        early_events: EarlyEvents | None = None,
    ) -> StartedTask:
        """Start a plan with one task that waits for TaskCompleted, like ``pool: server`` with ``waitForCompletion``.

        With ``inputs``, the task immediately sends its request, in a thread. Without them, the caller can use the
        returned coordinates to complete the task. To end a plan, a token or a task early, use ``books.task_hub``.

        :param collection_url: the URL of the served organization: ``Served.organization_url``.
        :raises TaskInputError: the inputs do not describe a valid request. Nothing was started.
        """
        return start_wait_task(
            self.state, collection_url, inputs, timeout_minutes=timeout_minutes, early_events=early_events
        )

    def _send_post_back(self, post_back: PostBack, status: str) -> None:
        """Tell a waiting task, over the network, that its Azure ML job has ended. The answer does not matter."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {post_back.auth_token}"}
        request = TaskRequest(post_back.url, post_back.url, headers, json.dumps(post_back.body(status)))
        self.state.sender.start(request, self.declaration.agentless.call_timeout_seconds, lambda _answer: None)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request.

        :raises ConnectionDropped: a fault drops the connection, or the server is shutting down.
        """
        if self._refresh is not None:
            self.state.declaration = self._refresh()
        request = Request(environ)
        if request.path.startswith(routes.CONTROL_PREFIX):
            answer = self._with_error_answers(self._control, request)
        elif routes.is_page(request.path):
            answer = self._with_error_answers(self._page, request)
        else:
            answer = self._answer(request, partial(wait, environ))
        return answer(environ, start_response)

    def _answer(self, request: Request, pause: Callable[[float], None]) -> Response:
        """Carry out a request, with a planned fault if one matches, and record the request and its answer."""
        index = self.books.receive(_record(request, self.books.clock()))
        fault = self.faults.take(request.method, request.path)
        behavior = replace(self.behavior, **fault.behavior) if fault else self.behavior
        carry_out = partial(self._with_error_answers, partial(self._carry_out, behavior=behavior), request)
        try:
            answer = apply_fault(fault, carry_out, pause) if fault else carry_out()
        except ConnectionDropped:
            self.books.answered(index, "dropped")
            raise
        answer.headers.setdefault("ActivityId", str(uuid.uuid4()))
        self.books.answered(index, answer.status_code)
        return answer

    @staticmethod
    def _with_error_answers(carry_out: Callable[[Request], Response], request: Request) -> Response:
        """Call ``carry_out`` and convert an ``ApiError`` to an answer."""
        try:
            return carry_out(request)
        except ApiError as error:
            return error_answer(error)

    def _carry_out(self, request: Request, behavior: Behavior) -> Response:
        if request.path == SIGN_IN_PATH:
            return sign_in_page(200)
        if request.path.lower().startswith(SUBSCRIPTIONS_PREFIX):
            return self._resource_manager.answer(request)
        if routes.is_task_hub(request.path):
            return self._carry_out_for_task(request)
        user = self.credentials.user(request.headers.get("Authorization", ""))
        if user is None and not self._may_ask_for_locations(request):
            return refuse(request)
        endpoint, arguments = routes.route(routes.SERVICE, request)
        organization = arguments.pop("organization")
        project = arguments.pop("project", self.declaration.project)
        if not self._exists(organization, project):
            raise project_not_found(organization, project)
        call = Call(request, self.state, self._root(request), behavior, user)
        if request.method != "OPTIONS":
            call.check_version()
        return endpoint(call, **arguments)

    def _may_ask_for_locations(self, request: Request) -> bool:
        """Return whether a request asks for the locations of resources with a job token.

        Outside its own plan, a job token is valid for nothing else. The official clients ask for locations first.
        """
        asks_for_locations = request.method == "OPTIONS" or request.path.lower().endswith("/_apis/resourceareas")
        token = job_token(request.headers.get("Authorization", ""))
        return asks_for_locations and self.books.task_hub.plan_of_token(token) is not None

    def _carry_out_for_task(self, request: Request) -> Response:
        call = self._call(request)
        caller = identify(call, self.credentials)
        endpoint, arguments = routes.route(routes.TASK_HUB, request)
        organization, scope, hub, plan_id = (
            arguments.pop(name) for name in ("organization", "scope", "hub", "plan_id")
        )
        if not self._exists(organization, scope):
            raise project_not_found(organization, scope)
        return endpoint(open_plan(call, caller, scope, hub, plan_id), **arguments)

    def _exists(self, organization: str, project: str) -> bool:
        declaration = self.declaration
        projects = {declaration.project.lower(), declaration.project_id}
        return organization.lower() == declaration.organization.lower() and project.lower() in projects

    def _control(self, request: Request) -> Response:
        endpoint, arguments = routes.route(routes.CONTROL, request)
        return endpoint(self._call(request), **arguments)

    def _page(self, request: Request) -> Response:
        endpoint, arguments = routes.route(routes.PAGES, request)
        organization, project = arguments["organization"], arguments["project"]
        if not self._exists(organization, project):
            raise project_not_found(organization, project)
        return endpoint(self._call(request))

    def _call(self, request: Request) -> Call:
        return Call(request, self.state, self._root(request), self.behavior)

    def _root(self, request: Request) -> str:
        return f"{request.host_url}{self.declaration.organization}"


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
