"""One call of a function: its arguments, result and log line."""

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
    """One call of a function, running or ended. It logs one line when it ends."""

    def __init__(self, function: IndexedFunction, datum: Any, timeout_seconds: float | None) -> None:
        """Start the clock: the time spent waiting for a thread counts towards `functionTimeout`."""
        self.function = function
        self.invocation_id = str(uuid.uuid4())
        self.future: Future[object] = Future()  # replaced by the worker when the call starts
        self._datum = datum
        self._timeout_seconds = timeout_seconds
        self._started = time.monotonic()
        self._ended = False
        self._lock = threading.Lock()

    def result(self) -> object:
        """Wait for the function and return its return value, which is an HTTP answer for an HTTP function.

        :raises InvocationFailed: the function raised an exception, or returned a value that its bindings do not
            accept.
        :raises InvocationTimedOut: the function is still running after `functionTimeout`. It continues to run and
            occupies its thread, because a thread cannot be killed. The real host ends the whole worker process.
        """
        remaining_seconds = None
        if self._timeout_seconds is not None:
            remaining_seconds = max(0.0, self._started + self._timeout_seconds - time.monotonic())
        try:
            return self.future.result(remaining_seconds)
        except CancelledError as exc:
            error = InvocationFailed("canceled: the host is stopping")
            self._end(error)
            raise error from exc
        except TimeoutError as exc:  # not the function's own TimeoutError, which becomes InvocationFailed
            self.future.cancel()  # prevents a start that is still pending; stops an async function at its next await
            error = InvocationTimedOut(
                f"Timeout: {self.function.name} was still running after {self._timeout_seconds:g} s"
                " (functionTimeout of host.json)"
            )
            self._end(error)
            raise error from exc

    def run_sync(self) -> object:
        """Call a sync function. :raises InvocationFailed: see :meth:`result`."""
        try:
            value = self._returned(self.function.user_function(**self._arguments()))
        except BaseException as exc:
            raise self._failed(exc) from exc
        self._end(None)
        return value

    async def run_async(self) -> object:
        """Call an async function. :raises InvocationFailed: see :meth:`result`."""
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
                f"function {self.function.name} has no $return binding and must return None, got {type(value).__name__}"
            )
        return value

    def _failed(self, exc: BaseException) -> InvocationFailed:
        self._end(exc)
        return InvocationFailed(str(exc) or type(exc).__name__)

    def _end(self, error: BaseException | None) -> None:
        """Log the end of the invocation, once, even if the function ends after its timeout was logged."""
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
