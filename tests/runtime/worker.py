"""A Functions worker: Microsoft's runtime library, which gets the host's messages as lines of JSON instead of gRPC.

This is a standalone program. Run it as `python -P worker.py` with a Python 3.13 that has only requirements/runtime.txt.
From this project, it imports nothing except the app that it is told to load.

Each line is a StreamingMessage of function_rpc.proto in protobuf's JSON form. Requests arrive on standard input.
Answers and logs are written to standard output, and the output of functions to standard error. The program ends when
its input ends.

In Azure, Microsoft's proxy worker calls the library. The code here does the same before and after each entry point.
Source: https://github.com/Azure/azure-functions-python-worker, workers/proxy_worker.
"""

import asyncio
import contextvars
import importlib
import logging
import os
import sys
import sysconfig
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import grpc
from google.protobuf import json_format

PROTO = Path(__file__).with_name("function_rpc.proto")
RUNTIME_LIBRARY = "azure_functions_runtime"
PACKAGES = Path(".python_packages", "lib", "site-packages")
WORKER_PACKAGES = sysconfig.get_path("purelib")

# The answer to each request. The library's entry points have the names of the requests.
ANSWERS = {
    "worker_init_request": "worker_init_response",
    "functions_metadata_request": "function_metadata_response",
    "function_load_request": "function_load_response",
    "invocation_request": "invocation_response",
    "function_environment_reload_request": "function_environment_reload_response",
}
START_REQUESTS = ("worker_init_request", "function_environment_reload_request")

SYSTEM_LOGS = ("proxy_worker", "azure.functions", "azure_functions_runtime")
LEVELS = (
    (logging.CRITICAL, "Critical"),
    (logging.ERROR, "Error"),
    (logging.WARNING, "Warning"),
    (logging.INFO, "Information"),
    (logging.DEBUG, "Debug"),
)

LIBRARY_FAILED = 70  # exit code

_invocation_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("invocation", default=None)


@dataclass
class WorkerRequest:
    """The argument of the library's entry points."""

    name: str
    request: Any  # a StreamingMessage
    properties: dict[str, Any] | None = None


class Worker:
    """Passes requests to the library, and sends its answers."""

    def __init__(self, protos: Any, output: BinaryIO) -> None:
        """:param protos: the module of function_rpc.proto."""
        self.protos = protos
        self._output = output
        self._lock = threading.Lock()
        self._library: Any = None

    def send(self, **content: Any) -> None:
        """Send one message as a line. Any thread may call this method."""
        message = self.protos.StreamingMessage(**content)
        line = json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)
        with self._lock:
            self._output.write(line.encode() + b"\n")
            self._output.flush()

    async def handle(self, line: bytes) -> None:
        """Answer one request. If the library raises an exception, print it and end the process.

        The proxy worker would never answer such a request.
        """
        try:
            request = json_format.Parse(line, self.protos.StreamingMessage())
            await self._answer(request)
        except BaseException:  # noqa: BLE001 - nothing else would report it
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(LIBRARY_FAILED)

    async def _answer(self, request: Any) -> None:
        kind = request.WhichOneof("content")
        properties = None
        if kind in START_REQUESTS:
            self._load_library(request, kind)
            properties = {"protos": self.protos, "host": "127.0.0.1"}
        if kind == "invocation_request":
            _invocation_id.set(request.invocation_request.invocation_id)
        answer = await getattr(self._library, kind)(WorkerRequest(kind, request, properties))
        self.send(request_id=request.request_id, **{ANSWERS[kind]: answer})

    def _load_library(self, request: Any, kind: str) -> None:
        # Azure starts some workers in advance, without an app, and reloads their environment when the app is known.
        if kind != "worker_init_request" or os.environ.get("WEBSITE_PLACEHOLDER_MODE") != "1":
            use_app_dependencies(Path(getattr(request, kind).function_app_directory))
        self._library = importlib.import_module(RUNTIME_LIBRARY)
        self._library.start_threadpool_executor()

    def invocation_id(self) -> str | None:
        """Return the ID of the calling thread's or task's invocation."""
        own: str | None = self._library.invocation_id_cv.get() if self._library else None
        return own or _invocation_id.get()

    def stop(self) -> None:
        """Wait for running functions."""
        if self._library is not None:
            self._library.stop_threadpool_executor()


def use_app_dependencies(app_dir: Path) -> None:
    """Put the app's packages before the worker's in `sys.path`, and the app itself at the end.

    Unload the modules that the worker has imported from its own packages, so that the app imports its own versions. The
    modules of the messages stay loaded, because they depend on each other.
    """
    packages = app_dir / PACKAGES
    if packages.is_dir():
        sys.path.insert(0, str(packages))
    sys.path.append(str(app_dir))
    for name, module in list(sys.modules.items()):
        from_worker = str(getattr(module, "__file__", None)).startswith(WORKER_PACKAGES)
        if from_worker and not name.startswith(("google", "grpc")):
            del sys.modules[name]
    importlib.invalidate_caches()


class HostLog(logging.Handler):
    """Sends every log record to the host. Like the proxy worker's handler, it does not catch exceptions."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        log = self._worker.protos.RpcLog
        self._worker.send(
            rpc_log=log(
                level=next((name for number, name in LEVELS if record.levelno >= number), "None"),
                message=self.format(record),
                category=record.name,
                log_category="System" if record.name.startswith(SYSTEM_LOGS) else "User",
                invocation_id=self._worker.invocation_id(),
            )
        )


def load_protos() -> Any:
    """Return the module that protoc generates from function_rpc.proto."""
    sys.path.append(str(PROTO.parent))
    try:
        return grpc.protos(PROTO.name)
    finally:
        sys.path.remove(str(PROTO.parent))


def protocol_output() -> BinaryIO:
    """Reserve standard output for messages, and redirect the output of functions to standard error."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return output


async def serve(worker: Worker) -> None:
    """Serve until standard input ends, which means that the host has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    def start(line: bytes) -> None:
        task = loop.create_task(worker.handle(line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def read() -> None:
        for line in sys.stdin.buffer:
            loop.call_soon_threadsafe(start, line)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, daemon=True).start()
    await ended.wait()
    await asyncio.gather(*tasks)
    worker.stop()


def main() -> None:
    worker = Worker(load_protos(), protocol_output())
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if os.environ.get("PYTHON_ENABLE_DEBUG_LOGGING") == "1" else logging.INFO)
    root.addHandler(HostLog(worker))
    asyncio.run(serve(worker))


if __name__ == "__main__":
    main()
