"""A proxy that makes a server's clock wrong: it changes the Date header of each answer."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import urlsplit

from tests.support.services.raw_server import read_request, server

_DATE = re.compile(rb"(?im)^(date: ).*?(?=\r$)")
_CONNECTION = re.compile(rb"(?im)^connection: .*\r\n")


@contextmanager
def shifted(port: int, shift: timedelta | None) -> Iterator[tuple[int, list[bytes]]]:
    """Serve what the server on a port answers, and yield the proxy's port and the list of requests.

    :param shift: added to each Date; None removes it.
    """
    requests: list[bytes] = []

    def date(found: re.Match[bytes]) -> bytes:
        if shift is None:
            return b"X-Without: date"
        moment = parsedate_to_datetime(found[0].partition(b": ")[2].decode())
        return found[1] + format_datetime(moment + shift, usegmt=True).encode()

    def serve(connection: socket.socket) -> None:
        request = read_request(connection)
        requests.append(request)
        head, separator, body = request.partition(b"\r\n\r\n")
        head = _CONNECTION.sub(b"", head + b"\r\n") + b"Connection: close"
        with socket.create_connection(("127.0.0.1", port)) as behind:
            behind.sendall(head + separator + body)
            answer = b"".join(iter(lambda: behind.recv(65536), b""))
        head, separator, body = answer.partition(b"\r\n\r\n")
        connection.sendall(_DATE.sub(date, head) + separator + body)

    with server(serve) as url:
        yield urlsplit(url).port or 0, requests
