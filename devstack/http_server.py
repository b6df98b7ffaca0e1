"""The HTTP server of the devstack. It serves a WSGI application on the loopback address, in this process.

    with serving(app) as server:
        requests.get(server.url)

Werkzeug's own request handler closes the connection after each answer. The handler in this module keeps connections
alive, as the real services do, and reads each body to its end. If the application raises ``ConnectionDropped``, the
handler resets the connection without an answer.
"""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

if TYPE_CHECKING:
    import logging
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from _typeshed.wsgi import WSGIApplication

HOST = "127.0.0.1"
LONGEST_BODY_BYTES = 10_000_000
STOPPING_KEY = "devstack.stopping"
"""The WSGI environment's key for an Event that is set when the server closes. Delays wait on it and end early."""
GO_DOWN_KEY = "devstack.go_down"
"""The WSGI environment's key for ``Server.go_down``."""

_POLL_SECONDS = 0.02
_CLOSE_SECONDS = 10.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ConnectionDropped(ConnectionError):
    """Raised by an application to reset the client's connection without an answer."""


def wait(environ: Mapping[str, Any], seconds: float) -> None:
    """Wait before a request is answered.

    :raises ConnectionDropped: the server is shutting down.
    """
    stopping: threading.Event | None = environ.get(STOPPING_KEY)
    if stopping is None:
        time.sleep(seconds)
    elif seconds and stopping.wait(seconds):
        raise ConnectionDropped("the server is shutting down")


class _RequestHandler(WSGIRequestHandler):
    """Handles the requests of one connection one after another."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Nagle's algorithm makes a kept-alive connection wait for delayed acknowledgments

    def run_wsgi(self) -> None:
        self.environ = environ = self.make_environ()
        body = self._read_body(environ["wsgi.input"])
        if body is None:
            self.close_connection = True
            self.send_error(400, "The body cannot be read")
            return
        environ.pop("wsgi.input_terminated", None)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ[STOPPING_KEY] = self.server.stopping
        environ[GO_DOWN_KEY] = self.server.go_down
        try:
            self._answer(environ)
        except ConnectionDropped:
            self._reset()

    def _read_body(self, stream: Any) -> bytes | None:
        """Return the whole body, or None if it cannot be read.

        Unread bytes would be parsed as the next request.
        """
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return bytes(stream.read())
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > LONGEST_BODY_BYTES:
            return None
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None

    def _answer(self, environ: dict[str, Any]) -> None:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> Any:
            started.append((status, headers))

        content = b"".join(self.server.app(environ, start_response))
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
        """Reset the connection instead of closing it in the regular way."""
        self.close_connection = True
        with contextlib.suppress(OSError):  # the server may have closed the socket already
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """Log the request line and the status, but no headers. Do nothing if there is no logger."""
        if self.server.logger is not None:
            self.server.logger.info(format, *args)

    log_error = log_message

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the value of the Date header."""
        return super().date_time_string(self.server.clock().timestamp() if timestamp is None else timestamp)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.log_message("%r %s %s", self.requestline, code, size)


class Server(ThreadedWSGIServer):
    """A server with one thread per connection. Closing it leaves no threads or sockets behind."""

    def __init__(
        self,
        app: WSGIApplication,
        port: int = 0,
        *,
        logger: logging.Logger | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Start to listen and serve immediately, in a daemon thread.

        :param port: the port, or 0 for any free port.
        :param logger: receives one line per request, including the query. None disables logging.
        :param clock: the time for the Date header.
        :raises OSError: the port is in use or not permitted.
        """
        self.logger = logger
        self.clock = clock
        self.stopping = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._connections_lock = threading.Lock()
        # Bind here, because Werkzeug ends the process if it cannot bind.
        with socket.create_server((HOST, port), backlog=self.request_queue_size) as listener:
            super().__init__(HOST, port, app, _RequestHandler, ssl_context=tls, fd=listener.fileno())
        self._thread = self._serve()

    def _serve(self) -> threading.Thread:
        thread = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        thread.start()
        return thread

    @property
    def url(self) -> str:
        """The root URL, without a trailing slash."""
        return f"http{'s' if self.ssl_context else ''}://{HOST}:{self.port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the connection."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._connections_lock:
            self._connections[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection until it closes."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._connections_lock:
                del self._connections[threading.current_thread()]

    def stop_accepting(self) -> None:
        """Accept no more connections. Open connections continue."""
        self.shutdown()
        self._thread.join()

    def go_down(self, seconds: float) -> None:
        """Close all connections, except that of the calling thread, and refuse new ones for so long.

        Return when connections are refused. The port stays reserved. Only for a server without TLS.
        """
        self.stop_accepting()
        closed = socket.socket()  # bound, but not listening
        closed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        closed.bind((HOST, self.port))
        self.end(socket.SHUT_RDWR, but=threading.current_thread())

        def come_back() -> None:
            if self.stopping.wait(seconds):
                closed.close()
                return
            closed.listen(self.request_queue_size)
            self.socket = closed
            self._thread = self._serve()

        threading.Thread(target=come_back, daemon=True).start()

    def end(self, how: int, but: threading.Thread | None = None) -> None:
        """Shut down all open connections. With ``socket.SHUT_RD``, running requests are still answered.

        :param but: the connection of this thread stays open.
        """
        with self._connections_lock:
            connections = [connection for thread, connection in self._connections.items() if thread is not but]
        for connection in connections:
            with contextlib.suppress(OSError):  # the client may have closed the connection already
                connection.shutdown(how)

    def join(self, timeout_seconds: float) -> None:
        """Wait until all connections have closed."""
        deadline = time.monotonic() + timeout_seconds
        with self._connections_lock:
            threads = list(self._connections)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """End all delays and connections, and wait for their threads."""
        self.stop_accepting()
        self.stopping.set()
        self.end(socket.SHUT_RDWR)
        self.join(_CLOSE_SECONDS)


@contextlib.contextmanager
def serving(
    app: WSGIApplication,
    port: int = 0,
    *,
    logger: logging.Logger | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Serve the application until the block ends. See ``Server``."""
    server = Server(app, port, logger=logger, tls=tls)
    try:
        yield server
    finally:
        server.close()
