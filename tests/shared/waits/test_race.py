"""Tests of races: registration and end of a run at the same time, in any order, are completed exactly once."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest

from shared.clock import utc_now
from shared.journal.records import Store
from shared.telemetry import Outcome
from shared.waits.fairness.sharing import Workers
from tests.support.effort import amount
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.wrapped_store import WrappedStore
from tests.support.waits import EVENT, Scene, a_request, the_end

# The task of an uncertain record is checked after this many seconds. In production: 30.
SETTLE_SECONDS = 0.02


def play(scene: Scene, pool: ThreadPoolExecutor, number: int, order: tuple[str, ...]) -> list[str]:
    """Play one round with its own run and task. Return the results that the task received."""
    request = a_request(run_id=f"run-{number}")
    together = threading.Barrier(len(order))

    def register() -> bool:
        scene.waits.register(request, utc_now() + timedelta(seconds=25))
        return True

    def end() -> bool:
        decisions = scene.waits.run_ended(the_end(f"run-{number}"), EVENT, utc_now() + timedelta(seconds=25))
        return all(decision.outcome is not Outcome.DEFERRED for decision, _ in decisions)

    def at_once(step: Callable[[], bool]) -> None:
        together.wait()
        until_done(step)

    steps = [{"register": register, "end": end}[name] for name in order]
    for done in [pool.submit(at_once, step) for step in steps]:
        done.result()
    assert request.task.task_instance_id in scene.tasks.results, "both happened, but the task was not completed"
    until_done(end)  # a completion before the task's answer is checked, and not repeated
    return scene.tasks.results[request.task.task_instance_id]


def until_done(step: Callable[[], bool]) -> None:
    """Repeat a step, as Event Grid and the sweep do."""
    for _ in range(200):
        if step():
            return
        time.sleep(SETTLE_SECONDS)
    raise AssertionError("the step was never finished")


def rounds(store: Store, count: int) -> None:
    once = [("register", "end"), ("end", "register")]
    orders = cycle([*once, *(order * 2 for order in once)])
    scene = Scene(store, utc_now, settle_seconds=SETTLE_SECONDS)
    with ThreadPoolExecutor(4) as pool:
        for number, order in zip(range(count), orders, strict=False):
            assert play(scene, pool, number, order) == ["succeeded"]


def delayed(_: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Delay each call by a random time, so that threads overtake each other."""

    def late(*arguments: Any) -> Any:
        time.sleep(random.uniform(0, 0.0005))
        return call(*arguments)

    return late


def test_rounds_in_parallel() -> None:
    rounds(WrappedStore(MemoryStore(), delayed), amount(120, long=1000))


def test_the_rounds_detect_a_task_that_is_completed_twice() -> None:
    with pytest.raises(AssertionError, match="more item"):
        rounds(WrappedStore(MemoryStore(fenced=False), delayed), 1000)


def test_tasks_that_are_completed_at_once_on_each_store(each_store: Store) -> None:
    scene = Scene(each_store, utc_now, workers=Workers(8))
    requests = [a_request() for _ in range(20)]
    for request in requests:
        scene.waits.register(request, scene.in_seconds())
    for _ in range(2):
        scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
    assert scene.tasks.results == {request.task.task_instance_id: ["succeeded"] for request in requests}
    assert len(scene.reports) == 20


def test_rounds_in_parallel_on_each_store(each_store: Store) -> None:
    rounds(each_store, amount(10, long=50))
