"""Puts the host on a port of the loopback address."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from devstack.host.errors import AddressUnavailable
from devstack.host.host import Host
from devstack.http_server import HOST, Server

_CONNECTIONS_SECONDS = 2.0  # for the last answers to be written, once the functions have ended
_log = logging.getLogger("devstack.host")


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
        server = Server(host, port)  # without a log: a request's query holds the function key
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
            _log.warning("%d invocations still run after %g s; left behind", served.abandoned, drain_seconds)
