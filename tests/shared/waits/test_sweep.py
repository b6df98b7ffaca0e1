"""Tests of the sweep: missing events, tasks that could not be completed, and waits after the timeout."""

from datetime import timedelta
from itertools import count

import pytest

from shared.credentials import Credential, Issued, Secret
from shared.errors import AnswerLost, RequestNotSent, RunStatusUnavailable
from shared.http.message import HttpRequest, HttpResponse
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from shared.journal.records import Record, Selection, State, Store
from shared.waits.aml import AmlRuns
from shared.waits.sweep import MAX_DURATION, Sweep, SweepResult
from shared.waits.wait import WAIT_PREFIX
from tests.support.builders import WORKSPACE
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.fakes import HANGS
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import Meanwhile, WrappedStore
from tests.support.waits import EVENT, a_request, the_end
from tests.support.waits import Scene as Waiting

MINUTE = 60
HOUR = 3600


class ManagementPlane:
    """A transport for Azure Resource Manager that knows the statuses of runs and records the requests."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.takes = 0.0
        """How many seconds an answer takes."""
        self.statuses: dict[str, str] = {}
        self.asked: list[str] = []
        self.given: list[float] = []
        """How many seconds each request may take."""
        self.headers: dict[str, str] = {}
        self.answer: HttpResponse | Exception | None = None
        self.expired: set[str] = set()

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        self.asked.append(request.url)
        self.given.append(timeout_seconds)
        self.headers = request.headers(authorization)
        self.clock.advance(self.takes)
        if authorization in self.expired:
            return HttpResponse(401, {}, b"")
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        run_id = request.url.rpartition("/")[2].partition("?")[0]
        if run_id not in self.statuses:
            return HttpResponse(404, {}, b'{"error": {"code": "UserError"}}')
        return HttpResponse(200, {}, b'{"properties": {"status": "%s"}}' % self.statuses[run_id].encode())


class Scene(Waiting):
    """Waits with a sweep, and Azure ML with their runs."""

    def __init__(self, clock: ManualClock, store: Store | None = None) -> None:
        super().__init__(store or MemoryStore(), clock)
        self.clock: ManualClock = clock
        self.azure = ManagementPlane(clock)
        self.sweep = a_sweep(self, aml_runs(self.azure))


@pytest.fixture
def scene(clock: ManualClock) -> Scene:
    return Scene(clock)


def aml_runs(azure: ManagementPlane) -> AmlRuns:
    numbers, clock = count(1), azure.clock
    credential = Credential(lambda: Issued(Secret(f"Bearer {secret('manager')}-{next(numbers)}")), clock)
    sender = Sender(azure, ThrottleGate(clock), clock=clock, sleep=lambda _: None)
    return AmlRuns("https://management.azure.com", WORKSPACE, sender, credential)


def a_sweep(scene: Scene, runs: AmlRuns | None) -> Sweep:
    return Sweep(
        scene.journal,
        scene.waits,
        runs,
        after=timedelta(minutes=30),
        timeout=timedelta(hours=72),
        clock=scene.clock,
    )


def wait(scene: Scene, run_id: str = "run-1", workspace: str | None = None) -> str:
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
        assert a_sweep(scene, None).run() == SweepResult(open=1)

    def test_after_one_failure_it_is_not_asked_again_in_this_sweep(
        self, scene: Scene, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(5):
            wait(scene, f"run-{number}")
        scene.azure.answer = HttpResponse(403, {}, b"{}")
        scene.clock.advance(31 * MINUTE)
        assert scene.sweep.run() == SweepResult(open=5)
        assert len(scene.azure.asked) == 1
        assert "the role Reader" in caplog.text


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
        assert a_sweep(scene, None).run() == SweepResult(open=2, given_up=1)

    def test_tasks_that_hang_share_the_time_of_the_sweep(self, scene: Scene) -> None:
        for number in range(3):
            wait(scene, f"run-{number}")
        scene.clock.advance(73 * HOUR)
        scene.tasks.plan("complete", HANGS, HANGS, HANGS)
        began = scene.clock()
        assert scene.sweep.run() == SweepResult(open=3)
        assert scene.clock() - began == MAX_DURATION


def test_oldest_waits_first_and_the_rest_in_the_next_sweep(scene: Scene) -> None:
    tasks = []
    for number in range(3):
        tasks.append(wait(scene, f"run-{number}"))
        scene.azure.statuses[f"run-{number}"] = "Completed"
        scene.clock.advance(1)
    scene.clock.advance(31 * MINUTE)
    scene.azure.takes = 30
    assert scene.sweep.run() == SweepResult(open=2, completed=1)
    assert scene.tasks.results == {tasks[0]: ["succeeded"]}
    assert scene.azure.given == [15, 10], "each has 15 s at most, and all 40 s"


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
