"""The transport: requests that were certainly not sent, requests that may have been, and what is never sent."""

import base64
import gzip
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
import trustme
from requests.adapters import HTTPAdapter

from shared.credentials import pat_authorization
from shared.errors import AnswerLost, NextstageError, RequestNotSent
from shared.http.masking import without_credential
from shared.http.message import HttpRequest, HttpResponse
from shared.http.transport import MAX_ANSWER_BYTES, RequestsTransport
from tests.support.canaries import leaks, secret
from tests.support.polling import wait_until
from tests.support.services.raw_server import Serve, answering, read_request, server


@pytest.fixture
def transport() -> Iterator[RequestsTransport]:
    opened = RequestsTransport(2)
    yield opened
    opened.close()


def post(transport: RequestsTransport, url: str, timeout_seconds: float = 5) -> HttpResponse:
    request = HttpRequest("POST", url, b'{"a": 1}', extra_headers={"X-Extra": "yes"})
    return transport(request, f"Basic {secret('header')}", timeout_seconds)


def get(transport: RequestsTransport, url: str) -> HttpResponse:
    return transport(HttpRequest("GET", url), "Basic x", 5)


KEPT_OPEN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Odd-CASE: v\r\nConnection: close\r\n\r\n{}"


def test_a_request_and_its_answer(
    transport: RequestsTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry in .netrc does not replace the credential, and cookies are not stored."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login somebody password {secret('netrc')}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[bytes] = []
    with server(answering(OK.replace(b"Connection: close", b"Set-Cookie: a=b\r\nConnection: close"), seen)) as url:
        for _ in range(2):
            response = post(transport, f"{url}/x?y=z")
            assert (response.status, response.body, response.headers["x-odd-case"]) == (200, b"{}", "v")
    for request in seen:
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first == "POST /contoso/x?y=z HTTP/1.1"
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert headers["authorization"] == f"Basic {secret('header')}"
        assert headers["content-type"] == headers["accept"] == "application/json"
        assert (headers["content-length"], headers["x-extra"]) == ("8", "yes")
        assert headers["user-agent"].startswith("nextstage/")
        assert not headers.keys() & {"transfer-encoding", "cookie"}
        assert json.loads(body) == {"a": 1}


def test_a_get_has_no_body(transport: RequestsTransport) -> None:
    seen: list[bytes] = []
    with server(answering(OK, seen)) as url:
        get(transport, url)
    assert seen[0].startswith(b"GET /contoso HTTP/1.1")
    assert b"content-type" not in seen[0].lower()


def test_redirects_are_not_followed(transport: RequestsTransport) -> None:
    answer = OK.replace(b"200 OK", b"302 Found\r\nLocation: http://127.0.0.1:1/elsewhere")
    with server(answering(answer)) as url:
        assert get(transport, url).status == 302


def test_the_connection_is_reused(transport: RequestsTransport) -> None:
    peers: list[object] = []

    def serve(connection: socket.socket) -> None:
        peers.append(connection.getpeername())
        for _ in range(3):
            read_request(connection)
            connection.sendall(KEPT_OPEN)

    with server(serve) as url:
        for path in ("a", "b", "c"):
            post(transport, f"{url}/{path}")
    assert len(peers) == 1


def test_each_organization_has_its_own_connections(transport: RequestsTransport) -> None:
    with server(answering(OK.replace(b"{}", b" 1"))) as one, server(answering(OK.replace(b"{}", b" 2"))) as other:
        bodies = [get(transport, url).body.strip() for url in (one, other, one)]
    assert bodies == [b"1", b"2", b"1"]


def test_the_connections_to_a_forgotten_server_are_closed() -> None:
    hung_up: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(KEPT_OPEN)
        hung_up.append(connection.recv(1))

    transport = RequestsTransport(2, servers=1)
    with server(serve) as url, server(answering(OK)) as other, closing(transport):
        get(transport, url)
        assert not hung_up
        get(transport, other)
        wait_until(lambda: hung_up == [b""])


def test_a_proxy_is_used_and_gets_complete_urls(transport: RequestsTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    with server(answering(OK, seen)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/contoso"))
        for path in ("one", "two"):
            post(transport, f"http://ado.invalid/contoso/{path}")
    assert [request.split(b"\r\n")[0].decode() for request in seen] == [
        "POST http://ado.invalid/contoso/one HTTP/1.1",
        "POST http://ado.invalid/contoso/two HTTP/1.1",
    ]


def test_repeated_headers_are_joined(transport: RequestsTransport) -> None:
    with server(answering(OK.replace(b"X-Odd-CASE: v", b"Warning: one\r\nWarning: two"))) as url:
        assert get(transport, url).headers["warning"] == "one, two"


ECHOES = [b"%s", b'{"message": "sent: %s"}', b"<title>%s</title>", b"a%s=b"]
SENT = [pat_authorization(secret("pat")).value, f"Basic {secret('header')}", f"Bearer {secret('token')}"]


@pytest.mark.parametrize("authorization", SENT, ids=["PAT", "not base64", "token"])
@pytest.mark.parametrize("echo", ECHOES)
def test_a_credential_that_an_answer_quotes_is_masked(
    transport: RequestsTransport, authorization: str, echo: bytes
) -> None:
    scheme, _, sent = authorization.partition(" ")
    name = sent if "canary" in sent else secret("pat")
    encoded = [base64.b64encode(f"{before}{name}".encode()) for before in ("", ":", "::", f"{scheme} ")]
    for form in (authorization.encode(), name.encode(), sent.rstrip("=").encode(), *encoded):
        said = echo.replace(b"%s", form)
        answer = b"HTTP/1.1 400 Bad\r\nX-Echo: %s\r\nConnection: close\r\n\r\n%s" % (said, said)
        with server(answering(answer)) as url:
            response = transport(HttpRequest("GET", url), authorization, 5)
        shown = f"{response.headers['x-echo']} {response.body.decode()}"
        assert "***" in shown
        assert leaks(shown) == []
        with (
            server(answering(said + b"\r\n\r\n")) as url,
            pytest.raises(RequestNotSent, match="BadStatusLine") as caught,
        ):
            transport(HttpRequest("GET", url), authorization, 5)
        assert leaks(str(caught.value)) == []


@pytest.mark.parametrize("plus", ["+", "\\u002b", "\\u002B"])
@pytest.mark.parametrize("slash", ["/", "\\/"])
def test_a_credential_is_masked_as_json_may_write_it(plus: str, slash: str) -> None:
    sent = "OmFiY+Rl/mdoaWpr"
    quoted = json.dumps({"message": f"got {sent}"}).replace("+", plus).replace("/", slash)
    assert json.loads(without_credential(quoted.encode(), f"Bearer {sent}")) == {"message": "got ***"}


@pytest.mark.parametrize("authorization", ["", "Basic", "Basic x", "Basic YTo=", "Bearer 12345"])
def test_what_cannot_be_a_credential_is_not_masked(authorization: str) -> None:
    content = b'{"id": 12345, "x": "YTo=", "": " "}'
    assert without_credential(content, authorization) == content


BOMB = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b" " * 2**20)
ENDLESS = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * (MAX_ANSWER_BYTES + 2)


def dripping(drop: bytes, first: bytes = b"") -> Serve:
    """Send the same bytes again and again, each time well before a read would time out."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(first)
        for _ in range(1200):  # a minute, so that a transport without a deadline ends too
            connection.sendall(drop)
            time.sleep(0.05)

    return serve


@pytest.fixture
def over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Serve], Serve]:
    """Return a function that puts TLS around a server, with a certificate that the transport trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def wrap(serve: Serve) -> Serve:
        def wrapped(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as encrypted:
                serve(encrypted)

        return wrapped

    return wrap


def test_a_tls_connection_is_used_again(transport: RequestsTransport, over_tls: Callable[[Serve], Serve]) -> None:
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        for _ in range(2):
            read_request(connection)
            connection.sendall(KEPT_OPEN)

    with server(over_tls(serve)) as url:
        answers = [post(transport, url.replace("http:", "https:")) for _ in range(2)]
    assert [answer.body for answer in answers] == [b"{}"] * 2
    assert len(connections) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (OK.replace(b": 2", b": 900"), b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "headers", "continue"],
)
def test_an_answer_that_drips_is_lost(
    transport: RequestsTransport, over_tls: Callable[[Serve], Serve], scheme: str, first: bytes, drop: bytes
) -> None:
    serve = dripping(drop, first)
    with (
        server(over_tls(serve) if scheme == "https" else serve) as url,
        pytest.raises(AnswerLost, match="TimeoutError"),
    ):
        post(transport, url.replace("http:", f"{scheme}:"), timeout_seconds=2)


def test_a_proxy_whose_answer_drips_ends_in_time(transport: RequestsTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(dripping(b"X-More: 1\r\n", b"HTTP/1.1 200 OK\r\n")) as url:
        monkeypatch.setenv("https_proxy", url.removesuffix("/contoso"))
        with pytest.raises((AnswerLost, RequestNotSent), match=r"TimeoutError|timed out|did not end in time"):
            post(transport, "https://azure.invalid/contoso", timeout_seconds=2)


def silence(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(read_request, id="hangs up"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), id="hangs up in the body"),
        pytest.param(answering(b"\x00\x01 nonsense\r\n\r\n"), id="nonsense"),
        pytest.param(answering(BOMB), id="compressed"),
        pytest.param(answering(ENDLESS), id="endless"),
        silence,
    ],
)
def test_an_error_after_the_body_has_started_is_a_lost_answer(transport: RequestsTransport, serve: Serve) -> None:
    with server(serve) as url, pytest.raises(AnswerLost, match="the answer was lost: POST http://127"):
        post(transport, url, timeout_seconds=1)


def test_a_get_that_finds_no_answer_is_not_sent_again(transport: RequestsTransport) -> None:
    seen: list[bytes] = []
    with server(answering(b"nonsense\r\n\r\n", seen)) as url, pytest.raises(RequestNotSent):
        get(transport, url)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/contoso",
        f"http://{'a' * 64}.invalid/contoso",
        "http://127.0.0.1:99999/contoso",
        f"http://127.0.0.1:1/a?token={secret('query')}",
        None,
    ],
)
def test_a_request_without_a_connection_was_not_sent(transport: RequestsTransport, address: str | None) -> None:
    """The last case is a server without TLS. Messages contain neither the query nor a credential."""
    with server(lambda connection: connection.sendall(b"this is not TLS")) as url:
        address = address or url.replace("http:", "https:")
        with pytest.raises(NextstageError, match="no connection: POST") as caught:
            post(transport, address)
    assert type(caught.value) is RequestNotSent
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("seconds", "connect", "read"), [(15, 5, 10), (4, 2, 2), (0.2, 0.1, 0.1)])
def test_connecting_and_reading_share_the_time(
    transport: RequestsTransport, monkeypatch: pytest.MonkeyPatch, seconds: float, connect: float, read: float
) -> None:
    given: list[object] = []

    def note(*_: object, timeout: object, **__: object) -> None:
        given.append(timeout)
        raise requests.ConnectionError

    monkeypatch.setattr(HTTPAdapter, "send", note)
    with pytest.raises(RequestNotSent):
        post(transport, "http://127.0.0.1:1/", timeout_seconds=seconds)
    assert given == [(connect, read)]


def test_every_exception_of_requests_is_translated(
    transport: RequestsTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a new version of the library adds an exception, this test covers it too."""
    exceptions = [
        value
        for value in vars(requests.exceptions).values()
        if isinstance(value, type) and issubclass(value, requests.RequestException)
    ]
    assert len(exceptions) > 15
    for exception in exceptions:

        def fail(*_: object, kind: type[requests.RequestException] = exception, **__: object) -> None:
            raise kind.__new__(kind)

        monkeypatch.setattr(HTTPAdapter, "send", fail)
        with pytest.raises(RequestNotSent, match=exception.__name__):
            post(transport, "http://127.0.0.1:1/")
