"""The sweep: tasks whose run's event never came, tasks that were left untold, tasks that wait for too long."""

from datetime import timedelta
from itertools import count

import pytest

from shared.credentials import Credential, Issued, Secret
from shared.errors import AnswerLost, RequestNotSent, RunStatusUnavailable
from shared.http.message import HttpRequest, HttpResponse
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from shared.journal.records import Record, Selection, State
from shared.waits.aml import AmlRuns
from shared.waits.sweep import MAX_DURATION, Sweep, Swept
from shared.waits.wait import WAIT_PREFIX
from tests.support.building import WORKSPACE
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.fakes import HANGS
from tests.support.memory_store import MemoryStore
from tests.support.stepping import Meanwhile, SteppingStore
from tests.support.waits import EVENT, Scene, a_request, the_end

MINUTE = 60
HOUR = 3600


class ManagementPlane:
    """Azure Resource Manager as a transport: statuses of runs, and what was asked."""

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}
        self.asked: list[str] = []
        self.answer: HttpResponse | Exception | None = None
        self.expired: set[str] = set()

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        self.asked.append(request.url)
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


@pytest.fixture
def scene(clock: ManualClock) -> Scene:
    return Scene(MemoryStore(), clock)


@pytest.fixture
def azure() -> ManagementPlane:
    return ManagementPlane()


def aml_runs(azure: ManagementPlane, clock: ManualClock) -> AmlRuns:
    numbers = count(1)
    credential = Credential(lambda: Issued(Secret(f"Bearer {secret('manager')}-{next(numbers)}")), clock)
    sender = Sender(azure, ThrottleGate(clock), clock=clock, sleep=lambda _: None)
    return AmlRuns("https://management.azure.com", WORKSPACE, sender, credential)


@pytest.fixture
def sweep(scene: Scene, azure: ManagementPlane, clock: ManualClock) -> Sweep:
    return a_sweep(scene, aml_runs(azure, clock))


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
    """Lets a task wait; its id."""
    request = a_request(run_id=run_id, workspace=workspace)
    scene.waits.register(request, scene.in_seconds())
    return request.task.task_instance_id


def records(scene: Scene) -> list[Record]:
    return list(scene.journal.select(Selection(route_prefix=WAIT_PREFIX), 100))


