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
    """A running server: ``url`` is its root, ``organization_url`` what clients take as the organization."""

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
    """Serve until the block ends, then break off the requests of agentless tasks. Port 0 takes a free one.

    :raises OSError: the port is taken.
    """
    server = Server(emulator, port, logger=logger)
    try:
        yield Served(emulator, server.port)
    finally:
        server.stop_accepting()
        emulator.state.sender.stop()
        server.close()
