"""The host's side of a worker process. It starts the worker, sends requests, and collects answers and logs.

with start(python, environment, folder) as worker:
    worker.start_app(app_dir)
    invocation = worker.invoke("aml_event", event_grid_input("event", text))
"""

import base64
import json
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("worker.py")
ANSWER_SECONDS = 60.0
STOP_SECONDS = 20.0

Message = dict[str, Any]
"""Part of a StreamingMessage of function_rpc.proto, in protobuf's JSON form."""


class WorkerEnded(Exception):
    """The worker process has ended and will not answer. The message includes the end of its output."""


@dataclass(frozen=True)
class Invocation:
    """The result of one call of a function."""

    invocation_id: str
    result: Message
    return_value: Message | None

    @property
    def succeeded(self) -> bool:
        return bool(self.result.get("status") == "Success")

    @property
    def error(self) -> str:
        """The exception as ``Type: message``, or an empty string."""
        return str(self.result.get("exception", {}).get("message", ""))


class Worker:
    """A running worker. Thread-safe."""

    def __init__(self, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        """:param log: the file that receives every line that the worker sends or prints."""
        self.log = log
        self.logs: list[Message] = []
        self._running: set[str] = set()
        self.functions: dict[str, Message] = {}
        self._popen = popen
        self._waiting: dict[str, Future[Message]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start_app(self, app_dir: Path) -> Message:
        """Initialize the worker, list its functions and load each, as the host does. Return the answer to the init."""
        answer = self.init(app_dir)
        if answer["result"].get("status") == "Success":
            self.load_functions(app_dir)
        return answer

    def init(self, app_dir: Path) -> Message:
        request = {"host_version": "4.1044.400.0", "function_app_directory": str(app_dir)}
        return self.ask("worker_init", request, "worker_init_response")

    def reload(self, app_dir: Path, environment: Mapping[str, str]) -> Message:
        """Tell a worker that was started without an app which app to run."""
        request = {"environment_variables": dict(environment), "function_app_directory": str(app_dir)}
        return self.ask("function_environment_reload", request, "function_environment_reload_response")

    def load_functions(self, app_dir: Path) -> None:
        request = {"function_app_directory": str(app_dir)}
        answer = self.ask("functions_metadata", request, "function_metadata_response")
        assert answer["result"]["status"] == "Success", answer
        for metadata in answer.get("function_metadata_results", []):
            load = {"function_id": metadata["function_id"], "metadata": metadata}
            loaded = self.ask("function_load", load, "function_load_response")
            assert (loaded["function_id"], loaded["result"]["status"]) == (metadata["function_id"], "Success")
            self.functions[metadata["name"]] = metadata

    def invoke(self, function: str, *inputs: Message, metadata: Message | None = None) -> Invocation:
        """Call a function.

        :param inputs: the results of the ``…_input`` functions below.
        :param metadata: the trigger's metadata: TypedData by name.
        """
        invocation_id = str(uuid.uuid4())
        self._running.add(invocation_id)
        request = {
            "invocation_id": invocation_id,
            "function_id": self.functions[function]["function_id"],
            "input_data": list(inputs),
            "trigger_metadata": metadata or {},
            "trace_context": {"trace_parent": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"},
        }
        answer = self.ask("invocation", request, "invocation_response")
        assert answer["invocation_id"] == invocation_id
        return Invocation(invocation_id, answer["result"], answer.get("return_value"))

    def logs_of(self, invocation: Invocation) -> list[Message]:
        """Return the records that the host hears of the app and its libraries during an invocation."""
        return [
            log
            for log in self.logs
            if log.get("invocation_id") == invocation.invocation_id and log.get("log_category", "User") == "User"
        ]

    def ask(self, request: str, content: Message, response: str) -> Message:
        """Send one request and return its answer, which must be of the type ``response``.

        :raises WorkerEnded: the worker has ended without an answer.
        """
        answer: Future[Message] = Future()
        request_id = str(uuid.uuid4())
        line = json.dumps({"request_id": request_id, f"{request}_request": content}).encode()
        assert self._popen.stdin is not None
        with self._lock:
            self._waiting[request_id] = answer
            try:
                self._popen.stdin.write(line + b"\n")
                self._popen.stdin.flush()
            except BrokenPipeError:
                answer.set_exception(WorkerEnded(self._end_of_log()))
        content_of_answer: Message = answer.result(ANSWER_SECONDS)[response]
        return content_of_answer

    def close(self) -> int:
        """End the worker as the host does, and return its exit code. Calling this method again has no effect."""
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.close()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        self._reader.join()
        return self._popen.wait()

    def _read(self) -> None:
        source = self._popen.stdout
        assert source is not None
        with source, self.log.open("ab", buffering=0) as log:
            for line in source:
                log.write(line)
                self._receive(json.loads(line))
        self._popen.wait()
        with self._lock:
            for answer in self._waiting.values():
                answer.set_exception(WorkerEnded(self._end_of_log()))
            self._waiting.clear()

    def _receive(self, message: Message) -> None:
        if "rpc_log" in message:
            # The host drops what is not logged in a running invocation.
            if message["rpc_log"].get("invocation_id") in self._running:
                self.logs.append(message["rpc_log"])
            return
        self._running.discard(message.get("invocation_response", {}).get("invocation_id", ""))
        with self._lock:
            self._waiting.pop(message["request_id"]).set_result(message)

    def _end_of_log(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "the worker has ended; its output ends:\n" + "\n".join(lines[-30:])


@contextmanager
def start(python: Path, environment: Mapping[str, str], folder: Path) -> Iterator[Worker]:
    """Run the worker with exactly this environment, without the variables of this process.

    :param folder: the working directory, which also contains the log.
    """
    log = folder / f"worker-{uuid.uuid4().hex[:8]}.log"
    with log.open("ab") as errors:
        popen = subprocess.Popen(
            # -P: do not import from the program's folder. -B: do not write bytecode into the app's folder.
            [str(python), "-P", "-B", str(PROGRAM)],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    worker = Worker(popen, log)
    try:
        yield worker
    finally:
        worker.close()


def text_input(name: str, text: str) -> Message:
    """Return a string, as the host sends data that is not a JSON object."""
    return {"name": name, "data": {"string": text}}


def event_grid_input(name: str, text: str) -> Message:
    """Return one event, as the host sends a JSON object: on one line.

    Source: https://github.com/Azure/azure-functions-host, WebJobs.Script.Grpc, GrpcMessageConversionExtensions.
    """
    return {"name": name, "data": {"json": json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))}}


def timer_input(name: str) -> Message:
    schedule = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
    return {"name": name, "data": {"json": json.dumps(schedule)}}


def http_input(
    name: str,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Message:
    """Return an HTTP request, as the host sends it to a worker with RawHttpBodyBytes and RpcHttpBodyOnly.

    Header names are in lower case. Empty query values and empty bodies are left out.
    """
    http: Message = {
        "method": method,
        "url": url,
        "headers": {key.lower(): value for key, value in (headers or {}).items()},
        "query": {key: value for key, value in (query or {}).items() if value},
        "params": dict(params or {}),
    }
    if body:
        http["body"] = {"bytes": base64.b64encode(body).decode()}
    return {"name": name, "data": {"http": http}}


@dataclass(frozen=True)
class Answer:
    """The parts of the answer to the caller that the function determines."""

    status: int
    content_type: str
    own_header: str | None
    body: bytes


def answer_of(returned: dict[str, Any]) -> Answer:
    """Convert a function's return value to an answer, as the real host does. A string becomes 200 with text/plain."""
    if "string" in returned:
        return Answer(200, "text/plain; charset=utf-8", None, returned["string"].encode())
    http = returned["http"]
    headers = {name.lower(): value for name, value in http.get("headers", {}).items()}
    body = http.get("body", {})
    content = body["string"].encode() if "string" in body else base64.b64decode(body.get("bytes", ""))
    content_type = headers.get("content-type", "") if content else ""
    return Answer(int(http["status_code"]), content_type, headers.get("x-one"), content)
