"""The stand-in as a WSGI application: it records requests, applies planned faults, and can be controlled.

The control addresses below ``/_emulator/`` need no credential, and faults do not affect them:

- ``GET books``: ``{"requests": […], "resources": […]}``, without the keys of apps;
- ``GET``, ``POST`` and ``DELETE faults``: the planned faults (``devstack/ado/faults.py``), whose ``behavior`` has
  switches of ``Behavior``;
- ``GET`` and ``POST behavior``: the switches;
- ``POST resources``: adds a list of resources without the checks of the services.
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from devstack.ado.faults import Fault, FaultError, FaultPlan, apply_fault, parse_faults
from devstack.ado.times import utc_now
from devstack.arm.answers import json_answer
from devstack.arm.errors import ArmError
from devstack.arm.manager import ResourceManager
from devstack.arm.store import Document, Store
from devstack.http_server import ConnectionDropped, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from devstack.arm.behavior import Behavior

TOKEN = "devstack-token"  # noqa: S105 - a public default
CONTROL_PREFIX = "/_emulator/"


@dataclass(frozen=True)
class Received:
    """A request that was received. ``status`` is None until it is answered, or "dropped"."""

    method: str
    path: str
    query: str
    body: Any
    status: int | str | None = None


class Emulator:
    """Azure Resource Manager with a few services, for one tenant.

    :param resources: what there is at first, as documents with an ``id``; see ``Store.add``.
    :param tokens: the bearer tokens that are accepted. The set may be changed at any time.
    """

    def __init__(
        self,
        resources: Iterable[Mapping[str, Any]] = (),
        *,
        tokens: Iterable[str] = (TOKEN,),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.store = Store(resources, clock)
        self.tokens = set(tokens)
        self.faults = FaultPlan()
        self.before_answer: Callable[[], None] = lambda: None
        """Called when a request has been carried out. It may raise ``ConnectionDropped``, so the answer is lost."""
        self._manager = ResourceManager(self.store, self.tokens)
        self._lock = threading.RLock()
        self._requests: list[Received] = []

    @property
    def behavior(self) -> Behavior:
        return self.store.behavior

    @behavior.setter
    def behavior(self, behavior: Behavior) -> None:
        with self._lock:
            self.store.behavior = behavior

    def plan(self, *faults: Fault) -> None:
        """Plan faults for the next requests, after those that are already planned."""
        self.faults.add(*faults)

    def add(self, *resources: Mapping[str, Any]) -> None:
        """Add resources without the checks of the services."""
        with self._lock:
            for resource in resources:
                self.store.add(resource)

    @property
    def requests(self) -> tuple[Received, ...]:
        """Every request except those to ``/_emulator``, in the order of arrival."""
        with self._lock:
            return tuple(self._requests)

    @property
    def changes(self) -> tuple[Received, ...]:
        """The requests that are not reads."""
        return tuple(one for one in self.requests if one.method not in {"GET", "HEAD"})

    @property
    def resources(self) -> list[Document]:
        with self._lock:
            return self.store.resources

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request.

        :raises ConnectionDropped: a fault drops the connection, or the server is shutting down.
        """
        request = Request(environ)
        if request.path.startswith(CONTROL_PREFIX):
            answer = self._control(request)
        else:
            answer = self._answer(request, partial(wait, environ))
        return answer(environ, start_response)

    def _answer(self, request: Request, pause: Callable[[float], None]) -> Response:
        with self._lock:
            self._requests.append(
                Received(request.method, request.path, request.query_string.decode("latin-1"), _logged_body(request))
            )
            index = len(self._requests) - 1
        fault = self.faults.take(request.method, request.path)
        carry_out = partial(self._carry_out, request, dict(fault.behavior) if fault else {})
        try:
            answer = apply_fault(fault, carry_out, pause) if fault else carry_out()
            self.before_answer()
        except ConnectionDropped:
            self._note(index, "dropped")
            raise
        answer.headers.setdefault("x-ms-request-id", str(uuid.uuid4()))
        correlation = request.headers.get("x-ms-correlation-request-id") or answer.headers["x-ms-request-id"]
        answer.headers.setdefault("x-ms-correlation-request-id", correlation)
        self._note(index, answer.status_code)
        return answer

    def _note(self, index: int, status: int | str) -> None:
        with self._lock:
            self._requests[index] = replace(self._requests[index], status=status)

    def _carry_out(self, request: Request, behavior: dict[str, Any]) -> Response:
        with self._lock:
            usual = self.store.behavior
            self.store.behavior = usual.changed(behavior)
            try:
                return self._manager.answer(request)
            except ArmError as error:
                return json_answer(error.body, error.status, error.headers)
            finally:
                self.store.behavior = usual

    def _control(self, request: Request) -> Response:
        try:
            body = json.loads(request.get_data()) if request.method == "POST" else None
            document = self._control_document(request.method, request.path.rpartition("/")[2], body)
        except ValueError as exc:  # FaultError and BehaviorError are such errors
            return json_answer({"error": {"code": "BadRequest", "message": str(exc)}}, 400)
        if document is None:
            return json_answer({"error": {"code": "NotFound", "message": f"There is no {request.path}."}}, 404)
        return json_answer(document, 201 if request.method == "POST" else 200)

    def _control_document(self, method: str, name: str, body: Any) -> dict[str, Any] | None:
        match method, name:
            case "GET", "books":
                return {"requests": [asdict(one) for one in self.requests], "resources": self.resources}
            case "POST", "faults":
                self.plan(*_read_faults(self.behavior, body))
            case "DELETE", "faults":
                self.faults.clear()
            case "POST", "behavior":
                self.behavior = self.behavior.changed(body)
            case "POST", "resources":
                self.add(*body if isinstance(body, list) else [body])
            case "GET", "faults" | "behavior" | "resources":
                pass
            case _:
                return None
        faults = [asdict(fault) | {"times": left} for fault, left in self.faults.pending]
        return {"faults": faults, "behavior": asdict(self.behavior), "resources": self.resources}


def _logged_body(request: Request) -> object:
    try:
        return json.loads(request.get_data() or b"null")
    except ValueError:
        return None


def _read_faults(usual: Behavior, document: object) -> list[Fault]:
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        raise FaultError("faults: must be a list of objects")
    behaviors = [one.pop("behavior", {}) for one in document]
    for behavior in behaviors:
        usual.changed(behavior)
    return [
        replace(fault, behavior=behavior) for fault, behavior in zip(parse_faults(document), behaviors, strict=True)
    ]
