"""The devstack's HTTP server keeps connections open, reads all kinds of bodies, and leaves nothing behind."""

import http.client
import logging
import socket
import threading
from collections.abc import Iterator

import pytest
import requests
from werkzeug.wrappers import Request, Response

from devstack.http_server import GO_DOWN_KEY, ConnectionDropped, Server, serving
from tests.support.polling import wait_until


@Request.application
def app(request: Request) -> Response:
    """Return the request's body, or nothing for the paths /empty and /dropped."""
    if request.path == "/dropped":
        raise ConnectionDropped
    return Response(status=204) if request.path == "/empty" else Response(request.get_data())


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(app) as server:
        yield server


def talk(server: Server, message: bytes, after_an_answer: bytes = b"") -> bytes:
    """Send a message, and another one after an answer has started, then read until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(message)
        received = line.recv(65_536) if after_an_answer else b""
        line.sendall(after_an_answer)
        line.shutdown(socket.SHUT_WR)
        return received + b"".join(iter(lambda: line.recv(65_536), b""))


def test_a_connection_serves_one_request_after_another(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.connect()
    own = connection.sock
    answers = []
    exchanges: list[tuple[str, str, bytes | Iterator[bytes] | None]] = [
        ("POST", "/", b"a" * 100_000),
        ("POST", "/empty", b"a body that the app does not read"),
        ("POST", "/", iter([b"in ", b"chunks"])),
        ("HEAD", "/", None),
        ("GET", "/", None),
    ]
    for method, path, body in exchanges:
        connection.request(method, path, body, encode_chunked=not isinstance(body, bytes | None))
        answer = connection.getresponse()
        answers.append((answer.status, answer.version, answer.read()))
        assert answer.getheader("Connection") is None

    assert answers == [
        (200, 11, b"a" * 100_000),
        (204, 11, b""),
        (200, 11, b"in chunks"),
        (200, 11, b""),
        (200, 11, b""),
    ]
    assert connection.sock is own
    connection.close()


def test_expect_continue(server: Server) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
    received = talk(server, head, b"body")
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\nConnection: close\r\n\r\nbody")


def test_the_connection_of_an_http_1_0_client_is_closed(server: Server) -> None:
    assert talk(server, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("length", ["-1", "many", "10000001", "9"])
def test_a_body_that_cannot_be_read_ends_the_connection(server: Server, length: str) -> None:
    """The last length is longer than the body."""
    received = talk(server, f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\nshort".encode())
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in received


def test_a_connection_is_reset_without_an_answer(server: Server) -> None:
    with pytest.raises(requests.ConnectionError, match="reset"):
        requests.get(f"{server.url}/dropped", timeout=10)


def test_a_port_in_use_is_an_error(server: Server) -> None:
    with pytest.raises(OSError, match="in use"):
        Server(app, server.port)


@Request.application
def with_a_switch(request: Request) -> Response:
    """Go down at the path /down."""
    if request.path == "/down":
        request.environ[GO_DOWN_KEY](float(request.get_data()))
    return Response("up")


def test_a_server_that_is_down_refuses_connections_and_can_be_closed() -> None:
    before = set(threading.enumerate())
    with serving(with_a_switch) as server, requests.Session() as open_connection:
        assert open_connection.get(server.url, timeout=10).text == "up"
        assert requests.post(f"{server.url}/down", "60", timeout=10).text == "up", "the order itself is answered"
        with pytest.raises(requests.ConnectionError):
            open_connection.get(server.url, timeout=10)
        assert not is_up(server)
    wait_until(lambda: set(threading.enumerate()) == before)
    assert not is_up(server)


def test_a_server_comes_back() -> None:
    with serving(with_a_switch) as server:
        requests.post(f"{server.url}/down", "0.05", timeout=10)
        wait_until(lambda: is_up(server))


def is_up(server: Server) -> bool:
    try:
        return requests.get(server.url, timeout=10).text == "up"
    except requests.ConnectionError:
        return False


def test_closing_leaves_no_threads_or_connections() -> None:
    before = set(threading.enumerate())
    with serving(app) as server:
        idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        idle.request("POST", "/", b"body")
        assert idle.getresponse().read() == b"body"
        assert len(set(threading.enumerate()) - before) == 2

    assert set(threading.enumerate()) == before
    assert idle.sock.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=10)


@pytest.mark.parametrize("named", [True, False])
def test_requests_are_logged_only_if_there_is_a_logger(
    named: bool, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with serving(app, logger=logging.getLogger("requests-log") if named else None) as server:
        requests.get(f"{server.url}/empty?a=b", headers={"Authorization": "canary-logged"}, timeout=10)
        talk(server, b"GET / with-a-fault HTTP/1.1\r\n\r\n")
    assert [record.getMessage() for record in caplog.records if record.name == "requests-log"] == [
        "'GET /empty?a=b HTTP/1.1' 204 -",
        "code 400, message Bad request syntax ('GET / with-a-fault HTTP/1.1')",
        "'GET / with-a-fault HTTP/1.1' 400 -",
    ][: 3 * named]
    assert (capfd.readouterr(), "canary" in caplog.text) == (("", ""), False)
