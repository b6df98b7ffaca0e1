"""Wherever a worker dies while a task waits: the task is told exactly once, and the wait ends.

The points are those that a step really passes, as in ``test_crash_matrix``. To die before a call is to die after the
one before it, so a worker dies before its first call and after each.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from devstack.ado import EVENTS_PATH, Emulator, Fault, Match, StartedTask, TaskRecord, load_declaration, serve
from shared.clock import utc_now
from shared.journal.records import Record, Selection, State, Store
from shared.waits.wait import WAIT_PREFIX, Wait
from tests.crash.test_crash_matrix import EARLIER, LONG_AGO, NOW, PIPELINES, ROUTE, Backend, backend
from tests.crash.worker import DEFERRED, DIED, run
from tests.support.building import event_text
from tests.support.canaries import secret

__all__ = ["backend"]  # the fixture

BODY = json.dumps({"run_id": "run-1"})
EVENT = event_text("RunStatusChanged", {"runId": "run-1", "runStatus": "Completed"})


@dataclass
class Scene:
    """An emulator with a task that waits, a journal, and processes that come and go."""

    emulator: Emulator
    environment: dict[str, str]
    store: Store
    task: StartedTask
    offset_seconds: list[int]

    def step(self, action: str, offset: int, crash_at: int | None = None) -> tuple[int, list[str]]:
        """One step in a process of its own; its exit code and the points it passed."""
        self.offset_seconds[:] = [offset]
        return run(
            self.environment,
            offset,
            crash_at=crash_at,
            action=action,
            headers=self.task.headers,
            body=BODY,
            event=EVENT,
        )

    @property
    def told(self) -> TaskRecord:
        return self.emulator.books.task_hub.task(self.task.record.id)

    @property
    def wait(self) -> Record | None:
        return next(self.store.select(Selection(route_prefix=WAIT_PREFIX), 10), None)

    def check(self) -> None:
        """The task was told exactly once, and its wait is over; where none was kept, nobody told it anything."""
        wait = self.wait
        if wait is None:
            assert self.told.completions == 0
            return
        assert (self.told.completions, self.told.result) == (1, "succeeded")
        assert wait.state is State.COMPLETED
        assert not Wait.of(wait).sealed_token


@contextmanager
def new_scene(folder: Path, backend: Backend) -> Iterator[Scene]:
    """Everything from scratch."""
    (folder / "pipelines.yaml").write_text(PIPELINES)
    (folder / "routes.yaml").write_text(ROUTE)
    offset = [0]
    emulator = Emulator(
        load_declaration(folder / "pipelines.yaml"),
        pats={secret("pat")},
        clock=lambda: utc_now() + timedelta(seconds=offset[0]),
    )
    connection, store = backend()
    with serve(emulator) as served:
        environment = {
            "AZURE_DEVOPS_ORG_URL": served.organization_url,
            "AZURE_DEVOPS_PROJECT": "mlops",
            "AZURE_DEVOPS_AUTH": "pat",
            "AZURE_DEVOPS_EXT_PAT": secret("pat"),
            "JOURNAL_CONNECTION": connection,
            "ROUTES_FILE": str(folder / "routes.yaml"),
            "WAIT_TOKEN_KEYS": Fernet.generate_key().decode(),
        }
        yield Scene(emulator, environment, store, emulator.start_wait_task(served.organization_url), offset)


STORIES = {
    "the event after the task": (["register"], "deliver"),
    "the task after the event": (["deliver"], "register"),
    "the event again, the answer lost after it was heard": (["register", "lost-after"], "deliver"),
    "the event again, the answer lost before it was heard": (["register", "lost-before"], "deliver"),
    "a sweep, the task told before its answer": (["deliver", "register"], "sweep"),
}


# What the stores differ in shows in the first two.
ON_TABLES = list(STORIES)[:2]


@pytest.mark.parametrize(
    ("backend", "story"),
    [*(("sqlite", story) for story in STORIES), *(("tables", story) for story in ON_TABLES)],
    indirect=["backend"],
)
def test_a_worker_that_dies_at_any_point(tmp_path: Path, backend: Backend, story: str) -> None:
    before, action = STORIES[story]

    @contextmanager
    def prepared() -> Iterator[Scene]:
        with new_scene(tmp_path, backend) as scene:
            for step in before:
                if step.startswith("lost"):
                    events = Match(method="POST", path=EVENTS_PATH)
                    scene.emulator.plan(Fault(accept=step == "lost-after", drop=True, match=events))
                    assert scene.step("deliver", LONG_AGO)[0] == DEFERRED
                else:
                    assert scene.step(step, LONG_AGO)[0] == 0
            yield scene

    with prepared() as scene:
        code, points = scene.step(action, EARLIER)
        assert code == 0
        scene.step("sweep", NOW)
        scene.check()
    assert len(points) >= 6
    deaths = [number for number, point in enumerate(points) if number == 0 or point.startswith("after ")]
    for number in deaths:
        with prepared() as scene:
            code, passed = scene.step(action, EARLIER, crash_at=number)
            assert (code, passed[-1]) == (DIED, points[number])
            # Event Grid comes again with what was not acknowledged; a task does not, and the timer does anyway.
            assert scene.step("deliver" if action == "deliver" else "sweep", NOW)[0] == 0, points[number]
            scene.check()
