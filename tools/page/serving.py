"""Serves the page on 127.0.0.1 until Ctrl-C, or until its terminal is closed."""

import contextlib
import os
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from tools.errors import CommandFailed
from tools.page.page import HOST

_WAITING_CONNECTIONS: Final = 128
_POLL_SECONDS: Final = 0.1
_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)
"""SIGHUP: the terminal was closed, or the connection to the machine was lost."""


def listen(port: int) -> socket.socket:
    """Return a socket that listens on this machine only.

    :param port: 0 for any free port.
    :raises CommandFailed: the port is in use or not permitted.
    """
    try:
        return socket.create_server((HOST, port), backlog=_WAITING_CONNECTIONS)
    except OSError as exc:
        raise CommandFailed(
            f"cannot listen on {HOST}:{port}: {os.strerror(exc.errno or 0)}; end the page that runs there, or choose "
            "another port with --port"
        ) from exc


def serve(app: Flask, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Answer requests until Ctrl-C, or until a signal ends the process.

    :param ready: is called when requests are answered.
    """
    with _interrupted_by(*_ENDS), contextlib.suppress(KeyboardInterrupt):
        server = ThreadedWSGIServer(HOST, listener.getsockname()[1], app, _QuietHandler, fd=listener.fileno())
        try:
            ready()
            server.serve_forever(_POLL_SECONDS)
        finally:
            server.server_close()


def open_browser(url: str) -> None:
    """Open a browser in the background, since some browsers return only at their end."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


class _QuietHandler(WSGIRequestHandler):
    """Logs nothing: a request line may contain the token."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name is Werkzeug's
        pass

    def version_string(self) -> str:
        return "nextstage"


@contextlib.contextmanager
def _interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """Let signals end the block as Ctrl-C does, so that what has to be removed at the end is removed.

    A signal that is ignored, as SIGHUP is after ``nohup``, stays so.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handlers = {number: signal.getsignal(number) for number in numbers}
    changed = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}
    for number in changed:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)
