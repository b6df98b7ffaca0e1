"""Sends the requests of agentless tasks, and Azure ML's post-backs, in separate threads, as their servers would.

It does not use ``requests``, because urllib3 logs the URL, which contains the function's key.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from devstack.ado.tasks.inputs import TaskRequest

_LONGEST_ANSWER_BYTES = 100_000
_CHUNK_BYTES = 65_536
_JOIN_SECONDS = 0.05


@dataclass(frozen=True)
class TaskAnswer:
    """The answer to a task's request. The status is 0 if there was no answer, and ``text`` is then the reason."""

    status: int
    text: str

    @property
    def accepted(self) -> bool:
        """Whether the status is 2xx. Redirects are not followed."""
        return 200 <= self.status < 300

    def log_lines(self, request: TaskRequest) -> list[str]:
        """Return the lines for the task's log."""
        try:
            code = "".join(word.capitalize() for word in HTTPStatus(self.status).phrase.split())
        except ValueError:
            code = str(self.status)
        response, *more = self.text.splitlines() or [""]
        return [f"{request.method} {request.masked_url}", f"Response Code: {code}", f"Response: {response}", *more]


class TaskSender:
    """The requests in progress. ``stop`` cancels them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[threading.Thread, http.client.HTTPConnection] = {}

    def start(self, request: TaskRequest, timeout_seconds: float, done: Callable[[TaskAnswer], None]) -> None:
        """Send a request in another thread, which then calls ``done`` with the answer."""
        connection = _connection(request, timeout_seconds)

        def run() -> None:
            try:
                done(_send(connection, request, timeout_seconds))
            finally:
                connection.close()
                with self._lock:
                    del self._running[threading.current_thread()]

        thread = threading.Thread(target=run, daemon=True, name="devstack.ado task")
        with self._lock:
            self._running[thread] = connection
        thread.start()

    def stop(self) -> None:
        """Cancel all requests in progress, and wait for their threads."""
        with self._lock:
            running = dict(self._running)
        for thread, connection in running.items():
            while thread.is_alive():
                # The connection may not be open yet, or the other side may have closed it.
                with contextlib.suppress(OSError, AttributeError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
                thread.join(_JOIN_SECONDS)


def _connection(request: TaskRequest, timeout_seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(request.url)
    host = str(parts.hostname)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_seconds, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=timeout_seconds)


def _send(connection: http.client.HTTPConnection, request: TaskRequest, timeout_seconds: float) -> TaskAnswer:
    deadline = time.monotonic() + timeout_seconds
    parts = urlsplit(request.url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        connection.request(request.method, target, request.body.encode(errors="replace"), dict(request.headers))
        answer = connection.getresponse()
        return TaskAnswer(answer.status, _read(answer, connection, deadline).decode("utf-8", errors="replace"))
    except TimeoutError:
        return TaskAnswer(0, f"The request timed out after {timeout_seconds:g} seconds: there was no response.")
    except (OSError, http.client.HTTPException) as exc:
        return TaskAnswer(0, f"The request failed: {type(exc).__name__}.")


def _read(answer: http.client.HTTPResponse, connection: http.client.HTTPConnection, deadline: float) -> bytes:
    """Return the body of the answer, up to the length that is logged. The deadline applies to the whole body.

    :raises TimeoutError: the deadline has passed.
    :raises IncompleteRead: the other side closed the connection early.
    """
    content = b""
    while len(content) < _LONGEST_ANSWER_BYTES:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        # The socket is None if the server closes the connection after this answer.
        if connection.sock is not None:
            connection.sock.settimeout(left)
        chunk = answer.read1(_CHUNK_BYTES)
        if not chunk and answer.length:
            raise http.client.IncompleteRead(content, answer.length)
        if not chunk:
            break
        content += chunk
    return content
