"""Serves the stand-in host on a port of the loopback address."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from devstack.host.errors import AddressUnavailable
from devstack.host.host import Host
from devstack.http_server import HOST, Server

_CONNECTIONS_SECONDS = 2.0  # time to send the last answers after the functions have ended
_log = logging.getLogger("devstack.host")


@dataclass
class Served:
    """A host that is being served."""

    host: Host
    url: str  # http://127.0.0.1:PORT, without a trailing slash
    port: int
    abandoned: int = field(default=0)  # set at the end: the number of functions that did not finish in time


@contextlib.contextmanager
def serve(host: Host, port: int = 0, *, drain_seconds: float = 5.0) -> Iterator[Served]:
    """Serve `host` on 127.0.0.1 until the block ends, then close the server and the host.

    At the end, new connections are not accepted. Running invocations have `drain_seconds` to finish, and their answers
    are still sent.

    :param port: the port, or 0 for any free port.
    :raises AddressUnavailable: the port is in use or not permitted. The host is closed.
    """
    try:
        server = Server(host, port)  # without a logger, because a request's query contains the function key
    except OSError as exc:
        host.close(0)
        raise AddressUnavailable(f"port {port} of {HOST} cannot be used: {exc.strerror}") from exc
    served = Served(host, server.url, server.port)
    try:
        yield served
    finally:
        server.stop_accepting()
        server.end(socket.SHUT_RD)
        served.abandoned = host.close(drain_seconds)
        server.join(0.0 if served.abandoned else _CONNECTIONS_SECONDS)
        server.end(socket.SHUT_RDWR)
        if served.abandoned:
            _log.warning("abandoned %d invocations that were still running after %g s", served.abandoned, drain_seconds)