class TestAskingAzureMl:
    @pytest.mark.parametrize(
        ("status", "told"),
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
    def test_a_run_whose_event_never_came(
        self, scene: Scene, sweep: Sweep, azure: ManagementPlane, clock: ManualClock, status: str, told: list[str]
    ) -> None:
        task = wait(scene)
        azure.statuses["run-1"] = status
        clock.advance(31 * MINUTE)
        assert sweep.run() == Swept(open=1, told=len(told))
        assert scene.tasks.results.get(task, []) == told

    def test_the_address(self, scene: Scene, sweep: Sweep, azure: ManagementPlane, clock: ManualClock) -> None:
        wait(scene)
        clock.advance(31 * MINUTE)
        sweep.run()
        assert azure.asked == [f"https://management.azure.com{WORKSPACE}/jobs/run-1?api-version=2024-04-01"]

    @pytest.mark.parametrize(("minutes", "workspace"), [(29, None), (31, "another")])
    def test_young_waits_and_other_workspaces_are_left_to_their_events(
        self,
        scene: Scene,
        sweep: Sweep,
        azure: ManagementPlane,
        clock: ManualClock,
        minutes: int,
        workspace: str | None,
    ) -> None:
        wait(scene, workspace=workspace)
        clock.advance(minutes * MINUTE)
        assert sweep.run() == Swept(open=1)
        assert azure.asked == []

    def test_off_when_no_workspace_is_set(self, scene: Scene, clock: ManualClock) -> None:
        wait(scene)
        clock.advance(31 * MINUTE)
        assert a_sweep(scene, None).run() == Swept(open=1)

    def test_one_failure_and_it_is_asked_no_more_in_this_sweep(
        self, scene: Scene, sweep: Sweep, azure: ManagementPlane, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(5):
            wait(scene, f"run-{number}")
        azure.answer = HttpResponse(403, {}, b"{}")
        clock.advance(31 * MINUTE)
        assert sweep.run() == Swept(open=5)
        assert len(azure.asked) == 1
        assert "the role Reader" in caplog.text

    def test_a_task_is_told_once_though_its_event_comes_late(
        self, scene: Scene, sweep: Sweep, azure: ManagementPlane, clock: ManualClock
    ) -> None:
        task = wait(scene)
        azure.statuses["run-1"] = "Completed"
        clock.advance(31 * MINUTE)
        sweep.run()
        scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
        assert sweep.run() == Swept()
        assert scene.tasks.results[task] == ["succeeded"]


class TestWhatIsKnownAlready:
    def test_a_task_that_was_told_before_its_answer(self, scene: Scene, sweep: Sweep, clock: ManualClock) -> None:
        scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
        task = wait(scene)
        clock.advance(10 * MINUTE)
        assert sweep.run() == Swept(open=1, told=1)
        assert scene.tasks.results[task] == ["succeeded"]
        assert records(scene)[0].state is State.COMPLETED

    def test_a_task_that_could_not_be_told_then(self, scene: Scene, sweep: Sweep, azure: ManagementPlane) -> None:
        task = wait(scene)
        scene.tasks.plan("complete", RequestNotSent("no connection"))
        scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
        assert sweep.run() == Swept(open=1, told=1)
        assert scene.tasks.results[task] == ["succeeded"]
        assert azure.asked == []

    def test_somebody_at_work_is_left_alone(self, scene: Scene, sweep: Sweep) -> None:
        task = wait(scene)
        scene.tasks.plan("complete", RequestNotSent("no connection"))
        scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
        scene.journal.take(records(scene)[0], scene.in_seconds())
        assert sweep.run() == Swept(open=1)
        assert task not in scene.tasks.results


class TestTimeIsUp:
    def test_the_task_fails_and_says_why(
        self, scene: Scene, sweep: Sweep, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        task = wait(scene)
        clock.advance(73 * HOUR)
        assert sweep.run() == Swept(open=1, told=1)
        assert scene.tasks.results[task] == ["failed"]
        (line,) = scene.tasks.logs[task]
        assert line.startswith("##[error]nextstage: run run-1 has not been seen to end within 72 h")
        assert "waits for run run-1 since" in caplog.text

    def test_a_run_that_has_ended_goes_before(
        self, scene: Scene, sweep: Sweep, azure: ManagementPlane, clock: ManualClock
    ) -> None:
        task = wait(scene)
        azure.statuses["run-1"] = "Completed"
        clock.advance(73 * HOUR)
        sweep.run()
        assert scene.tasks.results[task] == ["succeeded"]

    def test_though_azure_ml_cannot_be_asked(
        self, scene: Scene, sweep: Sweep, azure: ManagementPlane, clock: ManualClock
    ) -> None:
        tasks = [wait(scene, f"run-{number}") for number in range(2)]
        azure.answer = HttpResponse(403, {}, b"{}")
        clock.advance(73 * HOUR)
        assert sweep.run() == Swept(open=2, told=2)
        assert scene.tasks.results == {task: ["failed"] for task in tasks}

    def test_not_before_it_is_up(self, scene: Scene, sweep: Sweep, clock: ManualClock) -> None:
        task = wait(scene)
        clock.advance(71 * HOUR)
        sweep.run()
        assert task not in scene.tasks.results

    def test_nobody_can_be_told(self, scene: Scene, sweep: Sweep, clock: ManualClock) -> None:
        wait(scene)
        clock.advance(73 * HOUR)
        scene.tasks.plan("complete", RequestNotSent("no connection"), RequestNotSent("no connection"))
        assert sweep.run() == Swept(open=1)
        clock.advance(24 * HOUR)
        assert sweep.run() == Swept(open=1, given_up=1)
        assert records(scene)[0].state is State.CLOSED
        assert sweep.run() == Swept()

    def test_a_claim_that_is_lost_while_it_is_given_up_ends_no_sweep(self, clock: ManualClock) -> None:
        store = MemoryStore()

        def write() -> None:
            """Somebody else is quicker than the write that closes the oldest wait."""
            for record in store.select(Selection(route_prefix=WAIT_PREFIX), 10):
                store.replace(record)

        # The oldest is claimed and released, then given up: claimed as it was read, in vain, claimed anew, closed.
        meanwhile = Meanwhile("before replace", write, visit=5)
        scene = Scene(SteppingStore(store, meanwhile), clock)
        for number in range(2):
            wait(scene, f"run-{number}")
            clock.advance(1)
        clock.advance(97 * HOUR)
        scene.tasks.plan("complete", *[RequestNotSent("no connection")] * 2)
        assert a_sweep(scene, None).run() == Swept(open=2, given_up=1)

    def test_tasks_that_hang_share_the_time_of_the_sweep(self, scene: Scene, sweep: Sweep, clock: ManualClock) -> None:
        for number in range(3):
            wait(scene, f"run-{number}")
        clock.advance(73 * HOUR)
        scene.tasks.plan("complete", HANGS, HANGS, HANGS)
        began = clock()
        assert sweep.run() == Swept(open=3)
        assert clock() - began == MAX_DURATION


def test_the_oldest_go_first_and_what_is_left_waits_for_the_next_sweep(
    scene: Scene, sweep: Sweep, azure: ManagementPlane, clock: ManualClock
) -> None:
    tasks = []
    for number in range(3):
        tasks.append(wait(scene, f"run-{number}"))
        azure.statuses[f"run-{number}"] = "Completed"
        clock.advance(1)
    clock.advance(31 * MINUTE)
    slow = azure.__call__
    azure_asked = azure.asked

    class Slow(ManagementPlane):
        def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
            clock.advance(25)
            return slow(request, authorization, timeout_seconds)

    swept = a_sweep(scene, aml_runs(Slow(), clock)).run()
    assert swept == Swept(open=2, told=1)
    assert scene.tasks.results == {tasks[0]: ["succeeded"]}
    assert len(azure_asked) == 2


class TestWhatAzureMlMayAnswer:
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
    def test_it_is_not_known(
        self, azure: ManagementPlane, clock: ManualClock, answer: HttpResponse | Exception
    ) -> None:
        azure.answer = answer
        with pytest.raises(RunStatusUnavailable, match="run-1"):
            aml_runs(azure, clock).end_of("run-1", clock() + timedelta(seconds=5))

    def test_a_token_that_is_refused_is_not_shown_again(self, azure: ManagementPlane, clock: ManualClock) -> None:
        azure.expired.add(f"Bearer {secret('manager')}-1")
        azure.statuses["run-1"] = "Completed"
        runs = aml_runs(azure, clock)
        with pytest.raises(RunStatusUnavailable, match="the role Reader"):
            runs.end_of("run-1", clock() + timedelta(seconds=5))
        assert runs.end_of("run-1", clock() + timedelta(seconds=5)) is not None

    def test_a_name_that_needs_quoting(self, azure: ManagementPlane, clock: ManualClock) -> None:
        aml_runs(azure, clock).end_of("a/../b?c", clock() + timedelta(seconds=5))
        assert azure.asked[0].startswith(f"https://management.azure.com{WORKSPACE}/jobs/a%2F..%2Fb%3Fc?")
