"""``python -m tests.crash.worker``: one step of the app in a process of its own, which may die on the way.

What it does is in the environment variable ``CRASH_PLAN``, as JSON:

- ``action``: ``deliver`` (an ``event``), ``register`` (a task that waits, with ``headers`` and ``body``) or ``sweep``;
- ``clock_offset_seconds``: how far this process' clock is off. One that lives in the past leaves a claim whose lease
  has lapsed by the time of the next process, so no test has to wait for it;
- ``crash_at``: the number of the point, from 0, at which it dies, or null;
- ``die_within_request``: dies half a second after this request begins to wait for its answer ("POST runs"), or null.

It prints the points that it passed, one a line: ``before insert``, ``after POST runs``, … Exit code: 0 acknowledged,
3 deferred, 9 died as planned.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.composition import App, compose, load_configuration, open_store
from shared.errors import DeliveryDeferred
from shared.http.message import HttpRequest, HttpResponse
from shared.http.transport import RequestsTransport
from tests.support import ROOT

DEFERRED, DIED = 3, 9


class Points:
    """Counts the points that are passed, and dies at one of them."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._plan = plan
        self._passed = 0

    def pass_by(self, name: str) -> None:
        print(name, flush=True)
        if self._passed == self._plan["crash_at"]:
            os._exit(DIED)
        self._passed += 1

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.pass_by(f"before {name}")
            answer = call(*arguments, **options)
            self.pass_by(f"after {name}")
            return answer

        return wrapped


class CrashingStore:
    """Every method of a store, also one that is added some day, between two points."""

    def __init__(self, store: Any, points: Points) -> None:
        self._store = store
        self._points = points

    def __getattr__(self, name: str) -> Any:
        return self._points.wrap(name, getattr(self._store, name))


class CrashingTransport:
    """Every request between two points, named by its method and the end of its path."""

    def __init__(self, plan: Mapping[str, Any], points: Points) -> None:
        self._plan = plan
        self._points = points
        self._transport = RequestsTransport(1)

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        name = f"{request.method} {urlsplit(request.url).path.rpartition('/')[2]}"
        if name == self._plan["die_within_request"]:
            threading.Timer(0.5, os._exit, (DIED,)).start()
        answer = self._points.wrap(name, self._transport)(request, authorization, timeout_seconds)
        assert isinstance(answer, HttpResponse)
        return answer


def main() -> int:
    """Do the step; returns the exit code."""
    plan = json.loads(os.environ["CRASH_PLAN"])
    offset = timedelta(seconds=plan["clock_offset_seconds"])

    def clock() -> datetime:
        return utc_now() + offset

    configuration = load_configuration(os.environ, ROOT, NAMES)
    points = Points(plan)
    app = compose(
        configuration,
        DISPATCH,
        store=CrashingStore(open_store(configuration.settings), points),
        transport=CrashingTransport(plan, points),
        clock=clock,
    )
    return _act(app, plan)


def _act(app: App, plan: Mapping[str, Any]) -> int:
    if plan["action"] == "deliver":
        try:
            app.relay.deliver(plan["event"])
        except DeliveryDeferred as exc:
            print(exc, file=sys.stderr)
            return DEFERRED
        return 0
    assert app.bridge is not None
    if plan["action"] == "register":
        answer = app.bridge.endpoint.answer(plan["headers"], plan["body"].encode())
        print(answer.document, file=sys.stderr)
        return 0 if answer.status == 202 else DEFERRED
    app.bridge.sweep.run()
    return 0


def run(
    environment: Mapping[str, str],
    offset_seconds: int,
    *,
    crash_at: int | None = None,
    die_within: str | None = None,
    **action: str | dict[str, str],
) -> tuple[int, list[str]]:
    """One step in a process of its own; its exit code and the points it passed."""
    plan = {
        "clock_offset_seconds": offset_seconds,
        "crash_at": crash_at,
        "die_within_request": die_within,
        **action,
    }
    result = subprocess.run(
        [sys.executable, "-m", "tests.crash.worker"],
        cwd=ROOT,
        env={**os.environ, **environment, "CRASH_PLAN": json.dumps(plan)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode in {0, DEFERRED, DIED}, result.stderr
    return result.returncode, result.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main())
