"""The stand-in host's queue trigger does what the real one does. One test for each row measured on the host 4.1037.

Times are scaled down: a message in work is invisible for 2 s instead of 10 minutes.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from azure.storage.queue import QueueClient
from werkzeug.test import Client

from devstack.azurite import Azurite
from devstack.host import Host, HostSettings
from devstack.host.errors import IndexingFailed
from devstack.host.host_json import QueueSettings
from devstack.host.queue_trigger import POISON
from devstack.processes import start
from shared.resume.azure_queue import API_VERSION
from tests.support.polling import wait_until
from tests.support.services.host_apps import import_app, write_app

APP = """
release = threading.Event()
running, most = set(), []

@app.function_name("resume")
@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="STORAGE")
def resume(message: func.QueueMessage) -> None:
    text = message.get_body().decode()
    calls.append((text, message.dequeue_count))
    if text == "raise":
        raise RuntimeError("the reason")
    if text.startswith("wait") and message.dequeue_count == 1:
        running.add(text)
        most.append(len(running))
        release.wait(60)
        running.discard(text)

@app.function_name("text")
@app.queue_trigger(arg_name="message", queue_name="%QUEUE%-text", connection="STORAGE")
def as_text(message: str) -> None:
    calls.append(message)
"""

IN_A_FILE = """
import os

@app.function_name("resume")
@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="STORAGE")
def resume(message: func.QueueMessage) -> None:
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(f"{message.dequeue_count} ")
    if message.dequeue_count == 1:
        time.sleep(60)
