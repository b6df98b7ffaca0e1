"""Serves an emulator on the loopback address."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devstack.http_server import HOST, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devstack.ado.emulator import Emulator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A running server. ``url`` is its root URL, ``organization_url`` the organization's URL for clients."""

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
        """The value of IDENTITY_ENDPOINT for the emulated managed identity."""
        return f"{self.url}/_emulator/identity"


@contextmanager
def serve(emulator: Emulator, port: int = 0) -> Iterator[Served]:
    """Serve an emulator until the block ends, then cancel the requests of agentless tasks.

    :param port: the port, or 0 for any free port.
    :raises OSError: the port is in use.
    """
    server = Server(emulator, port, logger=logger, clock=emulator.clock)
    try:
        yield Served(emulator, server.port)
    finally:
        server.stop_accepting()
        emulator.state.sender.stop()
        server.close()
