"""Serves the stand-in host on a port of the loopback address."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devstack.host.errors import AddressUnavailable
from devstack.host.host import Host
from devstack.http_server import HOST, Server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_NO_LIMIT_SECONDS = 1e6
_HANDOVER_SECONDS = 1.0  # a request that has just arrived may still reach the old host
_CONNECTIONS_SECONDS = 2.0  # time to send the last answers after the functions have ended
_log = logging.getLogger("devstack.host")


@dataclass
class Served:
    """A host that is being served."""

    host: Host
    url: str = ""  # http://127.0.0.1:PORT, without a trailing slash
    port: int = 0
    abandoned: int = field(default=0)  # set at the end: the number of functions that did not finish in time
    _ending: list[threading.Thread] = field(default_factory=list)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        return self.host(environ, start_response)

    def replace(self, host: Host) -> None:
        """Serve another host from now on. What the old one runs ends there."""
        old, self.host = self.host, host
        old.end_threads()
        longest = old.settings.function_timeout_seconds or _NO_LIMIT_SECONDS
        thread = threading.Thread(target=_retire, args=(old, longest), daemon=True)
        thread.start()
        self._ending = [thread, *(one for one in self._ending if one.is_alive())]

    def close(self, drain_seconds: float) -> None:
        """Close the host, and count what still runs on it and on those that it has replaced."""
        deadline = time.monotonic() + drain_seconds
        self.abandoned = self.host.close(drain_seconds)
        for thread in self._ending:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.abandoned += sum(thread.is_alive() for thread in self._ending)


def _retire(host: Host, longest_seconds: float) -> None:
    time.sleep(_HANDOVER_SECONDS)
    host.close(longest_seconds)


@contextlib.contextmanager
def serve(host: Host, port: int = 0, *, drain_seconds: float = 5.0) -> Iterator[Served]:
    """Serve `host` on 127.0.0.1 until the block ends, then close the server and the host.

    At the end, new connections are not accepted. Running invocations have `drain_seconds` to finish, and their answers
    are still sent.

    :param port: the port, or 0 for any free port.
    :raises AddressUnavailable: the port is in use or not permitted. The host is closed.
    """
    served = Served(host)
    try:
        # Without a logger, because a request's query contains the function key.
        server = Server(served, port)
    except OSError as exc:
        host.close(0)
        raise AddressUnavailable(f"port {port} of {HOST} cannot be used: {exc.strerror}") from exc
    served.url, served.port = server.url, server.port
    try:
        yield served
    finally:
        server.stop_accepting()
        server.end(socket.SHUT_RD)
        served.close(drain_seconds)
        server.join(0.0 if served.abandoned else _CONNECTIONS_SECONDS)
        server.end(socket.SHUT_RDWR)
        if served.abandoned:
            _log.warning("abandoned %d invocations that were still running after %g s", served.abandoned, drain_seconds)
