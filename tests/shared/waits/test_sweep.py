"""Tests of the sweep: missing events, tasks that could not be completed, and waits after the timeout."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from shared.errors import AnswerLost, RequestNotSent, RunStatusUnavailable
from shared.http.message import HttpResponse
from shared.journal.records import WAIT_PREFIX, Record, Selection, State, Store
from shared.waits.aml import AmlRuns
from shared.waits.fairness.sharing import MAX_SHARE
from shared.waits.sweep import Sweep, SweepResult
from tests.support.azure import ManagementPlane, aml_runs
from tests.support.builders import WORKSPACE
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.fakes import HANGS
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import Meanwhile, WrappedStore
from tests.support.waits import EVENT, a_request, the_end
from tests.support.waits import Scene as Waiting

OTHER = WORKSPACE.replace("workspaces/ws", "workspaces/other")
MINUTE = 60
HOUR = 3600


class Scene(Waiting):
    """Waits with a sweep, and Azure ML with their runs."""

    def __init__(self, clock: ManualClock, store: Store | None = None) -> None:
        super().__init__(store or MemoryStore(), clock, workspace_id=WORKSPACE)
        self.clock: ManualClock = clock
        self.azure = ManagementPlane(clock)
        self.sweep = a_sweep(self, [aml_runs(self.azure)])


@pytest.fixture
def scene(clock: ManualClock) -> Scene:
    return Scene(clock)


def a_sweep(scene: Waiting, runs: Sequence[AmlRuns]) -> Sweep:
    return Sweep(
        scene.journal,
        scene.waits,
        scene.workspaces,
        runs,
        after=timedelta(minutes=30),
        timeout=timedelta(hours=72),
        clock=scene.clock,
    )


def wait(scene: Waiting, run_id: str = "run-1", workspace: str | None = None) -> str:
    """Register a task. Return its id."""
    request = a_request(run_id=run_id, workspace=workspace)
    scene.waits.register(request, scene.in_seconds())
    return request.task.task_instance_id


def records(scene: Scene) -> list[Record]:
    return list(scene.journal.select(Selection(route_prefix=WAIT_PREFIX), 100))


class TestAskingAzureMl:
    @pytest.mark.parametrize(
        ("status", "results"),
        [
            ("Completed", ["succeeded"]),
            ("Failed", ["failed"]),
            ("Canceled", ["canceled"]),
            ("CANCELLED", ["canceled"]),
            ("Running", []),
            ("NotResponding", []),
            ("", []),
        ],
    )
    def test_a_run_whose_event_never_arrived(self, scene: Scene, status: str, results: list[str]) -> None:
        task = wait(scene)
        scene.azure.statuses["run-1"] = status
        scene.clock.advance(31 * MINUTE)
        assert scene.sweep.run() == SweepResult(open=1, completed=len(results))
        assert scene.tasks.results.get(task, []) == results

    def test_the_address(self, scene: Scene) -> None:
        wait(scene, "a/../b?c")
        scene.clock.advance(31 * MINUTE)
        scene.sweep.run()
        jobs = f"https://management.azure.com{WORKSPACE}/jobs"
        assert scene.azure.asked == [f"{jobs}/a%2F..%2Fb%3Fc?api-version=2024-04-01"]
        expected = {"Accept", "Accept-Encoding", "Authorization", "User-Agent"}  # and no headers for Azure DevOps
        assert set(scene.azure.headers) == expected

    @pytest.mark.parametrize(("minutes", "workspace"), [(29, None), (31, "another")])
    def test_azure_ml_is_not_asked_about_young_waits_and_other_workspaces(
        self, scene: Scene, minutes: int, workspace: str | None
    ) -> None:
        wait(scene, workspace=workspace)
        scene.clock.advance(minutes * MINUTE)
        assert scene.sweep.run() == SweepResult(open=1)
        assert scene.azure.asked == []

    def test_off_when_no_workspace_is_set(self, scene: Scene) -> None:
        wait(scene)
        scene.clock.advance(31 * MINUTE)
        assert a_sweep(scene, []).run() == SweepResult(open=1)

    def test_after_three_failures_it_is_not_asked_again_in_this_sweep(
        self, scene: Scene, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(5):
            wait(scene, f"run-{number}")
        scene.azure.answer = HttpResponse(403, {}, b"{}")
        scene.clock.advance(31 * MINUTE)
        assert scene.sweep.run() == SweepResult(open=5, not_reached=2)
        assert len(scene.azure.asked) == 3
        assert "the role Reader" in caplog.text
        scene.sweep.run()
        assert len(set(scene.azure.asked[:5])) == 5, "the next sweep begins with the others"

    def test_each_run_is_looked_for_in_its_own_workspace(self, clock: ManualClock) -> None:
        scene = Waiting(MemoryStore(), clock, workspace_ids=[WORKSPACE, OTHER])
        here, there = ManagementPlane(clock), ManagementPlane(clock)
        for workspace in (WORKSPACE, OTHER):
            wait(scene, "run-1", workspace)
        here.statuses["run-1"], there.statuses["run-1"] = "Running", "Completed"
        clock.advance(31 * MINUTE)
        assert a_sweep(scene, [aml_runs(here), aml_runs(there, OTHER)]).run() == SweepResult(open=2, completed=1)
        assert [len(plane.asked) for plane in (here, there)] == [1, 1]
        assert OTHER in there.asked[0]

    def test_a_workspace_that_refuses_does_not_keep_the_others_from_being_asked(self, clock: ManualClock) -> None:
        scene = Waiting(MemoryStore(), clock, workspace_ids=[WORKSPACE, OTHER])
        here, there = ManagementPlane(clock), ManagementPlane(clock)
        for number in range(5):
            for workspace in (WORKSPACE, OTHER):
                wait(scene, f"run-{number}", workspace)
            there.statuses[f"run-{number}"] = "Completed"
        here.answer = HttpResponse(403, {}, b"{}")
        clock.advance(31 * MINUTE)
        runs = [aml_runs(here), aml_runs(there, OTHER)]
        assert a_sweep(scene, runs).run() == SweepResult(open=10, completed=5, not_reached=2)
        assert [len(plane.asked) for plane in (here, there)] == [3, 5]

    def test_a_slow_answer_leaves_time_to_complete_the_task(self, scene: Scene) -> None:
        wait(scene)
        scene.azure.statuses["run-1"] = "Completed"
        scene.azure.takes = MAX_SHARE.total_seconds()
        scene.clock.advance(31 * MINUTE)
        assert scene.sweep.run() == SweepResult(open=1, completed=1)

    def test_tasks_that_wait_for_the_same_run_need_one_answer(self, scene: Scene) -> None:
        for _ in range(5):
            wait(scene)
        scene.azure.statuses["run-1"] = "Completed"
        scene.clock.advance(31 * MINUTE)
        assert scene.sweep.run() == SweepResult(open=5, completed=5)
        assert len(scene.azure.asked) == 1

    def test_a_name_that_no_run_can_have_does_not_keep_azure_ml_from_being_asked(self, scene: Scene) -> None:
        for number in range(4):
            wait(scene, f"run:{number}")
        scene.azure.answer = HttpResponse(400, {}, b"{}")
        scene.clock.advance(31 * MINUTE)
        assert scene.sweep.run() == SweepResult(open=4)
        assert len(scene.azure.asked) == 4


class TestKnownEnds:
    def test_a_task_that_was_completed_before_its_answer(self, scene: Scene) -> None:
        scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
        task = wait(scene)
        scene.clock.advance(10 * MINUTE)
        assert scene.sweep.run() == SweepResult(open=1, completed=1)
        assert scene.tasks.results[task] == ["succeeded"]
        assert records(scene)[0].state is State.COMPLETED

    def test_a_task_that_could_not_be_completed_at_the_event(self, scene: Scene) -> None:
        task = wait(scene)
        scene.tasks.plan("complete", RequestNotSent("no connection"))
        scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
        assert scene.sweep.run() == SweepResult(open=1, completed=1)
        assert scene.tasks.results[task] == ["succeeded"]
        assert scene.azure.asked == []

    def test_a_claimed_wait_is_skipped(self, scene: Scene) -> None:
        task = wait(scene)
        scene.tasks.plan("complete", RequestNotSent("no connection"))
        scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
        scene.journal.take(records(scene)[0], scene.in_seconds())
        assert scene.sweep.run() == SweepResult(open=1)
        assert task not in scene.tasks.results


class TestTimeout:
    def test_the_task_fails_with_the_reason(self, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
        task = wait(scene)
        scene.clock.advance(73 * HOUR)
        assert scene.sweep.run() == SweepResult(open=1, completed=1)
        assert scene.tasks.results[task] == ["failed"]
        (line,) = scene.tasks.logs[task]
        assert line.startswith("##[error]nextstage: no final status of run run-1 is known after 72 h")
        assert "has waited for run run-1 since" in caplog.text

    @pytest.mark.parametrize(("hours", "status", "results"), [(71, "Running", []), (73, "Completed", ["succeeded"])])
    def test_no_failure_before_the_timeout_or_if_the_run_has_ended(
        self, scene: Scene, hours: int, status: str, results: list[str]
    ) -> None:
        task = wait(scene)
        scene.azure.statuses["run-1"] = status
        scene.clock.advance(hours * HOUR)
        scene.sweep.run()
        assert scene.tasks.results.get(task, []) == results

    def test_the_timeout_applies_even_if_azure_ml_does_not_answer(self, scene: Scene) -> None:
        tasks = [wait(scene, f"run-{number}") for number in range(2)]
        scene.azure.answer = HttpResponse(403, {}, b"{}")
        scene.clock.advance(73 * HOUR)
        assert scene.sweep.run() == SweepResult(open=2, completed=2)
        assert scene.tasks.results == {task: ["failed"] for task in tasks}

    def test_a_task_that_cannot_be_completed_is_given_up_after_a_day(self, scene: Scene) -> None:
        wait(scene)
        scene.clock.advance(73 * HOUR)
        scene.tasks.plan("complete", RequestNotSent("no connection"), RequestNotSent("no connection"))
        assert scene.sweep.run() == SweepResult(open=1)
        scene.clock.advance(24 * HOUR)
        assert scene.sweep.run() == SweepResult(open=1, given_up=1)
        assert records(scene)[0].state is State.CLOSED
        assert scene.sweep.run() == SweepResult()

    def test_a_claim_lost_while_giving_up_does_not_end_the_sweep(self, clock: ManualClock) -> None:
        store = MemoryStore()

        def write() -> None:
            """Write the oldest wait just before the sweep closes it."""
            for record in store.select(Selection(route_prefix=WAIT_PREFIX), 10):
                store.replace(record)

        # The oldest wait is claimed and released. Then it is given up: a claim with the old version fails, a second one
        # succeeds, and the wait is closed.
        meanwhile = Meanwhile("before replace", write, visit=5)
        scene = Scene(clock, WrappedStore(store, meanwhile))
        for number in range(2):
            wait(scene, f"run-{number}")
            scene.clock.advance(1)
        scene.clock.advance(97 * HOUR)
        scene.tasks.plan("complete", *[RequestNotSent("no connection")] * 2)
        assert a_sweep(scene, []).run() == SweepResult(open=2, given_up=1)

    def test_tasks_that_hang_share_the_time_of_the_sweep(self, scene: Scene) -> None:
        for number in range(3):
            wait(scene, f"run-{number}")
        scene.clock.advance(73 * HOUR)
        scene.tasks.plan("complete", HANGS, HANGS, HANGS)
        began = scene.clock()
        assert scene.sweep.run() == SweepResult(open=3)
        assert scene.clock() - began == 3 * MAX_SHARE


class TestAnswersOfAzureMl:
    @pytest.mark.parametrize(
        "answer",
        [
            HttpResponse(500, {}, b""),
            HttpResponse(200, {}, b"<html>"),
            HttpResponse(200, {}, b"{}"),
            HttpResponse(200, {}, b'{"properties": []}'),
            RequestNotSent("no connection"),
            AnswerLost("timeout"),
        ],
    )
    def test_no_status(self, scene: Scene, answer: HttpResponse | Exception) -> None:
        scene.azure.answer = answer
        with pytest.raises(RunStatusUnavailable, match="run-1"):
            aml_runs(scene.azure).end_of("run-1", scene.in_seconds(5))

    def test_a_rejected_token_is_not_sent_again(self, scene: Scene) -> None:
        scene.azure.expired.add(f"Bearer {secret('manager')}-1")
        scene.azure.statuses["run-1"] = "Completed"
        runs = aml_runs(scene.azure)
        with pytest.raises(RunStatusUnavailable, match="the role Reader"):
            runs.end_of("run-1", scene.in_seconds(5))
        assert runs.end_of("run-1", scene.in_seconds(5)) is not None
