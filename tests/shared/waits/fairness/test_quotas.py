"""How many tasks may wait at once."""

import pytest

from shared.errors import InvalidWait, PermissionDenied, TooManyWaits
from tests.support.clock import ManualClock
from tests.support.journal.memory_store import MemoryStore
from tests.support.waits import EVENT, ORGANIZATION, Scene, a_request, a_task, the_end

PLAN = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def scene(clock: ManualClock) -> Scene:
    return Scene(MemoryStore(), clock, per_organization=5, per_plan=2)


def register(scene: Scene, **changes: str) -> None:
    scene.waits.register(a_request(a_task(**changes)), scene.in_seconds())


def test_tasks_of_one_plan(scene: Scene) -> None:
    task = a_task(plan_id=PLAN)
    scene.waits.register(a_request(task), scene.in_seconds())
    register(scene, plan_id=PLAN)
    expected = f"2 tasks of plan {PLAN} wait already, and WAIT_LIMIT_PER_PLAN is 2; run the job again when"
    with pytest.raises(TooManyWaits, match=expected):
        register(scene, plan_id=PLAN)
    register(scene)
    scene.waits.register(a_request(task), scene.in_seconds())  # it is safe to repeat


@pytest.mark.parametrize(
    "spelling",
    [
        ORGANIZATION,
        ORGANIZATION.upper().replace("HTTPS", "https"),
        "https://dev.azure.com:443/contoso",
        "https://contoso.visualstudio.com",
        "https://contoso.visualstudio.com:443/DefaultCollection",
        "https://contoso.visualstudio.com/anything",
        "https://dev.azure.com/contoso/anything",
    ],
)
def test_tasks_of_one_organization(scene: Scene, spelling: str) -> None:
    for _ in range(5):
        register(scene)
    expected = f"5 tasks of {ORGANIZATION} wait already, and WAIT_LIMIT_PER_ORGANIZATION is 5"
    with pytest.raises(TooManyWaits, match=expected):
        register(scene, plan_url=spelling)
    register(scene, plan_url="https://dev.azure.com/fabrikam")
    register(scene, plan_url="https://tfs.contoso.com/tfs/one")


def test_waits_that_have_ended_and_those_of_other_instances(scene: Scene, clock: ManualClock) -> None:
    other = Scene(scene.store, clock, per_organization=5, per_plan=2)
    register(scene)
    for _ in range(3):
        register(other)
    clock.advance(61)
    register(scene)
    with pytest.raises(TooManyWaits):
        register(scene)
    scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
    clock.advance(61)
    register(scene)


def test_a_refused_task_does_not_count(scene: Scene) -> None:
    for _ in range(6):
        scene.tasks.plan("show_lines", PermissionDenied("HTTP 403"))
        with pytest.raises(InvalidWait):
            register(scene, plan_id=PLAN)
    register(scene, plan_id=PLAN)
