"""One call of a function: its arguments, result and log line."""

import asyncio
import inspect
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from devstack.host import bindings, hearing
from devstack.host.errors import InvocationFailed, InvocationTimedOut
from devstack.host.index import IndexedFunction

_log = logging.getLogger("devstack.host")


class Invocation:
    """One call of a function, running or ended. It logs one line when it ends."""

    def __init__(
        self,
        function: IndexedFunction,
        datum: Any,
        metadata: Mapping[str, Any],
        timeout_seconds: float | None,
        kill_worker: Callable[[], None],
    ) -> None:
        """Start the clock: the time spent waiting for a thread counts towards `functionTimeout`."""
        self.function = function
        self.invocation_id = str(uuid.uuid4())
        self._datum = datum
        self._metadata = metadata
        self._timeout_seconds = timeout_seconds
        self._kill_worker = kill_worker
        self._started = time.monotonic()
        self._outcome: Future[object] = Future()
        self._lock = threading.Lock()

    def result(self) -> object:
        """Wait for the function and return its return value, which is an HTTP answer for an HTTP function.

        :raises InvocationFailed: the function raised an exception, or returned a value that its bindings do not
            accept, or the worker was killed or stopped.
        :raises InvocationTimedOut: the function was still running after `functionTimeout`. The worker is killed.
        """
        remaining_seconds = None
        if self._timeout_seconds is not None:
            remaining_seconds = max(0.0, self._started + self._timeout_seconds - time.monotonic())
        try:
            return self._outcome.result(remaining_seconds)
        except TimeoutError:  # not the function's own TimeoutError, which becomes InvocationFailed
            limit = timespan(self._timeout_seconds or 0.0)
            text = f"Timeout value of {limit} was exceeded by function: {self.function.full_name}"
            if self.end(InvocationTimedOut(text)):
                self._kill_worker()
            return self._outcome.result()

    def settle(self, future: "Future[object]") -> None:
        """Take the outcome over from the worker's future."""
        if future.cancelled():
            self.end(InvocationFailed("canceled: the host is stopping"))
        elif (error := future.exception()) is not None:
            self.end(error)
        else:
            self.end(None, future.result())

    def run_sync(self) -> object:
        """Call a sync function. :raises InvocationFailed: see :meth:`result`."""
        try:
            with hearing.invocation(self.invocation_id):
                return self._returned(self.function.user_function(**self._arguments()))
        except BaseException as exc:
            raise _failed(exc) from exc

    async def run_async(self) -> object:
        """Call an async function. :raises InvocationFailed: see :meth:`result`."""
        try:
            with hearing.invocation(self.invocation_id):
                return self._returned(await self.function.user_function(**self._arguments()))
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            raise _failed(exc) from exc

    def _arguments(self) -> dict[str, object]:
        function = self.function
        argument = bindings.argument(function.trigger_converter, self._datum, self._metadata)
        arguments = {function.trigger_parameter: argument}
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

    def end(self, error: BaseException | None, value: object = None) -> bool:
        """Log the end of the invocation, and set its outcome. Return False if it has ended before."""
        with self._lock:
            if self._outcome.done():
                return False
            hearing.end(self.invocation_id)
            self._log_end(error)
            if error is None:
                self._outcome.set_result(value)
            else:
                self._outcome.set_exception(error)
        return True

    def _log_end(self, error: BaseException | None) -> None:
        duration_ms = round((time.monotonic() - self._started) * 1000)
        name, invocation_id = self.function.name, self.invocation_id
        if error is None:
            _log.info("Executed '%s' (Succeeded, Id=%s, Duration=%dms)", name, invocation_id, duration_ms)
            return
        cause = error.__cause__ or error
        _log.error(
            "Executed '%s' (Failed, Id=%s, Duration=%dms): %s: %s",
            name,
            invocation_id,
            duration_ms,
            type(cause).__name__,
            cause,
            exc_info=cause if _log.isEnabledFor(logging.DEBUG) else None,
        )


def _failed(exc: BaseException) -> InvocationFailed:
    return InvocationFailed(str(exc) or type(exc).__name__)


def timespan(seconds: float) -> str:
    """Return a duration as .NET writes a TimeSpan: `[d.]hh:mm:ss[.fffffff]`."""
    whole, fraction = divmod(round(seconds * 10_000_000), 10_000_000)
    days, rest = divmod(whole, 86_400)
    return (
        (f"{days}." if days else "")
        + f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
        + (f".{fraction:07}" if fraction else "")
    )
