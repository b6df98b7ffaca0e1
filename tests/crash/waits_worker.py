"""``python -m tests.crash.waits_worker``: one step of the post-back bridge in a process of its own, which may die.

As ``tests.crash.worker``; in ``CRASH_PLAN`` there is also ``action``: ``register`` (with ``headers`` and ``body``),
``end`` (with ``event``) or ``sweep``.
"""

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.composition import App, compose, load_configuration, open_store
from shared.errors import DeliveryDeferred
from tests.crash.worker import DEFERRED, ROOT, CrashingStore, CrashingTransport, Points


def main() -> int:
    """Do one step; returns the exit code."""
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
    assert app.bridge is not None
    match plan["action"]:
        case "register":
            answer = app.bridge.endpoint.answer(plan["headers"], plan["body"].encode())
            print(answer.document, file=sys.stderr)
            return 0 if answer.status == 202 else DEFERRED
        case "end":
            try:
                app.relay.deliver(plan["event"])
            except DeliveryDeferred as exc:
                print(exc, file=sys.stderr)
                return DEFERRED
        case "sweep":
            app.bridge.sweep.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
