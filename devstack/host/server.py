"""Puts the host on a port of 127.0.0.1: Werkzeug's threaded server, with HTTP/1.1 connections kept alive."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

from devstack.host.errors import AddressUnavailable
from devstack.host.host import Host

ADDRESS = "127.0.0.1"

_POLL_SECONDS = 0.05
_CONNECTIONS_SECONDS = 2.0  # for the last answers to be written, once the functions have ended
_log = logging.getLogger("devstack.host")


class _RequestHandler(WSGIRequestHandler):
    """One connection. Werkzeug's own closes it after each answer; the real host does not."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise a kept connection waits for delayed acknowledgements

    def run_wsgi(self) -> None:
        """Answers one request; the host has read all of its body, so that the next one may follow."""
        body, status, headers = run_wsgi_app(self.server.app, self.make_environ(), buffered=True)
        code = int(status.split(maxsplit=1)[0])
        content = b"".join(body)
        self.send_response(code)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        if code not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.send_header("Content-Length", str(len(content)))
            if self.command == "HEAD":
                content = b""
        else:
            content = b""
        self.end_headers()
        self.wfile.write(content)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Logs nothing: the line has the query in it, and so the function key."""


class _Server(ThreadedWSGIServer):
    """Knows its connections, to close them all at the end."""

    def __init__(self, host: Host, port: int) -> None:
        """Binds and listens. :raises OSError: the port cannot be had."""
        self.connections: dict[socket.socket, threading.Thread] = {}
        self.connections_lock = threading.Lock()
        with socket.socket() as listener:  # Werkzeug, binding by itself, ends the process where it cannot
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((ADDRESS, port))
            listener.listen(self.request_queue_size)
            super().__init__(ADDRESS, port, host, _RequestHandler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the connection's thread."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self.connections_lock:
            self.connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Called by the connection's thread as its last act."""
        with self.connections_lock:
            self.connections.pop(request, None)
        super().shutdown_request(request)

    def stop_reading(self) -> None:
        """No further request on any connection; answers can still be written."""
        for connection, _ in self.open_connections():
            with contextlib.suppress(OSError):  # the other side was quicker
                connection.shutdown(socket.SHUT_RD)

    def join_connections(self, timeout_seconds: float) -> None:
        """Waits for the connections to end, then cuts off those that do not."""
        deadline = time.monotonic() + timeout_seconds
        for connection, thread in self.open_connections():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def open_connections(self) -> list[tuple[socket.socket, threading.Thread]]:
        """A snapshot."""
        with self.connections_lock:
            return list(self.connections.items())


@dataclass
class Served:
    """A host on a port."""

    host: Host
    url: str  # http://127.0.0.1:PORT, without a slash at the end
    port: int
    abandoned: int = field(default=0)  # after the end: functions that did not finish in time


@contextlib.contextmanager
def serve(host: Host, port: int = 0, *, drain_seconds: float = 5.0) -> Iterator[Served]:
    """Serves `host` on 127.0.0.1 (port 0: a free one) until the block ends, then closes both.

    At the end nothing new is taken, running invocations have `drain_seconds` to finish and their answers are
    still sent.

    :raises AddressUnavailable: the port is taken, or may not be bound; the host is closed.
    """
    try:
        server = _Server(host, port)
    except OSError as exc:
        host.close(0)
        raise AddressUnavailable(f"port {port} of {ADDRESS} cannot be used: {exc.strerror}") from exc
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
    thread.start()
    served = Served(host, f"http://{ADDRESS}:{server.port}", server.port)
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.stop_reading()
        served.abandoned = host.close(drain_seconds)
        server.join_connections(0.0 if served.abandoned else _CONNECTIONS_SECONDS)
        if served.abandoned:
            _log.warning("%d invocations still run after %g s; left behind", served.abandoned, drain_seconds)
