"""``python -m tests.crash.worker``: runs steps of the app, each in a new process that may crash.

The program imports the app once and forks a worker for each line of its standard input. A line is a step as JSON:

- ``environment``: the settings;
- ``action``: ``deliver`` (an ``event``), ``resume`` (take every message, whenever it is due, as the app's thread does
  with SQLite and the host with Azure), ``register`` (a waiting task, with ``headers`` and ``body``) or ``sweep``;
- ``clock_offset_seconds``: added to the clock of this worker. If a worker runs in the past, the lease of its claim has
  expired when the next worker starts, so tests do not have to wait;
- ``crash_at``: the number of the point at which the worker crashes, starting at 0, or null;
- ``die_within_request``: crashes half a second after this request is sent ("POST runs"), or null.

It prints the points that the worker passed, one per line (``point before insert``, ``point after POST runs``, …), the
worker's other output, and ``exit CODE``. Codes: 0 acknowledged, 3 deferred, -9 killed as planned.
"""

import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

from azure.storage.queue import QueueMessage
from coverage import Coverage

from handlers import DISPATCH, NAMES
from shared.clock import Clock, utc_now
from shared.composition import App, compose, load_configuration, open_due_queue, open_store
from shared.errors import DeliveryDeferred
from shared.http.message import HttpRequest, HttpResponse
from shared.http.transport import RequestsTransport
from shared.journal.records import JournalKey, Store
from shared.resume.azure_queue import AzureQueue
from shared.resume.queue import SQLITE, DueQueue
from shared.resume.resume import Resume
from shared.settings.table import Settings
from tests.support import ROOT
from tests.support.journal.stores import no_identity
from tests.support.journal.wrapped_store import WrappedQueue, WrappedStore, around_each_call

DEFERRED, DIED = 3, -signal.SIGKILL
POINT, EXIT = "point ", "exit "

# Modules that the app imports when it needs them. They are imported here, so no worker has to import them.
PRELOADED = (
    "_strptime",
    "azure.core.pipeline.transport._requests_basic",
    "azure.core.rest._requests_basic",
    "email.generator",
    "encodings.utf_8_sig",
    "shared.azure_devops.reconcile",
    "shared.journal.sqlite",
    "shared.journal.tables.backend",
    "shared.queueing.orphans",
    "shared.queueing.recovery",
    "shared.resume.deferrals",
    "shared.resume.sqlite_queue",
    "shared.waits.endpoint",
    "shared.waits.sweep",
    "shared.waits.task_client",
    "shared.waits.tokens",
)
LONGEST_SECONDS = 60


class Points:
    """Counts the points that are passed, and ends the process at one of them."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._plan = plan
        self._passed = 0

    def pass_by(self, name: str) -> None:
        print(POINT + name, flush=True)
        if self._passed == self._plan["crash_at"]:
            die()
        self._passed += 1


def die() -> None:
    """Die as a process does that is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


class VisibleAtOnce(AzureQueue):
    """A queue whose messages are visible at once, because the clock of the service cannot be set."""

    def put(self, key: JournalKey, after: timedelta, reason: str) -> str:
        return super().put(key, timedelta(), reason)

    def move(self, ticket: str, after: timedelta) -> bool:
        return super().move(ticket, timedelta())

    def take_all(self) -> list[QueueMessage]:
        """Take the messages, as the host does. If this process dies, they are visible again."""
        found = list(self._client.receive_messages(messages_per_page=32))
        for message in found:
            message.pop_receipt = self._client.update_message(message, visibility_timeout=0).pop_receipt
        return found

    def finish(self, message: QueueMessage) -> None:
        """Remove a message that was taken, as the host does after the function has returned."""
        self._client.delete_message(message)


def crashing_transport(plan: Mapping[str, Any], points: Points) -> Callable[..., HttpResponse]:
    """Return a transport with a point before and after each request, named after its method and path."""
    transport = RequestsTransport(1)

    def send(request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        name = f"{request.method} {urlsplit(request.url).path.rpartition('/')[2]}"
        if name == plan["die_within_request"]:
            threading.Timer(0.5, die).start()
        answer = around_each_call(points.pass_by)(name, transport)(request, authorization, timeout_seconds)
        assert isinstance(answer, HttpResponse)
        return answer

    return send


def main() -> None:
    """Fork a worker for each step, one after the other."""
    for module in PRELOADED:
        importlib.import_module(module)
    _keep_coverage()
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            _work(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(f"{EXIT}{os.waitstatus_to_exitcode(status)}", flush=True)


def _work(plan: Mapping[str, Any]) -> NoReturn:
    """Do one step and end this process."""
    faulthandler.dump_traceback_later(LONGEST_SECONDS, exit=True)
    code = 1
    try:
        os.environ.update(plan["environment"])
        code = _act(_app(plan), plan)
    except Exception:  # noqa: BLE001 - the test shows any exception
        traceback.print_exc()
    _keep_coverage()
    sys.stdout.flush()
    os._exit(code)


def _keep_coverage() -> None:
    """Save the coverage data. A worker that crashes need not, because the same step also runs without a crash."""
    if (measurement := Coverage.current()) is not None:
        measurement.switch_context("")  # unlike save(), it does not look for files that were never imported


def _app(plan: Mapping[str, Any]) -> App:
    offset = timedelta(seconds=plan["clock_offset_seconds"])

    def clock() -> datetime:
        return utc_now() + offset

    configuration = load_configuration(os.environ, ROOT, NAMES)
    points, store = Points(plan), open_store(configuration.settings)
    queue = _open_queue(configuration.settings, store, clock)
    return compose(
        configuration,
        DISPATCH,
        store=WrappedStore(store, around_each_call(points.pass_by)),
        queue=None if queue is None else WrappedQueue(queue, around_each_call(points.pass_by)),
        transport=crashing_transport(plan, points),
        clock=clock,
    )


def _open_queue(settings: Settings, store: Store, clock: Clock) -> DueQueue | None:
    if settings.has_resume_trigger:
        return VisibleAtOnce(settings.resume_storage or "", settings.resume_queue, no_identity, connections=1)
    return open_due_queue(settings, store, clock) if settings.has_resume else None


def _act(app: App, plan: Mapping[str, Any]) -> int:
    if plan["action"] == "deliver":
        try:
            app.relay.deliver(plan["event"])
        except DeliveryDeferred as exc:
            print(exc, file=sys.stderr)
            return DEFERRED
        return 0
    if plan["action"] == "resume":
        assert app.resumption is not None
        _resume(app.resumption.resume, cast("Any", app.resumption.queue), os.environ["RESUME_STORAGE"])
        return 0
    assert app.bridge is not None
    if plan["action"] == "register":
        answer = app.bridge.endpoint.answer(plan["headers"], plan["body"].encode())
        app.bridge.endpoint._pool.shutdown()  # what it does after the answer is done
        print(answer.document, file=sys.stderr)
        return 0 if answer.status == 202 else DEFERRED
    app.bridge.sweep.run()
    return 0


def _resume(resume: Resume, queue: Any, storage: str) -> None:
    if storage == SQLITE:
        queue.hurry()
        while (taken := queue.take()) is not None:
            resume.go_on(taken.key, taken.ticket)
    else:
        for message in queue.take_all():
            resume.take_up(message.content, message.dequeue_count)
            queue.finish(message)


if __name__ == "__main__":
    main()
