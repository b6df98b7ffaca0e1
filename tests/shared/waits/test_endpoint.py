"""``POST /api/waits``: what each request is answered, and how soon."""

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from shared.clock import utc_now
from shared.credentials import Secret
from shared.errors import CredentialUnavailable, JournalUnavailable
from shared.journal.records import Record
from shared.journal.sqlite import SqliteStore
from shared.waits.endpoint import Answer, Endpoint
from shared.waits.request import Task, WaitRequest
from shared.waits.tokens import TokenSeal
from tests.support.canaries import leaks
from tests.support.waits import PLAN_URLS, BrokenStore, Scene, a_task, default_headers, the_end

BODY = b'{"run_id": "run-1"}'


@pytest.fixture
def scene(store: SqliteStore) -> Scene:
    return Scene(store, utc_now)


@pytest.fixture
def endpoint(scene: Scene) -> Endpoint:
    return Endpoint(scene.waits, PLAN_URLS, threads=4)


def post(endpoint: Endpoint, task: Task, body: bytes = BODY) -> Answer:
    answer = endpoint.answer(default_headers(task), body)
    assert leaks(str(answer.document)) == []
    return answer


def test_accepted(endpoint: Endpoint) -> None:
    task = a_task()
    assert post(endpoint, task) == Answer(
        202, {"run_id": "run-1", "task_id": task.task_instance_id, "state": "waiting"}
    )
    assert post(endpoint, task).status == 202


def test_repeated_when_it_is_over(endpoint: Endpoint, scene: Scene) -> None:
    task = a_task()
    post(endpoint, task)
    scene.waits.run_ended(the_end(), record_of(scene).entry, utc_now().replace(year=9999))
    assert post(endpoint, task).document["state"] == "completed"


def record_of(scene: Scene) -> Record:
    (record,) = scene.waits._waiting_for("run-1")
    return record


def test_every_wrong_field(endpoint: Endpoint) -> None:
    answer = endpoint.answer({}, b"{}")
    assert answer.status == 400
    assert len(answer.document["problems"]) == 9  # type: ignore[arg-type]
    assert str(answer.document["error"]).startswith("the wait is refused: PlanUrl is missing")


def test_another_run(endpoint: Endpoint) -> None:
    task = a_task()
    post(endpoint, task)
    answer = post(endpoint, task, b'{"run_id": "run-2"}')
    assert answer.status == 409
    assert "waits for run run-1 already" in str(answer.document["error"])


def test_the_journal_does_not_answer() -> None:
    endpoint = Endpoint(Scene(BrokenStore(), utc_now).waits, PLAN_URLS, threads=1)  # type: ignore[arg-type]
    answer = post(endpoint, a_task())
    assert answer.status == 503
    assert str(answer.document["error"]).endswith("the wait was not kept; run the job again")


def test_no_key_for_the_token(scene: Scene) -> None:
    def no_keys() -> list[Secret]:
        raise CredentialUnavailable("the secret wait-keys cannot be read from https://kv.vault.azure.net")

    scene.waits._seal = TokenSeal(no_keys)
    answer = post(Endpoint(scene.waits, PLAN_URLS, threads=1), a_task())
    assert answer.status == 503
    assert "wait-keys" in str(answer.document["error"])


class Stuck:
    """Waits that hold on until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def register(self, request: WaitRequest, deadline: datetime) -> Any:
        assert self.go.wait(30)
        raise JournalUnavailable("too late")


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    waits = Stuck()
    yield waits
    waits.go.set()


def test_a_slow_store_holds_up_no_answer(stuck: Stuck) -> None:
    endpoint = Endpoint(stuck, PLAN_URLS, threads=1, answer_seconds=0.05)  # type: ignore[arg-type]
    began = time.monotonic()
    answer = post(endpoint, a_task())
    assert answer.status == 503
    assert "did not get it done in 0.05 s" in str(answer.document["error"])
    assert time.monotonic() - began < 20, "the time for which the task listens"
