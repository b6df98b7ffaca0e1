"""Microsoft's runtime calls the app's functions: events, failures, concurrent calls, and logs."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devstack.ado import Fault
from devstack.events import sample_text
from shared.events.event import CANARY_TYPE
from tests.runtime.conftest import SHORT_TIMES, Ado, StartWorker
from tests.runtime.functions_host import (
    Invocation,
    Message,
    Worker,
    event_grid_input,
    text_input,
    timer_input,
)
from tests.support.builders import event_text
from tests.support.canaries import leaks, secret
from tests.support.services.host_apps import write_app


def deliver(worker: Worker, text: str) -> Invocation:
    return worker.invoke("aml_event", event_grid_input("event", text), metadata=trigger_metadata(text))


def trigger_metadata(text: str) -> Message:
    """Return the metadata that the host adds to an event: the event's data and information about the call."""
    data = json.dumps(json.loads(text).get("data"))
    return {"data": {"json": data}, "sys": {"json": json.dumps({"MethodName": "aml_event"})}}


def decisions(logs: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(log["message"]) for log in logs if log["category"] == "nextstage.decision"]


# The calls wait for each other in groups as large as the number of threads, so a call ends only if the whole group runs
# at the same time.
MEETING = """
import os

threads = int(os.environ["PYTHON_THREADPOOL_THREAD_COUNT"])
barrier, lock, running = threading.Barrier(threads), threading.Lock(), 0

@app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")
def meet(timer: func.TimerRequest) -> None:
    global running
    with lock:
        running += 1
        logging.info("running: %d", running)
    barrier.wait(20)
    with lock:
        running -= 1
"""


class TestEvents:
    def test_an_event_as_a_string(self, worker: Worker, ado: Ado) -> None:
        assert worker.invoke("aml_event", text_input("event", sample_text("run-completed"))).succeeded
        assert len(ado.emulator.books.runs) == 1

    @pytest.mark.parametrize("text", ["{", '"a string"', '{"subject": "half a pair: \\ud800"}', '{"data": null}'])
    def test_an_invalid_event_is_parked_and_acknowledged(self, worker: Worker, text: str) -> None:
        invocation = worker.invoke("aml_event", text_input("event", text))
        assert invocation.succeeded
        assert [decision["outcome"] for decision in decisions(worker.logs_of(invocation))] == ["parked"]

    def test_the_test_event_of_the_doctor(self, worker: Worker, ado: Ado) -> None:
        """The code of its answer is in the package, although no other event needs it."""
        invocation = deliver(worker, event_text("", {}, eventType=CANARY_TYPE, id="test-1"))
        assert invocation.succeeded
        logs = worker.logs_of(invocation)
        (line,) = [log for log in logs if log["category"] == "nextstage.test_event"]
        assert line["message"].startswith("the test event 'test-1' has arrived at version ")
        assert (line["level"], decisions(logs), len(ado.emulator.books.runs)) == ("Information", [], 0)


class TestFailures:
    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param(
                Fault(accept=False, status=401, body={"message": f"bad credential {secret('pat')}"}), id="rejected"
            ),
            pytest.param(Fault(accept=True, drop=True), id="connection-dropped"),
            pytest.param(Fault(accept=True, status=200, body="not JSON"), id="unreadable"),
        ],
    )
    def test_debug_logs_contain_no_secret(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str], ado: Ado, fault: Fault
    ) -> None:
        worker = start_worker(settings | {"PYTHON_ENABLE_DEBUG_LOGGING": "1"})
        worker.start_app(deployed_app)
        ado.emulator.plan(fault)
        invocation = deliver(worker, sample_text("run-completed"))
        assert not invocation.succeeded
        assert [log for log in worker.logs_of(invocation) if log["level"] == "Debug"], "debug logging is not on"
        assert leaks(worker.log.read_text(encoding="utf-8")) == []

    def test_a_journal_that_cannot_be_reached(
        self, start_worker: StartWorker, deployed_app: Path, ado: Ado, closed_port: int
    ) -> None:
        key = "Y2FuYXJ5LWpvdXJuYWwta2V5"  # "canary-…" in base64; the storage account does not exist
        connection = (
            f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
            f"TableEndpoint=http://127.0.0.1:{closed_port}/devstoreaccount1"
        )
        worker = start_worker(ado.settings(connection) | SHORT_TIMES | {"PYTHON_ENABLE_DEBUG_LOGGING": "1"})
        worker.start_app(deployed_app)
        invocation = deliver(worker, sample_text("run-completed"))
        assert not invocation.succeeded
        assert f"127.0.0.1:{closed_port}" in invocation.error
        assert key not in worker.log.read_text(encoding="utf-8")
        assert len(ado.emulator.books.runs) == 0


class TestManyAtOnce:
    def test_100_duplicates_on_32_threads_queue_one_run_and_log_with_their_own_invocation(
        self, start_worker: StartWorker, deployed_app: Path, settings: dict[str, str], ado: Ado
    ) -> None:
        worker = start_worker(settings | {"PYTHON_THREADPOOL_THREAD_COUNT": "32"})
        worker.start_app(deployed_app)
        with ThreadPoolExecutor(32) as pool:
            invocations = list(pool.map(lambda _: deliver(worker, sample_text("model-registered")), range(100)))
        assert len(ado.emulator.books.runs) == 1
        outcomes = [decisions(worker.logs_of(invocation))[0]["outcome"] for invocation in invocations]
        assert outcomes.count("queued") == 1
        assert set(outcomes) <= {"queued", "duplicate", "deferred"}
        for invocation, outcome in zip(invocations, outcomes, strict=True):
            assert invocation.succeeded == (outcome != "deferred")

    @pytest.mark.parametrize("threads", [1, 4])
    def test_the_setting_limits_the_concurrent_calls(
        self, start_worker: StartWorker, tmp_path: Path, threads: int
    ) -> None:
        worker = start_worker({"PYTHON_THREADPOOL_THREAD_COUNT": str(threads)})
        worker.start_app(write_app(tmp_path / "app", MEETING))
        with ThreadPoolExecutor(8) as pool:
            invocations = list(pool.map(lambda _: worker.invoke("meet", timer_input("timer")), range(8)))
        assert all(invocation.succeeded for invocation in invocations)
        running = [re.fullmatch(r"running: (\d+)", log["message"]) for log in worker.logs]
        assert max(int(found[1]) for found in running if found) == threads


class TestLogs:
    def test_decisions_are_logged_as_user_logs_with_level_and_invocation(self, worker: Worker, ado: Ado) -> None:
        ado.emulator.plan(Fault(accept=False, status=400, body={"message": "Unexpected parameter 'x'"}))
        levels = {}
        for sample in ("run-completed", "run-completed.cloud", "run-status-changed-running"):
            invocation = deliver(worker, sample_text(sample))
            *start, log = worker.logs_of(invocation)
            # The first event of a process also logs which routes the app runs.
            assert {line["category"] for line in start} <= {"nextstage.routes"}
            levels[decisions([log])[0]["outcome"]] = log["level"]
        assert levels == {"parked": "Error", "queued": "Information", "ignored": "Information"}
