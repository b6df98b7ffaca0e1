"""Microsoft's runtime lists the function ``resume`` if there is a queue, and calls it with messages."""

import json
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient

from devstack.ado import Fault
from devstack.azurite import Azurite
from devstack.events import sample_text
from shared.journal.records import JournalKey
from shared.resume.azure_queue import API_VERSION
from shared.resume.queue import message_of
from tests.contracts import validate
from tests.runtime.conftest import Ado, StartWorker
from tests.runtime.functions_host import Invocation, Worker, event_grid_input, text_input

QUEUE = "runtime-resume"


@pytest.fixture
def resuming(start_worker: StartWorker, deployed_app: Path, settings: dict[str, str], queue_storage: Azurite) -> Worker:
    """The deployed app with a queue for deferred events."""
    worker = start_worker(settings | {"RESUME_STORAGE": queue_storage.connection_string, "RESUME_QUEUE": QUEUE})
    worker.start_app(deployed_app)
    return worker


def take_up(worker: Worker, text: str, taken: int = 1) -> Invocation:
    """Call the function with a message and what the host says of it.

    :param taken: how often the message was taken, including this time.
    """
    metadata = {"Id": {"string": "1"}, "DequeueCount": {"json": str(taken)}}
    return worker.invoke("resume", text_input("message", text), metadata=metadata)


def test_the_function_and_its_binding(resuming: Worker) -> None:
    (binding,) = [json.loads(raw) for raw in resuming.functions["resume"]["raw_bindings"]]
    validate("functions_binding", binding)
    assert binding == {
        "direction": "IN",
        "type": "queueTrigger",
        "name": "message",
        "queueName": QUEUE,
        "connection": "RESUME_STORAGE",
    }


def test_without_a_queue_there_is_no_function(worker: Worker) -> None:
    assert "resume" not in worker.functions
    assert "aml_event" in worker.functions


def test_a_deferred_event_is_acknowledged_and_a_message_queues_its_run(
    resuming: Worker, ado: Ado, queue_storage: Azurite
) -> None:
    ado.emulator.plan(Fault(accept=False, status=401))
    delivered = resuming.invoke("aml_event", event_grid_input("event", sample_text("run-completed")))
    assert delivered.succeeded
    (decision,) = [
        json.loads(log["message"]) for log in resuming.logs_of(delivered) if log["category"] == "nextstage.decision"
    ]
    assert decision["outcome"] == "deferred"
    assert "comes again at" in decision["reason"]

    text = message_of(JournalKey(decision["route"], decision["key"]))
    assert take_up(resuming, text).succeeded
    assert take_up(resuming, text, taken=2).succeeded  # a message may come twice
    assert len(ado.emulator.books.runs) == 1

    connection = queue_storage.connection_string
    with QueueClient.from_connection_string(connection, QUEUE, api_version=API_VERSION) as queue:
        # Only that of the delivery: the one that was written before the work is gone.
        assert queue.get_queue_properties().approximate_message_count == 1


def test_a_message_that_names_no_record_fails(resuming: Worker) -> None:
    invocation = take_up(resuming, "hello")
    assert not invocation.succeeded
    assert invocation.error == "InvalidMessage: a message of the resume queue is not JSON: 'hello'"
