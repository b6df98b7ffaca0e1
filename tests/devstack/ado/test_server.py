"""The HTTP server: connections that stay open, bodies of every kind, and an end that leaves nothing behind."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from devstack.ado.emulator import Emulator
from devstack.ado.server import Served, serve
from tests.support.emulator import DECLARATION, PAT, PLAIN_RUN, RUNS, basic

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = f"{RUNS}?api-version=7.1"
BODY = json.dumps(PLAIN_RUN).encode()
HEADERS = {**basic(PAT), "Content-Type": "application/json"}


@pytest.fixture
def served() -> Iterator[Served]:
    with serve(Emulator(DECLARATION, pats={PAT})) as served:
        yield served


@pytest.fixture
def connection(served: Served) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    yield connection
    connection.close()


def test_addresses(served: Served) -> None:
    assert served.url == f"http://127.0.0.1:{served.port}"
    assert served.organization_url == f"{served.url}/contoso"


def test_a_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    connection.connect()
    first_socket = connection.sock
    ids = []
    for _ in range(3):
        connection.request("POST", PATH, BODY, HEADERS)
        ids.append(json.loads(connection.getresponse().read())["id"])

    assert ids == [501, 502, 503]
    assert connection.sock is first_socket


def test_what_is_sent_to_no_use_is_read_to_its_end(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/nowhere", b"x" * 100_000, HEADERS)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 404

    connection.request("HEAD", f"{RUNS}/501", headers=HEADERS)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (404, b"")

    connection.request("POST", PATH, BODY, HEADERS)
    assert connection.getresponse().status == 200


def test_a_chunked_body(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", PATH, iter([BODY[:5], BODY[5:]]), HEADERS, encode_chunked=True)
    assert json.loads(connection.getresponse().read())["templateParameters"]["runId"] == "brave_fig"

    connection.request("POST", PATH, BODY, HEADERS)
    assert json.loads(connection.getresponse().read())["id"] == 502


def _talk(port: int, *messages: bytes) -> bytes:
    """Sends one message after the other, each after something was answered, and reads till the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        received = b""
        for message in messages:
            connection.sendall(message)
            received += connection.recv(65_536)
        while more := connection.recv(65_536):
            received += more
        return received


def _head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


def test_expect_continue(served: Served) -> None:
    credential = f"Authorization: {HEADERS['Authorization']}"
    head = _head(
        f"POST {PATH} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        credential,
        "Expect: 100-continue",
        f"Content-Length: {len(BODY)}",
        "Connection: close",
    )

    received = _talk(served.port, head, BODY)

    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in received


def test_an_old_client_gets_its_connection_closed(served: Served) -> None:
    assert _talk(served.port, b"GET /nowhere HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 302 ")


@pytest.mark.parametrize("length", ["-1", "many", "10000001"])
def test_a_length_that_cannot_be_served(served: Served, length: str) -> None:
    received = _talk(served.port, _head("POST / HTTP/1.1", "Host: localhost", f"Content-Length: {length}"))

    assert received.startswith(b"HTTP/1.1 400 ")


def test_a_port_that_is_taken(served: Served) -> None:
    with pytest.raises(OSError, match="in use"), serve(served.emulator, served.port):
        pass


def test_nothing_is_left_behind() -> None:
    before = set(threading.enumerate())
    emulator = Emulator(DECLARATION, pats={PAT})
    with serve(emulator) as served:
        idle = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        idle.request("POST", PATH, BODY, HEADERS)
        assert idle.getresponse().read()
        assert len(set(threading.enumerate()) - before) == 2

    assert set(threading.enumerate()) == before
    assert idle.sock.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port), timeout=10)


def test_an_emulator_can_be_served_again() -> None:
    emulator = Emulator(DECLARATION, pats={PAT})
    for expected in (501, 502):
        with serve(emulator) as served:
            connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
            connection.request("POST", PATH, BODY, HEADERS)
            assert json.loads(connection.getresponse().read())["id"] == expected
            connection.close()


def test_each_answer_has_an_activity_of_its_own(connection: http.client.HTTPConnection) -> None:
    activities = []
    for _ in range(2):
        connection.request("POST", PATH, BODY, HEADERS)
        answer = connection.getresponse()
        answer.read()
        activities.append(answer.headers["ActivityId"])

    assert len(set(activities)) == 2
    assert all(len(activity) == 36 for activity in activities)


def test_the_log_is_for_those_who_ask(
    connection: http.client.HTTPConnection, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    connection.request("POST", PATH, BODY, HEADERS)
    connection.getresponse().read()
    assert (capfd.readouterr(), caplog.text) == (("", ""), "")

    caplog.set_level(logging.DEBUG)
    connection.request("POST", PATH, BODY, {**HEADERS, "Authorization": "canary-logged"})
    connection.getresponse().read()
    assert f"'POST {PATH} HTTP/1.1' 302" in caplog.text
    assert "canary" not in caplog.text
