"""Serves an emulator over HTTP/1.1 on the loopback address.

Werkzeug's own request handler closes the connection after each answer and waits a while before it does. This one
keeps connections alive, reads each body to its end, and can break a connection without an answer.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from devstack.ado.emulator import STOPPING_KEY, Emulator
from devstack.ado.errors import ConnectionDropped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import WSGIApplication

HOST = "127.0.0.1"
LONGEST_BODY_BYTES = 10_000_000
_POLL_SECONDS = 0.05
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

logger = logging.getLogger(__name__)


class _RequestHandler(WSGIRequestHandler):
    """Handles the requests of one connection, one after the other."""

    server: EmulatorServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        self.environ = environ = self.make_environ()
        body = self._read_body(environ["wsgi.input"])
        if body is None:
            return
        environ.pop("wsgi.input_terminated", None)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ[STOPPING_KEY] = self.server.stopping
        try:
            self._answer(environ)
        except ConnectionDropped:
            self._reset()

    def _read_body(self, stream: Any) -> bytes | None:
        """The whole body: what stays unread would be taken for the next request. None if it was refused."""
        length = self.headers.get("Content-Length", "0")
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body: bytes = stream.read()
            return body
        if length.isdigit() and int(length) <= LONGEST_BODY_BYTES:
            return self.rfile.read(int(length))
        self.close_connection = True
        self.send_error(400, "The Content-Length cannot be served")
        return None

    def _answer(self, environ: dict[str, Any]) -> None:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> Any:
            started.append((status, headers))

        chunks = self.server.app(environ, start_response)
        content = b"".join(chunks)
        status, headers = started[0]
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        """Closes the connection the hard way, so that the client sees a reset and not a polite end."""
        self.close_connection = True
        # The socket may be gone already, with a server that shuts down.
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """A line holds the request line and the status, never a header."""
        logger.info(format, *args)

    log_error = log_message

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.log_message("%r %s %s", self.requestline, code, size)


class EmulatorServer(ThreadedWSGIServer):
    """A thread per connection, and an end that leaves neither threads nor sockets behind."""

    def __init__(self, app: WSGIApplication, port: int) -> None:
        """Listens at once.

        :raises OSError: the port is taken or may not be used.
        """
        self.stopping = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._connections_lock = threading.Lock()
        # Werkzeug ends the process when it cannot bind, so the binding is done here.
        with socket.create_server((HOST, port), backlog=self.request_queue_size) as listener:
            super().__init__(HOST, port, app, _RequestHandler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True, name="devstack.ado"
        )
        with self._connections_lock:
            self._connections[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._connections_lock:
                del self._connections[threading.current_thread()]

    def stop(self) -> None:
        """Ends delays and open connections, and waits for their threads. Call it after ``serve_forever`` ended."""
        self.stopping.set()
        with self._connections_lock:
            connections = dict(self._connections)
        for thread, connection in connections.items():
            # A connection that its client has closed already cannot be shut down.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()
        self.server_close()


@dataclass(frozen=True)
class Served:
    """A running server: ``url`` is its root, ``organization_url`` what clients take as the organisation."""

    emulator: Emulator
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def organization_url(self) -> str:
        return f"{self.url}/{self.emulator.declaration.organization}"

    @property
    def identity_endpoint(self) -> str:
        """What IDENTITY_ENDPOINT is to be for the emulated managed identity."""
        return f"{self.url}/_emulator/identity"


@contextmanager
def serve(emulator: Emulator, port: int = 0) -> Iterator[Served]:
    """Serves in a daemon thread for as long as the block lasts; port 0 takes a free one.

    At the end the requests of agentless tasks that are still under way are broken off.

    :raises OSError: the port is taken.
    """
    server = EmulatorServer(emulator, port)
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
    thread.start()
    try:
        yield Served(emulator, server.port)
    finally:
        server.shutdown()
        thread.join()
        emulator.state.sender.stop()
        server.stop()
