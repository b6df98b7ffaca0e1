"""``manage.py page``: starts the server, and says what prevents that."""

import re
import signal
import socket

import requests

from tests.tools.conftest import Desk
from tools.page.security import FORM_FIELD, MAX_BODY_BYTES


def test_as_a_process(desk: Desk) -> None:
    """It shows the address, answers only on 127.0.0.1, logs no request, and ends in order."""
    desk.deliver()
    process = desk.start("page", "--no-browser", "--port", 0)
    assert process.stdout is not None
    try:
        found = re.fullmatch(r"the page is at (http://127\.0\.0\.1:(\d+)/)\?token=(\S+)\n", process.stdout.readline())
        assert found is not None
        url, port, token = found.groups()
        with requests.Session() as browser:
            assert browser.get(url, timeout=60).status_code == 403
            assert browser.get(url, params={"token": token}, timeout=60).url == url
            answer = browser.get(url, timeout=60)
            assert (answer.status_code, answer.headers["Server"]) == (200, "nextstage")
            too_large = browser.post(url, {FORM_FIELD: "x" * MAX_BODY_BYTES}, headers={"Origin": url[:-1]}, timeout=60)
            assert (too_large.status_code, "so it was not read" in too_large.text) == (413, True)
        with socket.socket() as other:
            assert other.connect_ex(("127.0.0.2", int(port))) != 0
    finally:
        process.send_signal(signal.SIGTERM)
    result = desk.finish(process)
    assert (result.code, result.out, result.err) == (0, "", "Ctrl-C ends it\n")


def test_a_port_in_use(desk: Desk) -> None:
    desk.deliver()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        expected = f"cannot listen on 127.0.0.1:{port}: Address already in use; end the page that runs there, or choose"
        desk.fails(2, expected, "page", "--port", port)


def test_a_journal_that_does_not_exist(desk: Desk) -> None:
    desk.fails(
        2, "does not exist; check JOURNAL_CONNECTION, or deliver an event, which creates it", "page", "--port", 0
    )


def test_settings_that_are_wrong(desk: Desk) -> None:
    desk.settings = {"JOURNAL_CONNECTION": "nowhere"}
    result = desk.run("page", "--port", 0)
    assert (result.code, result.out) == (2, "")
    assert "JOURNAL_CONNECTION" in result.err
