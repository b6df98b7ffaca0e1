"""Tests of ``POST /api/waits``: the answer to each request, and its time limit."""

import threading
import time
from datetime import datetime, timedelta

import pytest

from shared.clock import utc_now
from shared.errors import (
    AlreadyWaiting,
    CredentialUnavailable,
    InvalidWait,
    JournalUnavailable,
    NextstageError,
    TooManyWaits,
    WaitNotVerified,
)
from shared.journal.sqlite import SqliteStore
from shared.waits.endpoint import ANSWER_SECONDS, Answer, Endpoint
from shared.waits.request import WaitRequest
from tests.support.canaries import leaks
from tests.support.waits import EVENT, PLAN_URLS, Scene, a_task, default_headers, the_end

TASK = a_task()


def post(endpoint: Endpoint, body: bytes = b'{"run_id": "run-1"}') -> Answer:
    answer = endpoint.answer(default_headers(TASK), body)
    assert leaks(str(answer.document)) == []
    return answer


@pytest.mark.parametrize("ended", [False, True])
def test_accepted_and_repeated(store: SqliteStore, ended: bool) -> None:
    scene = Scene(store, utc_now)
    endpoint = Endpoint(scene.waits, PLAN_URLS, threads=4)
    accepted = {"run_id": "run-1", "task_id": TASK.task_instance_id, "state": "waiting"}
    assert post(endpoint) == Answer(202, accepted)
    if ended:
        scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
    assert post(endpoint) == Answer(202, accepted | {"state": "completed" if ended else "waiting"})


class Stub:
    """Waits whose registration fails as soon as ``go`` is set."""

    def __init__(self, error: NextstageError) -> None:
        self.go = threading.Event()
        self.error = error

    def register(self, _: WaitRequest, deadline: datetime, after_answer: object) -> None:
        assert deadline <= utc_now() + timedelta(seconds=ANSWER_SECONDS), "nobody would hear what is done later"
        assert self.go.wait(30)
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InvalidWait({"PlanId": "is not known"}), 400, "the wait is refused: PlanId is not known"),
        (AlreadyWaiting("it waits for run-1 already"), 409, "it waits for run-1 already"),
        (TooManyWaits("2 wait already"), 429, "2 wait already"),
        (WaitNotVerified("not asked"), 503, "not asked; the wait was not stored; run the job again"),
        (JournalUnavailable("no answer"), 503, "no answer; the wait was not stored; run the job again"),
        (CredentialUnavailable("no keys"), 503, "no keys; the wait was not stored; run the job again"),
    ],
)
def test_refused(error: NextstageError, status: int, said: str) -> None:
    waits = Stub(error)
    waits.go.set()
    answer = post(Endpoint(waits, PLAN_URLS, threads=1))  # type: ignore[arg-type]
    assert (answer.status, answer.document["error"]) == (status, said)


def test_every_wrong_field() -> None:
    answer = Endpoint(Stub(InvalidWait({})), PLAN_URLS, threads=1).answer({}, b"{}")  # type: ignore[arg-type]
    assert answer.status == 400
    assert len(answer.document["problems"]) == 9  # type: ignore[arg-type]


def test_a_slow_store_does_not_delay_the_answer() -> None:
    stuck, began = Stub(JournalUnavailable("too late")), time.monotonic()
    answer = post(Endpoint(stuck, PLAN_URLS, threads=1, answer_seconds=0.05))  # type: ignore[arg-type]
    stuck.go.set()
    assert answer.status == 503
    assert "could not finish within 0.05 s" in str(answer.document["error"])
    assert time.monotonic() - began < 20, "the task waits 20 s for the answer"


def test_a_slow_resume_queue_does_not_delay_the_answer(store: SqliteStore) -> None:
    """The run has ended already, so the task is completed before its answer, and must be checked later."""
    answered, asked = threading.Event(), threading.Event()

    def come_again(*_: object) -> None:
        assert answered.wait(30)
        asked.set()

    scene = Scene(store, utc_now, come_again=come_again)
    scene.waits.run_ended(the_end(), EVENT, scene.in_seconds())
    assert post(Endpoint(scene.waits, PLAN_URLS, threads=1)).status == 202
    answered.set()
    assert asked.wait(30)