"""

QUEUES = QueueSettings(is_base64=False, max_polling_seconds=0.2, visibility_seconds=1, max_dequeue_count=3)


@dataclass
class Stage:
    module: ModuleType
    queue: QueueClient
    poison: QueueClient
    text: QueueClient
    text_poison: QueueClient

    @contextmanager
    def host(self, queues: QueueSettings = QUEUES, timeout_seconds: float = 60.0, threads: int = 8) -> Iterator[Host]:
        settings = HostSettings(timeout_seconds, queues=queues)
        host = Host(self.module, settings=settings, threads=threads, in_work_seconds=2)
        try:
            yield host
        finally:
            self.module.release.set()
            host.close()

    def wait_for(self, count: int) -> list[object]:
        """Return the calls when there are so many and nothing is left in the queue."""
        return wait_until(lambda: self.module.calls if len(self.module.calls) >= count and self.left() == 0 else [])

    def left(self) -> int:
        return sum(queue.get_queue_properties().approximate_message_count or 0 for queue in (self.queue, self.text))


@pytest.fixture
def stage(tmp_path: Path, queue_storage: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    name = f"q{uuid.uuid4().hex}"
    monkeypatch.setenv("QUEUE", name)
    monkeypatch.setenv("STORAGE", queue_storage.connection_string)

    def queue(name: str) -> QueueClient:
        return QueueClient.from_connection_string(queue_storage.connection_string, name, api_version=API_VERSION)

    queues = [queue(name + end) for end in ("", POISON, "-text", f"-text{POISON}")]
    stage = Stage(import_app(tmp_path / "app", APP), *queues)
    stage.queue.create_queue()
    stage.text.create_queue()
    yield stage
    for each in queues:
        each.close()


TEXTS = ("plain text", "größe <&> 🚀", "x" * 60_000, '{"v":1,  "a": [ 1.50 ]}', "{not json")


def test_a_message_is_handed_over_as_sent(stage: Stage) -> None:
    for text in TEXTS:
        stage.text.send_message(text, time_to_live=-1)
    with stage.host():
        assert set(stage.wait_for(len(TEXTS))) == set(TEXTS)


def test_without_an_encoding_of_none_plain_text_is_poison(stage: Stage) -> None:
    stage.text.send_message("plain text")
    stage.text.send_message("Z3LDtsOfZQ==")
    with stage.host(QueueSettings(max_polling_seconds=0.2)):
        assert stage.wait_for(1) == ["größe"]
    assert [message.content for message in stage.text_poison.peek_messages()] == ["plain text"]


def test_a_message_that_is_visible_later_is_handed_over_later(stage: Stage) -> None:
    stage.queue.send_message("later", visibility_timeout=2)
    stage.queue.send_message("now")
    with stage.host():
        assert stage.wait_for(2) == [("now", 1), ("later", 1)]


def test_a_message_whose_function_raises_comes_again_and_is_poison_at_last(stage: Stage) -> None:
    stage.queue.send_message("raise")
    with stage.host():
        assert stage.wait_for(3) == [("raise", 1), ("raise", 2), ("raise", 3)]
    assert [message.content for message in stage.poison.peek_messages()] == ["raise"]


def test_a_message_that_dead_hosts_have_taken_too_often_is_poison_without_a_call(stage: Stage) -> None:
    stage.queue.send_message("text")
    for _ in range(QUEUES.max_dequeue_count):
        message = stage.queue.receive_message()
        assert message is not None
        stage.queue.update_message(message, visibility_timeout=0)
    with stage.host():
        wait_until(lambda: stage.left() == 0)
    assert stage.module.calls == []
    assert [message.content for message in stage.poison.peek_messages()] == ["text"]


def test_a_message_of_a_worker_that_is_killed_comes_again(stage: Stage) -> None:
    stage.queue.send_message("wait")
    with stage.host(timeout_seconds=0.5):
        assert stage.wait_for(2) == [("wait", 1), ("wait", 2)]


def test_a_message_of_a_host_that_is_killed_comes_again(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    monkeypatch.setenv("CALLS", str(calls))
    write_app(tmp_path / "process", IN_A_FILE)
    (tmp_path / "process" / "host.json").write_text('{"extensions": {"queues": {"messageEncoding": "none"}}}')
    stage.queue.send_message("text")

    def seen(text: str) -> Callable[[], bool]:
        return lambda: calls.exists() and calls.read_text() == text

    arguments = ("--app-dir", "process", "--in-work-seconds", "2")
    with start("devstack.host", *arguments, env={}, cwd=tmp_path, log=tmp_path / "host.log") as host:
        wait_until(seen("1 "))
        assert stage.left() == 1
        host.kill()
    with start("devstack.host", *arguments, env={}, cwd=tmp_path, log=tmp_path / "host.log"):
        wait_until(seen("1 2 "))
        wait_until(lambda: stage.left() == 0)


def test_only_the_threads_limit_how_many_messages_are_in_work(stage: Stage) -> None:
    for number in range(20):
        stage.queue.send_message(f"wait {number}")
    queues = QueueSettings(is_base64=False, max_polling_seconds=0.2, batch_size=2)
    with stage.host(queues, threads=6):
        wait_until(lambda: len(stage.module.running) == 6)
        stage.module.release.set()
        stage.wait_for(20)
    assert max(stage.module.most) == 6  # more than a batch


def test_a_stopping_host_finishes_and_deletes_what_is_in_work(stage: Stage) -> None:
    stage.queue.send_message("wait")
    with stage.host():
        wait_until(lambda: stage.module.running)
    assert stage.left() == 0


def test_a_queue_that_does_not_exist_yet_has_no_messages(stage: Stage) -> None:
    stage.queue.delete_queue()
    with stage.host():
        stage.text.send_message("first")
        wait_until(lambda: stage.module.calls == ["first"])
        stage.queue.create_queue()
        stage.queue.send_message("second")
        assert stage.wait_for(2) == ["first", ("second", 1)]


def test_a_function_is_called_by_hand_with_any_text(stage: Stage) -> None:
    with stage.host() as host:
        assert Client(host).post("/admin/functions/text", json={"input": "no {json"}).status_code == 202
        assert stage.wait_for(1) == ["no {json"]


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("QUEUE", None, "cannot load the resume function: '%QUEUE%' does not resolve to a value"),
        ("STORAGE", "", "cannot load the resume function: the setting STORAGE has no connection string"),
        ("STORAGE", "AccountKey=canary", "cannot load the resume function: its connection cannot be used"),
    ],
)
def test_a_trigger_without_its_settings_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str | None, message: str
) -> None:
    settings = {"QUEUE": "queue", "STORAGE": "UseDevelopmentStorage=true", setting: value}
    for name, text in settings.items():
        monkeypatch.delenv(name, raising=False) if text is None else monkeypatch.setenv(name, text)
    with pytest.raises(IndexingFailed, match=message):
        Host(import_app(tmp_path, APP))
