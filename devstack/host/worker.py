"""Runs functions as the Python worker does: sync ones on a pool of threads, async ones on one event loop."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from devstack.host.errors import HostStopping
from devstack.host.index import IndexedFunction
from devstack.host.invocation import Invocation

THREAD_COUNT_SETTING = "PYTHON_THREADPOOL_THREAD_COUNT"

_LOOP_STOP_SECONDS = 1.0
_log = logging.getLogger("devstack.host")


def thread_count(environ: Mapping[str, str]) -> int:
    """The size of the pool; the worker's default, that of Python, where the setting is absent or unusable."""
    default = min(32, (os.cpu_count() or 1) + 4)
    text = environ.get(THREAD_COUNT_SETTING)
    if text is None:
        return default
    if text.strip().isdecimal() and int(text) >= 1:
        return int(text)
    _log.warning("%s must be a whole number from 1; taking %d", THREAD_COUNT_SETTING, default)
    return default


class Worker:
    """The pool and the event loop, for the life of the host."""

    def __init__(self, *, threads: int, timeout_seconds: float | None) -> None:
        """Starts the event loop's thread; `timeout_seconds` is host.json's `functionTimeout`, None for none."""
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="function")
        self._lock = threading.Lock()
        self._running: set[Future[object]] = set()
        self._stopping = False
        self._loop_ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._loop_thread = threading.Thread(target=lambda: asyncio.run(self._run_loop()), daemon=True)
        self._loop_thread.start()
        self._loop, self._loop_stop = self._loop_ready.result()

    async def _run_loop(self) -> None:
        stop = asyncio.Event()
        self._loop_ready.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()

    def submit(self, function: IndexedFunction, datum: Any) -> Invocation:
        """Starts an invocation, or queues it for a thread.

        :raises HostStopping: after :meth:`close` has begun to shut the pool.
        """
        invocation = Invocation(function, datum, self._timeout_seconds)
        with self._lock:
            if self._stopping:
                raise HostStopping("the host is stopping")
            if function.is_async:
                future = asyncio.run_coroutine_threadsafe(invocation.run_async(), self._loop)
            else:
                future = self._pool.submit(invocation.run_sync)
            self._running.add(future)
        invocation.future = future
        future.add_done_callback(self._forget)
        return invocation

    def _forget(self, future: Future[object]) -> None:
        with self._lock:
            self._running.discard(future)

    def close(self, drain_seconds: float) -> int:
        """Lets running invocations finish, for at most `drain_seconds`, and frees the threads.

        :returns: how many sync functions are still running; their threads cannot be stopped.
        """
        deadline = time.monotonic() + drain_seconds
        while True:
            with self._lock:
                running = list(self._running)
                if not running or time.monotonic() >= deadline:
                    self._stopping = True
                    break
            wait(running, timeout=max(0.0, deadline - time.monotonic()))
        self._loop.call_soon_threadsafe(self._loop_stop.set)
        self._loop_thread.join(_LOOP_STOP_SECONDS)  # cancels what still runs on the loop
        self._pool.shutdown(wait=not running, cancel_futures=True)
        with self._lock:
            return len(self._running)
