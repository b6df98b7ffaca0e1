"""``python -m bench.servers.azure_devops``: answer requests to queue a run after a set delay, with little work.

The emulator checks and records each request, which takes about as long as a delivery and would limit the throughput.
This server sends the emulator's answer with a new run id each time. It checks no credential and records nothing.
"""

import argparse
import asyncio
import json
import signal
from functools import partial
from typing import Final

from werkzeug.test import Client

from bench.workload import PIPELINE_ID, PROJECT, AnswersInMemory
from devstack.ado import Emulator, load_declaration
from shared.azure_devops.runs import API_VERSION

HOST: Final = "127.0.0.1"
_HEAD_END: Final = b"\r\n\r\n"


def emulated_answer() -> tuple[bytes, bytes]:
    """Return headers and body of the emulator's answer to a request to queue a run, with 0 as the id of the run."""
    declaration = load_declaration()
    answer = Client(Emulator(declaration)).post(
        f"/{declaration.organization}/{PROJECT}/_apis/pipelines/{PIPELINE_ID}/runs?api-version={API_VERSION}",
        json={"templateParameters": {"runId": "olive_lamp", "experimentName": "train"}},
        auth=("", declaration.pat.default),
    )
    headers = [f"{name}: {value}\r\n" for name, value in answer.headers.items() if name != "Content-Length"]
    return "".join(headers).encode(), json.dumps(answer.get_json() | {"id": 0}).encode()


class Connection(asyncio.Protocol):
    """One persistent connection. The client waits for an answer before it sends the next request."""

    def __init__(self, headers: bytes, answers: AnswersInMemory, delay_seconds: float) -> None:
        self._headers = headers
        self._answers = answers
        self._delay_seconds = delay_seconds
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._received += data
        head, end, body = self._received.partition(_HEAD_END)
        if not end or len(body) < _content_length(head):
            return
        self._received = b""
        asyncio.get_running_loop().call_later(self._delay_seconds, self._answer)

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            body = self._answers.body()
            head = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (self._headers, len(body))
            self._transport.write(head + body)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def serve(port: int, delay_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT."""
    headers, body = emulated_answer()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(partial(Connection, headers, AnswersInMemory(body), delay_seconds), HOST, port)
    print(f"bench.azure_devops: http://{HOST}:{server.sockets[0].getsockname()[1]}/contoso", flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.servers.azure_devops")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-seconds", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.delay_seconds))
