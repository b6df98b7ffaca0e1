"""Which log records the host hears.

The worker sends each record with the ID of the invocation on whose thread or task it was logged. The host drops records
without the ID of a running invocation: those of threads that the app starts itself, those of an import, and those that
are logged after the invocation has ended. The worker keeps the ID of a sync function in a thread-local variable up to
Python 3.12, and in a context variable from 3.13.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

OWN_LOG = "devstack.host"

_running: set[str] = set()
_in_context: ContextVar[str | None] = ContextVar("invocation", default=None)
_on_thread = threading.local()


@contextmanager
def invocation(invocation_id: str) -> Iterator[None]:
    """Let the host hear what is logged on this thread or task in the block."""
    _running.add(invocation_id)
    token = _in_context.set(invocation_id)
    if not _is_task():
        _on_thread.invocation_id = invocation_id
    try:
        yield
    finally:
        end(invocation_id)
        _in_context.reset(token)
        if not _is_task():
            _on_thread.invocation_id = None


def end(invocation_id: str) -> None:
    """Hear nothing more of an invocation. Its thread may still be running."""
    _running.discard(invocation_id)


def heard(record: logging.LogRecord) -> bool:
    """Filter for a handler. Call it on the thread that logs, as handlers do."""
    return record.name == OWN_LOG or _current() in _running


def _current() -> str | None:
    if sys.version_info >= (3, 13) or _is_task():
        return _in_context.get()
    return getattr(_on_thread, "invocation_id", None)


def _is_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no event loop runs on this thread
        return False
