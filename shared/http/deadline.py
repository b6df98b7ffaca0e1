"""Connections with one deadline for a whole answer.

The timeout of a socket applies to each read. A server that sends one byte or one header at a time could keep a thread
busy without limit.
"""

import io
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _Reader(io.RawIOBase):
    """Reads from a socket until its deadline."""

    def __init__(self, connection: "_Socket", raw: Any) -> None:
        self._connection = connection
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.limit_read()
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """A socket whose timeout covers all reads until the timeout is set again."""

    def __init__(self, connected: Any) -> None:
        self._connected = connected
        self._ends_at: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self._connected.settimeout(seconds)
        self._ends_at = None if seconds is None else time.monotonic() + seconds

    def limit_read(self) -> None:
        """Limit the next read to the time that is left.

        :raises TimeoutError: no time is left.
        """
        if self._ends_at is not None:
            if (seconds := self._ends_at - time.monotonic()) <= 0:
                raise TimeoutError("the answer did not end in time")
            self._connected.settimeout(seconds)

    def makefile(self, mode: str, *_: Any, **__: Any) -> io.BufferedReader:
        """Return what ``http.client`` reads an answer from."""
        return io.BufferedReader(_Reader(self, self._connected.makefile(mode, buffering=0)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connected, name)


class _HttpConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = _Socket(self.sock)


class _HttpsConnection(HTTPSConnection):
    def _tunnel(self) -> None:
        """Ask a proxy for a tunnel. Its answer has a deadline too. TLS then needs the socket itself."""
        connected = self.sock
        self.sock = _Socket(connected)
        self.sock.settimeout(connected.gettimeout())
        super()._tunnel()
        self.sock = connected
        connected.settimeout(self.timeout)

    def connect(self) -> None:
        super().connect()
        self.sock = _Socket(self.sock)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


POOLS: Final[Mapping[str, type[HTTPConnectionPool]]] = MappingProxyType({"http": _HttpPool, "https": _HttpsPool})
"""For ``PoolManager.pool_classes_by_scheme``."""
