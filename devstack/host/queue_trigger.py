"""The queue trigger: takes messages from Azure Queue Storage, calls the function, and deletes or releases them.

Source: measurements on the Functions host 4.1037 with the storage extension 5.3.10.
"""

import base64
import binascii
import logging
import math
import re
import threading
from collections.abc import Mapping
from typing import Final

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage

from devstack.host.bindings import message_metadata, string_datum
from devstack.host.errors import HostStopping, IndexingFailed, InvocationFailed
from devstack.host.host_json import QueueSettings
from devstack.host.index import IndexedFunction
from devstack.host.worker import Worker
from shared.resume.azure_queue import API_VERSION

POISON: Final = "-poison"
"""The end of the name of the queue for messages that have failed too often."""

_MIN_PAUSE_SECONDS = 0.1
_CLOSE_SECONDS = 2.0  # time to delete or release the last messages after the functions have ended
_SETTING = re.compile(r"%([^%]+)%")
_log = logging.getLogger("devstack.host")


class QueueListener:
    """Listens to the queue of one function, on a thread, until :meth:`stop`.

    Like the real host, it takes messages as long as threads are free and one batch more, which waits for a thread.
    Unlike the real host, it does not prolong the time for which a message in work is invisible.
    """

    def __init__(
        self,
        function: IndexedFunction,
        settings: QueueSettings,
        worker: Worker,
        environ: Mapping[str, str],
        in_work_seconds: float,
    ) -> None:
        """Start to listen.

        :param in_work_seconds: how long a message is invisible that has been taken, but neither deleted nor released.
        :raises IndexingFailed: the queue's name or connection is missing from the settings.
        """
        self._function = function
        self._settings = settings
        self._worker = worker
        self._in_work_seconds = math.ceil(in_work_seconds)
        self._connection = _connection(function, environ)
        self._name = _resolved(function, str(function.trigger["queueName"]), environ)
        self._queue = self._open(self._name)
        self._poison = self._open(self._name + POISON)
        self._in_work: set[threading.Thread] = set()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"queue {self._name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more messages."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()

    def close(self) -> None:
        """Wait a moment until the messages whose function has ended are deleted or released."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_work, _CLOSE_SECONDS)

    def _open(self, name: str) -> QueueClient:
        try:
            return QueueClient.from_connection_string(self._connection, name, api_version=API_VERSION, retry_total=0)
        except ValueError as exc:  # does not show the exception, which may quote the connection string
            raise IndexingFailed(f"{_cannot_load(self._function)}: its connection cannot be used") from exc

    def _listen(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            with self._changed:
                self._changed.wait_for(lambda: self._stopping.is_set() or len(self._in_work) <= self._worker.threads)
            messages = [] if self._stopping.is_set() else self._take()
            pause = 0.0 if messages else min(max(2 * pause, _MIN_PAUSE_SECONDS), self._settings.max_polling_seconds)
            for message in messages:
                thread = threading.Thread(target=self._work, args=(message,), daemon=True)
                with self._changed:
                    self._in_work.add(thread)
                thread.start()

    def _take(self) -> list[QueueMessage]:
        """Take a batch. A queue that does not exist yet has no messages."""
        try:
            found = self._queue.receive_messages(
                messages_per_page=self._settings.batch_size, visibility_timeout=self._in_work_seconds
            )
            return list(next(found.by_page(), ()))
        except ResourceNotFoundError:
            return []
        except AzureError as exc:
            _log.warning("the queue %s cannot be read: %s", self._name, type(exc).__name__)
            return []

    def _work(self, message: QueueMessage) -> None:
        try:
            self._settle(message)
        except HostStopping:
            return  # it comes back when the time of a message in work is over
        except AzureError as exc:
            _log.warning("a message of the queue %s was not settled: %s", self._name, type(exc).__name__)
        finally:
            with self._changed:
                self._in_work.discard(threading.current_thread())
                self._changed.notify_all()

    def _settle(self, message: QueueMessage) -> None:
        """Call the function with a message, then delete the message, release it, or put it into the poison queue."""
        text = self._text(message)
        if text is None or (message.dequeue_count or 0) > self._settings.max_dequeue_count:
            self._put_aside(message)
            return
        metadata = message_metadata(message.id, message.dequeue_count or 0)
        try:
            self._worker.submit(self._function, string_datum(text), metadata).result()
        except InvocationFailed:
            if (message.dequeue_count or 0) >= self._settings.max_dequeue_count:
                self._put_aside(message)
            else:
                seconds = math.ceil(self._settings.visibility_seconds)
                self._queue.update_message(message, visibility_timeout=seconds)
        else:
            self._queue.delete_message(message)

    def _text(self, message: QueueMessage) -> str | None:
        """Return the text, or None if it is not encoded as host.json says."""
        if not self._settings.is_base64:
            return str(message.content)
        try:
            return base64.b64decode(message.content, validate=True).decode()
        except (binascii.Error, ValueError):
            return None

    def _put_aside(self, message: QueueMessage) -> None:
        try:
            self._poison.send_message(message.content, time_to_live=-1)
        except ResourceNotFoundError:
            self._poison.create_queue()
            self._poison.send_message(message.content, time_to_live=-1)
        self._queue.delete_message(message)
        _log.error("a message of the queue %s was put into %s%s", self._name, self._name, POISON)


def _cannot_load(function: IndexedFunction) -> str:
    return f"cannot load the {function.name} function"


def _connection(function: IndexedFunction, environ: Mapping[str, str]) -> str:
    """Return the connection string of the trigger."""
    name = str(function.trigger.get("connection") or "AzureWebJobsStorage")
    if not (connection := environ.get(name)):
        raise IndexingFailed(
            f"{_cannot_load(function)}: the setting {name} has no connection string, and the stand-in host cannot use "
            "an identity"
        )
    return connection


def _resolved(function: IndexedFunction, name: str, environ: Mapping[str, str]) -> str:
    """Return a name in which settings between percent signs are replaced with their values."""
    for setting in _SETTING.findall(name):
        if setting not in environ:
            raise IndexingFailed(f"{_cannot_load(function)}: '%{setting}%' does not resolve to a value")
    return _SETTING.sub(lambda match: environ[match[1]], name)
