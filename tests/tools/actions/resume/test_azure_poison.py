"""The poison queue in Azure Queue Storage, on Azurite and on a server that fails."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient
from werkzeug.wrappers import Request, Response

from devstack.azurite import ACCOUNT, PUBLIC_DEVELOPMENT_KEY, Azurite
from devstack.http_server import serving
from shared.errors import ResumeUnavailable
from shared.journal.records import JournalKey
from shared.resume.azure_queue import API_VERSION
from shared.resume.queue import message_of
from shared.settings import load_settings
from tests.support.clock import ManualClock
from tests.support.journal.memory_queue import MemoryQueue
from tools.actions.resume.azure_poison import AzurePoisonQueue, open_poison_queue
from tools.actions.resume.poison import PoisonMessage, put_back

KEY = JournalKey("evaluate", "ab" * 32)
TAKEN = PoisonMessage("hello", handle=("id", "receipt"))


def opened(connection: str, name: str) -> AzurePoisonQueue:
    return open_poison_queue(load_settings({"RESUME_STORAGE": connection, "RESUME_QUEUE": name}, Path()))


@pytest.fixture
def name() -> str:
    return f"q{uuid.uuid4().hex}"


@pytest.fixture
def service(queue_storage: Azurite, name: str) -> Iterator[QueueClient]:
    """The poison queue as the host sees it. It does not exist yet."""
    connection = queue_storage.connection_string
    with QueueClient.from_connection_string(connection, f"{name}-poison", api_version=API_VERSION) as client:
        yield client


@pytest.fixture
def poison(queue_storage: Azurite, name: str) -> AzurePoisonQueue:
    return opened(queue_storage.connection_string, name)


def test_the_queue_does_not_exist_before_the_first_message(poison: AzurePoisonQueue) -> None:
    assert (poison.peek(), poison.count(), list(poison.take())) == ([], 0, [])


def test_messages_are_shown_and_put_back(poison: AzurePoisonQueue, service: QueueClient) -> None:
    """More than one request returns."""
    service.create_queue()
    for text in ["hello", *[message_of(KEY)] * 40]:
        service.send_message(text)
    shown = poison.peek()
    assert (len(shown), shown[0].text, shown[1].key, poison.count()) == (32, "hello", KEY, 41)
    assert shown[0].at is not None
    queue = MemoryQueue(ManualClock())
    done, malformed = put_back(poison, queue)
    assert ({one.key for one in done}, len(done), [one.text for one in malformed]) == ({KEY}, 40, ["hello"])
    assert [due.key for due in queue.due(50)] == [KEY] * 40
    assert (poison.count(), [one.text for one in poison.peek()]) == (1, ["hello"])


def ask_server(name: str, answer: Response, ask: Callable[[AzurePoisonQueue], object]) -> None:
    with serving(Request.application(lambda _request: answer)) as server:
        account = f"AccountName={ACCOUNT};AccountKey={PUBLIC_DEVELOPMENT_KEY};QueueEndpoint={server.url}/{ACCOUNT}"
        with pytest.raises(ResumeUnavailable, match=f"the queue {name}-poison does not answer: [A-Za-z]+Error; check "):
            ask(opened(account, name))


@pytest.mark.parametrize(
    "ask",
    [
        lambda poison: poison.peek(),
        lambda poison: poison.count(),
        lambda poison: list(poison.take()),
        lambda poison: poison.release(TAKEN),
    ],
)
def test_a_server_that_refuses(name: str, ask: Callable[[AzurePoisonQueue], object]) -> None:
    ask_server(name, Response(status=403), ask)


@pytest.mark.parametrize(
    ("answer", "ask"),
    [
        (Response(), lambda poison: poison.peek()),
        (Response(headers={"x-ms-approximate-messages-count": "many"}), lambda poison: poison.count()),
        (Response(), lambda poison: list(poison.take())),
        (Response(status=204, headers={"x-ms-time-next-visible": "later"}), lambda poison: poison.release(TAKEN)),
    ],
)
def test_a_server_that_is_not_azure_storage(
    name: str, answer: Response, ask: Callable[[AzurePoisonQueue], object]
) -> None:
    ask_server(name, answer, ask)
