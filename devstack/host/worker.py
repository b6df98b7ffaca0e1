"""Runs functions as the Python worker does: sync ones on a pool of threads, async ones on one event loop."""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import MappingProxyType
from typing import Any

from devstack.host.errors import HostStopping, WorkerKilled
from devstack.host.index import IndexedFunction
from devstack.host.invocation import Invocation

THREAD_COUNT_SETTING = "PYTHON_THREADPOOL_THREAD_COUNT"
DEFAULT_THREAD_COUNT = 1000
"""The host sets this value if the app does not."""

_LOOP_STOP_SECONDS = 1.0
_NO_METADATA: Mapping[str, Any] = MappingProxyType({})
_log = logging.getLogger("devstack.host")


def thread_count(environ: Mapping[str, str]) -> int:
    """Return the size of the thread pool. If the setting is absent or invalid, it is the number that the host sets."""
    text = environ.get(THREAD_COUNT_SETTING)
    if text is None:
        return DEFAULT_THREAD_COUNT
    if text.strip().isdecimal() and int(text) >= 1:
        return int(text)
    _log.warning("%s must be a whole number of at least 1; using %d", THREAD_COUNT_SETTING, DEFAULT_THREAD_COUNT)
    return DEFAULT_THREAD_COUNT


class Worker:
    """The thread pool and the event loop of a host.

    If an invocation exceeds `functionTimeout`, the worker is killed: all its invocations fail, and later ones get a new
    pool. Threads cannot be killed. What they do after that may still have effects, other than in the real host.
    """

    def __init__(self, *, threads: int, timeout_seconds: float | None) -> None:
        """Start the thread of the event loop.

        :param timeout_seconds: `functionTimeout` from host.json, or None for no limit.
        """
        self.threads = threads
        self._timeout_seconds = timeout_seconds
        self._pool = self._new_pool()
        self._lock = threading.Lock()
        self._running: dict[Future[object], Invocation] = {}
        self._stopping = False
        self._loop_ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._loop_thread = threading.Thread(target=lambda: asyncio.run(self._run_loop()), daemon=True)
        self._loop_thread.start()
        self._loop, self._loop_stop = self._loop_ready.result()

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=self.threads, thread_name_prefix="function")

    async def _run_loop(self) -> None:
        stop = asyncio.Event()
        self._loop_ready.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()

    def submit(self, function: IndexedFunction, datum: Any, metadata: Mapping[str, Any] = _NO_METADATA) -> Invocation:
        """Start an invocation, or queue it until a thread is free.

        :param metadata: what else the trigger says, by name.
        :raises HostStopping: :meth:`close` has started to shut down the pool.
        """
        invocation = Invocation(function, datum, metadata, self._timeout_seconds, self._kill)
        with self._lock:
            if self._stopping:
                raise HostStopping("the host is stopping")
            if function.is_async:
                future = asyncio.run_coroutine_threadsafe(invocation.run_async(), self._loop)
            else:
                future = self._pool.submit(invocation.run_sync)
            self._running[future] = invocation
        future.add_done_callback(invocation.settle)
        future.add_done_callback(self._forget)
        return invocation

    def _forget(self, future: Future[object]) -> None:
        with self._lock:
            self._running.pop(future, None)

    def _kill(self) -> None:
        """Fail everything that runs or waits, and go on with a new pool."""
        with self._lock:
            pool, self._pool = self._pool, self._new_pool()
            running = dict(self._running)
        for future, invocation in running.items():
            invocation.end(WorkerKilled("the worker was killed"))
            future.cancel()  # prevents a start that is still pending; stops an async function at its next await
        pool.shutdown(wait=False, cancel_futures=True)

    def close(self, drain_seconds: float) -> int:
        """Wait at most `drain_seconds` for running invocations, then shut down the pool and the event loop.

        :returns: the number of sync functions that are still running. Their threads cannot be stopped.
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
        self._loop_thread.join(_LOOP_STOP_SECONDS)  # asyncio.run cancels what still runs on the loop
        self._pool.shutdown(wait=not running, cancel_futures=True)
        with self._lock:
            return len(self._running)
