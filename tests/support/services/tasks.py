"""Helpers for the tests of agentless tasks: a client with the task's token, and a service that tasks call."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from devstack.ado.emulator import Emulator
from devstack.http_server import serving
from tests.contracts import validate
from tests.support.services.emulator import DECLARATION, PAT, TOKEN, Ado

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from werkzeug.test import TestResponse

    from devstack.ado import StartedTask, TaskRecord
    from devstack.ado.declaration import Declaration

COLLECTION = "http://localhost/contoso"
OTHER_GUID = "5f1a5b0e-58a5-4a4e-9d0f-1a2b3c4d5e6f"


class TaskClient:
    """A client of an emulator in the same process, with the token of one started task."""

    def __init__(self, emulator: Emulator | None = None, **start: Any) -> None:
        self.emulator = emulator or Emulator(DECLARATION, pats={PAT}, tokens={TOKEN})
        self.ado = Ado(self.emulator)
        self.started: StartedTask = self.emulator.start_wait_task(COLLECTION, **start)

    @property
    def record(self) -> TaskRecord:
        """The current record of the task."""
        return self.emulator.books.task_hub.task(self.started.record.id)

    def plan_path(self, **other: str) -> str:
        """Return the path of the plan, with some parts replaced."""
        headers = self.started.headers
        parts = {"organization": "contoso", "project": headers["ProjectId"], "hub": "build", "plan": headers["PlanId"]}
        parts |= other
        return "/{organization}/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}".format(**parts)

    @property
    def records_path(self) -> str:
        return f"{self.plan_path()}/timelines/{self.started.headers['TimelineId']}/records"

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.started.token}"}

    def completion(self, result: str = "succeeded", **other: object) -> dict[str, object]:
        """Return the body of TaskCompleted, with some fields replaced."""
        headers = self.started.headers
        body = {"name": "TaskCompleted", "taskId": headers["TaskInstanceId"], "jobId": headers["JobId"]}
        return {**body, "result": result, **other}

    def ask(self, method: str, path: str, body: object = None, **more: Any) -> TestResponse:
        return self.ado.ask(method, path, body, **{"headers": self.bearer, **more})

    def complete(self, result: str = "succeeded", **more: Any) -> TestResponse:
        body = self.completion(result)
        validate("ado_task_event", body)
        return self.ask("POST", f"{self.plan_path()}/events", body, **more)

    def refused(self, status: int, key: str, method: str, path: str, body: object = None, **more: Any) -> str:
        return self.ado.refused(status, key, method, path, body, **{"headers": self.bearer, **more})

    def good(self, contract: str, method: str, path: str, body: object = None, **more: Any) -> Any:
        return self.ado.good(contract, method, path, body, **{"headers": self.bearer, **more})


def with_agentless(**changes: Any) -> Declaration:
    """Return the declaration of the tests with other settings for agentless tasks."""
    return replace(DECLARATION, agentless=replace(DECLARATION.agentless, **changes))


@dataclass
class Callee:
    """A service that tasks call.

    :param reply: returns status and body for each request.
    """

    reply: Callable[[Request], tuple[int, str]]
    url: str = ""
    received: list[Request] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self) -> Any:
        """The JSON document of the only request."""
        (request,) = self.received
        return json.loads(request.get_data())

    def answer(self, request: Request) -> Response:
        self.received.append(request)
        status, text = self.reply(request)
        return Response(text, status, {"Location": "/elsewhere"})


@contextmanager
def serve_callee(reply: Callable[[Request], tuple[int, str]]) -> Iterator[Callee]:
    """Serve on a free port. At the end, set ``release``, for which ``reply`` may wait."""
    callee = Callee(reply)
    with serving(Request.application(callee.answer)) as server:
        callee.url = server.url
        try:
            yield callee
        finally:
            callee.release.set()
