"""One call of one function: its arguments, its outcome, its log line."""

import asyncio
import inspect
import logging
import threading
import time
import uuid
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

from devstack.host import bindings
from devstack.host.errors import InvocationFailed, InvocationTimedOut
from devstack.host.index import IndexedFunction

_log = logging.getLogger("devstack.host")


class Invocation:
    """One call of one function, running or ended. Logs one line when it ends."""

    def __init__(self, function: IndexedFunction, datum: Any, timeout_seconds: float | None) -> None:
        """Starts the clock: waiting for a thread counts towards `functionTimeout`."""
        self.function = function
        self.invocation_id = str(uuid.uuid4())
        self.future: Future[object] = Future()  # the worker puts the running one here
        self._datum = datum
        self._timeout_seconds = timeout_seconds
        self._started = time.monotonic()
        self._ended = False
        self._lock = threading.Lock()

    def result(self) -> object:
        """Waits, and gives what the function returned (made an HTTP answer, for an HTTP function).

        :raises InvocationFailed: the function raised, or returned what its bindings cannot carry.
        :raises InvocationTimedOut: it still runs at `functionTimeout`. A thread cannot be killed, so the
            function runs on, and holds its thread; the real host puts an end to the whole worker process.
        """
        remaining_seconds = None
        if self._timeout_seconds is not None:
            remaining_seconds = max(0.0, self._started + self._timeout_seconds - time.monotonic())
        try:
            return self.future.result(remaining_seconds)
        except CancelledError as exc:
            error = InvocationFailed("cancelled: the host is stopping")
            self._end(error)
            raise error from exc
        except TimeoutError as exc:  # never the function's own: that comes as InvocationFailed
            self.future.cancel()  # not begun: it never will; an async function stops at its next await
            error = InvocationTimedOut(
                f"Timeout: {self.function.name} was still running after {self._timeout_seconds:g} s"
                " (functionTimeout of host.json)"
            )
            self._end(error)
            raise error from exc

    def run_sync(self) -> object:
        """Calls a sync function. :raises InvocationFailed: see :meth:`result`."""
        try:
            value = self._returned(self.function.user_function(**self._arguments()))
        except BaseException as exc:
            raise self._failed(exc) from exc
        self._end(None)
        return value

    async def run_async(self) -> object:
        """Calls an async function. :raises InvocationFailed: see :meth:`result`."""
        try:
            value = self._returned(await self.function.user_function(**self._arguments()))
        except asyncio.CancelledError as exc:
            self._end(exc)
            raise
        except BaseException as exc:
            raise self._failed(exc) from exc
        self._end(None)
        return value

    def _arguments(self) -> dict[str, object]:
        function = self.function
        arguments = {function.trigger_parameter: bindings.argument(function.trigger_converter, self._datum)}
        if function.requires_context:
            directory = str(Path(inspect.getfile(function.user_function)).parent)
            arguments["context"] = bindings.InvocationContext(function.name, directory, self.invocation_id)
        return arguments

    def _returned(self, value: object) -> object:
        if self.function.returns_http:
            return bindings.http_response(self.function.name, value)
        if value is not None and not self.function.has_return:
            raise RuntimeError(
                f"function {self.function.name} has no $return binding, and returned {type(value).__name__}"
            )
        return value

    def _failed(self, exc: BaseException) -> InvocationFailed:
        self._end(exc)
        return InvocationFailed(str(exc) or type(exc).__name__)

    def _end(self, error: BaseException | None) -> None:
        """Logs the end; only once, where a function ends after its time was up."""
        with self._lock:
            ended, self._ended = self._ended, True
        if ended:
            return
        duration_ms = round((time.monotonic() - self._started) * 1000)
        name, invocation_id = self.function.name, self.invocation_id
        if error is None:
            _log.info("Executed '%s' (Succeeded, Id=%s, Duration=%dms)", name, invocation_id, duration_ms)
            return
        _log.error(
            "Executed '%s' (Failed, Id=%s, Duration=%dms): %s: %s",
            name,
            invocation_id,
            duration_ms,
            type(error).__name__,
            error,
            exc_info=error if _log.isEnabledFor(logging.DEBUG) else None,
        )
