"""If a worker crashes at any point while a task waits, the task is completed exactly once, and the wait ends.

The points are those that a step actually passes, as in ``test_crash_matrix``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from devstack.ado import EVENTS_PATH, Fault, Match, StartedTask, TaskRecord
from shared.journal.records import WAIT_PREFIX, Record, Selection, State
from shared.waits.wait import Wait
from tests.crash.stage import EARLIER, LATER, LONG_AGO, NOW, EmptyJournal, Stage, Workers, deaths, new_stage
from tests.crash.worker import DEFERRED, DIED
from tests.support.builders import event_text
from tests.support.effort import amount

BODY = json.dumps({"run_id": "run-1"})
EVENT = event_text("RunStatusChanged", {"runId": "run-1", "runStatus": "Completed"})


@dataclass
class Scene:
    """A stage and a waiting task."""

    stage: Stage
    task: StartedTask

    def step(self, action: str, offset: int, crash_at: int | None = None) -> tuple[int, list[str]]:
        """Run a step in a new process, and return its exit code and the points that it passed."""
        return self.stage.work(
            offset, crash_at=crash_at, action=action, headers=self.task.headers, body=BODY, event=EVENT
        )

    @property
    def task_record(self) -> TaskRecord:
        return self.stage.emulator.books.task_hub.task(self.task.record.id)

    @property
    def wait(self) -> Record | None:
        return next(self.stage.store.select(Selection(route_prefix=WAIT_PREFIX), 10), None)

    def check(self) -> None:
        """Check that the task was completed exactly once and its wait is over; without a wait, it was not completed."""
        wait = self.wait
        if wait is None:
            assert self.task_record.completions == 0
            return
        assert (self.task_record.completions, self.task_record.result) == (1, "succeeded")
        assert wait.state is State.COMPLETED
        assert not Wait.of(wait).sealed_token


STORIES = {
    "the event after the task": (["register"], "deliver"),
    "the task after the event": (["deliver"], "register"),
    "the event again, after the task was completed and the answer lost": (["register", "lost-after"], "deliver"),
    "the event again, after the request to complete the task was lost": (["register", "lost-before"], "deliver"),
    "a sweep, after the task was completed during its registration": (["deliver", "register"], "sweep"),
}


# The first two stories cover the differences between the stores.
ON_TABLES = list(STORIES)[: amount(1, long=2)]


@pytest.mark.parametrize(
    ("empty_journal", "story"),
    [*(("sqlite", story) for story in STORIES), *(("tables", story) for story in ON_TABLES)],
    indirect=["empty_journal"],
)
def test_a_worker_may_crash_at_any_point_of_a_wait(
    workers: Workers, tmp_path: Path, empty_journal: EmptyJournal, story: str
) -> None:
    before, action = STORIES[story]

    @contextmanager
    def prepared() -> Iterator[Scene]:
        keys = Fernet.generate_key().decode()
        with new_stage(workers, tmp_path, empty_journal, WAIT_TOKEN_KEYS=keys) as stage:
            scene = Scene(stage, stage.emulator.start_wait_task(stage.organization_url))
            for step in before:
                if step.startswith("lost"):
                    events = Match(method="POST", path=EVENTS_PATH)
                    stage.emulator.plan(Fault(accept=step == "lost-after", drop=True, match=events))
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
    for number in deaths(points):
        with prepared() as scene:
            code, passed = scene.step(action, EARLIER, crash_at=number)
            assert (code, passed[-1]) == (DIED, points[number])
            # Event Grid delivers an unacknowledged event again. A task does not repeat its request, but the timer runs.
            assert scene.step("deliver" if action == "deliver" else "sweep", NOW)[0] == 0, points[number]
            scene.check()


WRITES = {"after insert", "after replace", "after POST events", "after put", "after move", "after drop"}
RESUMED = {
    "the event, while the task cannot be completed": (["register", "throttled"], "deliver"),
    "the task after the event, which is completed before its answer": (["deliver"], "register"),
    "a message, after the task was completed and the answer lost": (["register", "lost-after", "deliver"], "resume"),
}


@pytest.mark.parametrize("empty_journal", ["sqlite"], indirect=True)
@pytest.mark.parametrize("story", RESUMED)
def test_with_a_resume_queue_no_later_delivery_is_needed(
    workers: Workers, tmp_path: Path, empty_journal: EmptyJournal, story: str
) -> None:
    """Only after a crash before the message of a task that was completed early, the sweep checks the task."""
    before, action = RESUMED[story]
    events = Match(method="POST", path=EVENTS_PATH)
    faults = {
        "throttled": Fault(accept=False, status=429, match=events),
        "lost-after": Fault(accept=True, drop=True, match=events),
    }

    @contextmanager
    def prepared() -> Iterator[Scene]:
        keys = Fernet.generate_key().decode()
        with new_stage(workers, tmp_path, empty_journal, WAIT_TOKEN_KEYS=keys, RESUME_STORAGE="sqlite") as stage:
            scene = Scene(stage, stage.emulator.start_wait_task(stage.organization_url))
            for step in before:
                if step in faults:
                    stage.emulator.plan(faults[step])
                else:
                    assert scene.step(step, LONG_AGO)[0] == 0
            yield scene

    def finish(scene: Scene) -> None:
        for offset in (NOW, LATER):
            assert scene.step("resume", offset)[0] == 0

    with prepared() as scene:
        code, points = scene.step(action, EARLIER)
        assert code == 0
        finish(scene)
        scene.check()
    assert {"register": "after put", "deliver": "after put", "resume": "after drop"}[action] in points
    wanted = amount(WRITES, long={*points})
    for number in [number for number, point in enumerate(points) if point in wanted]:
        with prepared() as scene:
            code, passed = scene.step(action, EARLIER, crash_at=number)
            assert (code, passed[-1]) == (DIED, points[number])
            if action == "deliver":
                assert scene.step("deliver", NOW)[0] == 0
            finish(scene)
            if action == "register" and "after put" not in passed:
                assert scene.step("sweep", LATER)[0] == 0
            scene.check()
