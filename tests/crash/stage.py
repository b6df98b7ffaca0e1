"""The environment of the workers: an emulator and a journal, which outlive each worker."""

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from devstack.ado import Behavior, Emulator, load_declaration, serve
from shared.clock import utc_now
from shared.journal.records import Store
from shared.journal.sqlite import SqliteStore
from shared.resume.azure_queue import AzureQueue
from shared.resume.queue import SQLITE, Due, DueQueue
from shared.resume.sqlite_queue import SqliteQueue
from tests.crash.worker import DEFERRED, DIED, EXIT, POINT
from tests.support import ROOT
from tests.support.canaries import secret
from tests.support.journal.stores import no_identity

EmptyJournal = Callable[[], tuple[str, Store]]
"""Returns an empty journal: its connection, and its store for inspection."""

QUEUE = "nextstage-resume"  # the default of RESUME_QUEUE

LONG_AGO, EARLIER, NOW, LATER = -400, -200, 0, 200  # seconds; more than a lease apart

ROUTE = """version: 1
routes:
  - name: r
    event: RunCompleted
    organization_url: ${AZURE_DEVOPS_ORG_URL}
    project: mlops
    branch: main
    pipeline: crash-test
    parameters: { runId: "{{ run_id }}" }
"""
PIPELINES = """organization: contoso
project: mlops
branches: [main]
credentials:
  pat: { environment: DEVSTACK_PAT, default: unused-canary }
  token: { environment: DEVSTACK_TOKEN, default: unused-canary }
pipelines:
  - id: 21
    name: crash-test
    parameters:
      - { name: runId, type: string }
      - { name: nextstageKey, type: string, default: "" }
"""


class Workers:
    """Workers that are forked from one process that has already imported the app."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, plan: dict[str, Any]) -> tuple[int, list[str]]:
        """Run a step in a new process, and return its exit code and the points that it passed."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(plan) + "\n")
        self._server.stdin.flush()
        lines: list[str] = []
        for line in self._server.stdout:
            if line.startswith(EXIT):
                code = int(line.removeprefix(EXIT))
                assert code in {0, DEFERRED, DIED}, "".join(lines)
                return code, [one.removeprefix(POINT).rstrip() for one in lines if one.startswith(POINT)]
            lines.append(line)
        raise AssertionError("the process that forks workers has ended:\n" + "".join(lines))

    def close(self) -> None:
        self._server.communicate()


@dataclass
class Stage:
    """An emulator and a journal, which one worker after the other uses."""

    workers: Workers
    emulator: Emulator
    organization_url: str
    store: Store
    environment: dict[str, str]
    offset_seconds: list[int]
    """How many seconds the clocks of the current worker and of the emulator are in the past."""

    def messages(self) -> list[Due]:
        """Return the messages that wait."""
        storage = self.environment["RESUME_STORAGE"]
        queue: DueQueue
        if storage == SQLITE:
            assert isinstance(self.store, SqliteStore)
            queue = SqliteQueue(self.store, timedelta(seconds=60))
        else:
            queue = AzureQueue(storage, QUEUE, no_identity, connections=1)
        with closing(queue):
            return list(queue.due(9))

    def work(
        self, offset_seconds: int, *, crash_at: int | None = None, die_within: str | None = None, **action: Any
    ) -> tuple[int, list[str]]:
        """Run a step in a new process, and return its exit code and the points that it passed."""
        self.offset_seconds[:] = [offset_seconds]
        return self.workers.run(
            {
                "environment": self.environment,
                "clock_offset_seconds": offset_seconds,
                "crash_at": crash_at,
                "die_within_request": die_within,
                **action,
            }
        )


def deaths(points: list[str], calls: Collection[str] | None = None) -> list[int]:
    """Return the points at which to die: a death before a call is the same as one after the previous call.

    :param calls: only after these calls; None for all.
    """
    return [
        number
        for number, (when, _, call) in enumerate(point.partition(" ") for point in points)
        if number == 0 or (when == "after" and (calls is None or call in calls))
    ]


@contextmanager
def new_stage(
    workers: Workers,
    folder: Path,
    empty_journal: EmptyJournal,
    route: str = ROUTE,
    behavior: Behavior | None = None,
    *,
    resumes: bool = False,
    **settings: str,
) -> Iterator[Stage]:
    """Set up a new stage.

    :param behavior: the emulator's switches; None for its defaults.
    :param resumes: whether deferred events come back through a queue, in the storage of the journal.
    """
    (folder / "pipelines.yaml").write_text(PIPELINES)
    (folder / "routes.yaml").write_text(route)
    offset = [0]
    emulator = Emulator(
        load_declaration(folder / "pipelines.yaml"),
        pats={secret("pat")},
        clock=lambda: utc_now() + timedelta(seconds=offset[0]),
        behavior=behavior,
    )
    connection, store = empty_journal()
    if resumes:
        settings["RESUME_STORAGE"] = SQLITE if connection.startswith("sqlite:") else connection
    with serve(emulator) as served:
        environment = {
            "AZURE_DEVOPS_ORG_URL": served.organization_url,
            "AZURE_DEVOPS_PROJECT": "mlops",
            "AZURE_DEVOPS_AUTH": "pat",
            "AZURE_DEVOPS_EXT_PAT": secret("pat"),
            "JOURNAL_CONNECTION": connection,
            "ROUTES_FILE": str(folder / "routes.yaml"),
        }
        yield Stage(workers, emulator, served.organization_url, store, environment | settings, offset)
