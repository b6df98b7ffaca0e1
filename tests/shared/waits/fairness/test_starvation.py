"""No wait keeps the task of another one from being completed: hostile waits, many waits, and many that are over."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import DeliveryDeferred, RequestNotSent
from shared.journal.records import Selection, State
from shared.telemetry import Outcome
from shared.waits.fairness.backoff import LONGEST_PAUSE
from shared.waits.sweep import MAX_DURATION, Sweep
from shared.waits.wait import MAX_WAITS, SWEEP_PARTITION
from tests.support.azure import ManagementPlane, aml_runs
from tests.support.builders import WORKSPACE, routes, run_completed
from tests.support.clock import ManualClock
from tests.support.effort import only_long
from tests.support.fakes import FakePipelines, Reports
from tests.support.journal.memory_store import MemoryStore
from tests.support.relays import PLAIN, relay_over
from tests.support.waits import EVENT, ORGANIZATION, Lanes, Scene, a_request, a_task, the_end

MINUTE = 60
BUDGET = 25
RETRY_SECONDS = 10
"""Event Grid delivers an event again after 10 s, then after 30 s."""


@pytest.fixture
def scene(clock: ManualClock) -> Scene:
    return Scene(MemoryStore(), clock, workers=Lanes(clock), workspace_id=WORKSPACE)


def register(scene: Scene, run_id: str = "run-1", **task: str) -> str:
    """Register a task. Return its id."""
    request = a_request(a_task(**task), run_id)
    scene.waits.register(request, scene.in_seconds())
    return request.task.task_instance_id


def register_silent(scene: Scene, count: int, run_id: str = "run-1", organization: str = "silent-{}") -> None:
    """Register tasks of organizations that stop to answer afterwards."""
    for number in range(count):
        plan_url = f"https://{organization.format(number)}.visualstudio.com"
        scene.tasks.silent.discard(plan_url)
        register(scene, run_id, plan_url=plan_url)
        scene.tasks.silent.add(plan_url)


def manual(scene: Scene) -> ManualClock:
    assert isinstance(scene.clock, ManualClock)
    return scene.clock


def advance(scene: Scene, seconds: float) -> None:
    manual(scene).advance(seconds)


def deliver(scene: Scene, run_id: str = "run-1") -> list[Outcome]:
    began = scene.clock()
    decisions = scene.waits.run_ended(the_end(run_id), EVENT, scene.in_seconds(BUDGET))
    assert scene.clock() - began <= timedelta(seconds=BUDGET)
    return [decision.outcome for decision, _ in decisions]


def sweep(scene: Scene, azure: ManagementPlane | None = None, max_waits: int = MAX_WAITS) -> Sweep:
    """Return the sweep of a new process: it remembers nothing."""
    return Sweep(
        scene.journal,
        scene.waits,
        scene.workspaces,
        [] if azure is None else [aml_runs(azure)],
        after=timedelta(minutes=30),
        timeout=timedelta(hours=72),
        workers=scene.workers,
        max_waits=max_waits,
        clock=scene.clock,
    )


@pytest.mark.parametrize("hostile", [12, 60])
@pytest.mark.parametrize("organization", ["silent-{}", "silent"], ids=["many organizations", "one organization"])
def test_hostile_waits_for_the_same_run(scene: Scene, hostile: int, organization: str) -> None:
    """security.md: twelve of them took the whole time of each delivery, and the other task was never told."""
    honest = []
    for share in range(4):
        register_silent(scene, hostile // 4, organization=f"{share}-{organization}")
        honest.append(register(scene))
    assert Outcome.DEFERRED in deliver(scene)
    advance(scene, RETRY_SECONDS)
    deliver(scene)
    assert scene.tasks.results == {task: ["succeeded"] for task in honest}


@pytest.mark.parametrize("hostile", [12, 60])
def test_hostile_waits_in_a_sweep(scene: Scene, hostile: int) -> None:
    register_silent(scene, hostile, "run-2")
    honest = register(scene)
    scene.waits.ends.note(the_end("run-2"))
    scene.waits.ends.note(the_end())
    for _ in range(2):
        began = scene.clock()
        sweep(scene).run()
        assert scene.clock() - began <= MAX_DURATION
        advance(scene, 10 * MINUTE)
    assert scene.tasks.results == {honest: ["succeeded"]}


def test_an_organization_that_answers_again_after_a_pause(scene: Scene) -> None:
    tasks = [register(scene) for _ in range(12)]
    scene.tasks.silent = {ORGANIZATION}
    assert set(deliver(scene)) == {Outcome.DEFERRED}
    scene.tasks.silent = set()
    assert set(deliver(scene)) == {Outcome.DEFERRED}, "a pause"
    advance(scene, 200)
    assert set(deliver(scene)) == {Outcome.COMPLETED}
    assert scene.tasks.results == {task: ["succeeded"] for task in tasks}


def test_an_organization_that_does_not_answer_is_asked_less_often_and_costs_no_time(scene: Scene) -> None:
    register_silent(scene, 1)
    pauses = []
    for _ in range(8):
        deliver(scene)
        failed_at = scene.clock()
        advance(scene, 121)  # its request has settled
        while scene.waits._back_off.asks_at("https://silent-0.visualstudio.com") is not None:
            began = scene.clock()
            deliver(scene)
            assert scene.clock() == began
            advance(scene, 1)
        pauses.append(scene.clock() - failed_at)
    assert pauses[-1] == LONGEST_PAUSE
    assert pauses == sorted(pauses)


def test_1500_waits_and_100_ms_for_each_answer_of_azure_ml(scene: Scene) -> None:
    """reliability.md: three sweeps asked about the same 400 runs, and never about others that had ended."""
    azure = ManagementPlane(manual(scene))
    azure.takes = 0.1
    tasks = {f"run-{number}": register(scene, f"run-{number}") for number in range(1500)}
    ended = random.Random(7).sample(sorted(tasks), 50)
    azure.statuses = {run_id: "Completed" if run_id in ended else "Running" for run_id in tasks}
    advance(scene, 31 * MINUTE)
    for _ in range(2):
        sweep(scene, azure).run()
        advance(scene, 10 * MINUTE)
    assert scene.tasks.results == {tasks[run_id]: ["succeeded"] for run_id in ended}


def test_a_task_is_completed_although_azure_ml_has_used_up_its_share(scene: Scene) -> None:
    azure = ManagementPlane(manual(scene))
    azure.takes = 5.8
    azure.statuses = {"run-1": "Completed"}
    task = register(scene)
    advance(scene, 31 * MINUTE)
    sweep(scene, azure).run()
    assert scene.tasks.results == {task: ["succeeded"]}


def slow_azure_with_400_runs(scene: Scene) -> ManagementPlane:
    """Let a task wait for each of 400 runs, for so long that a sweep asks about them all."""
    azure = ManagementPlane(manual(scene))
    azure.takes = 1.9
    for number in range(400):
        register(scene, f"run-{number}-0")
        azure.statuses[f"run-{number}-0"] = "Running"
    advance(scene, 31 * MINUTE)
    return azure


def test_a_sweep_continues_where_the_previous_one_stopped_in_any_process(scene: Scene) -> None:
    azure = slow_azure_with_400_runs(scene)
    not_reached = [sweep(scene, azure).run().not_reached for _ in range(3)]
    assert all(0 < number < 250 for number in not_reached)
    assert len(set(azure.asked)) == 400
    assert len(azure.asked) - 400 < 250, "no run is asked for a second time before the others"
    (place,) = scene.journal.select(Selection(SWEEP_PARTITION), 9)
    scene.store.replace(place._replace(document='["$other", "x"]'))
    assert sweep(scene, azure).run().open == 400, "a place that another program has changed"


def test_runs_that_are_asked_about_leave_time_for_tasks_that_could_not_be_completed(scene: Scene) -> None:
    honest = register(scene)
    scene.tasks.plan("complete", RequestNotSent("no connection"))
    assert deliver(scene) == [Outcome.DEFERRED]
    azure = slow_azure_with_400_runs(scene)
    assert sweep(scene, azure).run().not_reached > 0
    assert scene.tasks.results == {honest: ["succeeded"]}


def test_more_waits_than_one_sweep_reads(scene: Scene) -> None:
    tasks = [register(scene, f"run-{number}") for number in range(10)]
    for number in range(10):
        scene.waits.ends.note(the_end(f"run-{number}"))
    for number in range(100, 120):
        register(scene, f"run-{number}")
    for _ in range(5):
        sweep(scene, max_waits=10).run()
        advance(scene, 10 * MINUTE)
    assert scene.tasks.results == {task: ["succeeded"] for task in tasks}


def test_1000_waits_for_one_run(scene: Scene) -> None:
    """reliability.md: the event was acknowledged although 100 tasks were not told."""
    tasks = [register(scene) for _ in range(1000)]
    scene.tasks.takes = 0.1
    for _ in range(2):
        deliver(scene)
        advance(scene, RETRY_SECONDS)
    assert scene.tasks.results == {task: ["succeeded"] for task in tasks}


def test_a_delivery_that_cannot_tell_all_is_deferred_until_all_are_told(scene: Scene, clock: ManualClock) -> None:
    relay = relay_over(scene.store, FakePipelines(clock), routes(PLAIN), clock, report=Reports(), waits=scene.waits)
    tasks = [register(scene) for _ in range(300)]
    scene.tasks.takes = 1.5
    deliveries = 0
    while True:
        deliveries += 1
        try:
            relay.deliver(run_completed())
        except DeliveryDeferred:
            clock.advance(RETRY_SECONDS)
        else:
            break
    assert deliveries > 1
    assert scene.tasks.results == {task: ["succeeded"] for task in tasks}


def test_waits_for_a_run_of_the_same_name_do_not_hide_an_open_one(scene: Scene) -> None:
    other = scene.waits.register(replace(a_request(), workspace=WORKSPACE + "-2"), scene.in_seconds())
    register(scene)
    for number in range(MAX_WAITS):
        scene.store.insert(other._replace(key=other.key._replace(key=f"{number:064x}"), version=""))
    assert deliver(scene) == [Outcome.COMPLETED]


@only_long
def test_more_waits_than_one_delivery_reads(scene: Scene) -> None:
    first = scene.waits.register(a_request(), scene.in_seconds())
    for number in range(MAX_WAITS):
        scene.store.insert(first._replace(key=first.key._replace(key=f"{number:064x}"), version=""))
    decisions = scene.waits.run_ended(the_end(), EVENT, scene.in_seconds(BUDGET))
    assert [one.outcome for one, _ in decisions].count(Outcome.DEFERRED) == 1
    assert decisions[-1][0].reason == "more than 5000 tasks wait for run run-1; the next delivery completes the others"
    assert deliver(scene) == [Outcome.COMPLETED]


def test_a_delivery_tries_the_waits_that_the_previous_ones_have_not_reached(scene: Scene) -> None:
    honest = register(scene)  # the store returns the oldest wait last
    register_silent(scene, 150)
    for _ in range(2):
        deliver(scene)
        advance(scene, 60)
    assert scene.tasks.results == {honest: ["succeeded"]}


def test_a_delivery_tries_the_waits_first_whose_last_attempt_is_longest_ago(scene: Scene) -> None:
    honest = register(scene)
    register_silent(scene, 300)
    scene.tasks.silent.add(ORGANIZATION)
    for _ in range(4):
        deliver(scene)
        advance(scene, LONGEST_PAUSE.total_seconds() + 1)
    scene.tasks.silent.remove(ORGANIZATION)
    for _ in range(4):
        deliver(scene)
        advance(scene, LONGEST_PAUSE.total_seconds() + 1)
    assert scene.tasks.results == {honest: ["succeeded"]}


def test_1100_waits_that_are_over_do_not_hide_an_open_one(scene: Scene) -> None:
    first = scene.waits.register(a_request(), scene.in_seconds())
    deliver(scene, "another")
    honest = register(scene)
    over = first._replace(state=State.COMPLETED, version="")
    for number in range(1100):
        scene.store.insert(over._replace(key=over.key._replace(key=f"{number:064x}")))
    assert deliver(scene) == [Outcome.COMPLETED] * 2
    assert scene.tasks.results[honest] == ["succeeded"]
