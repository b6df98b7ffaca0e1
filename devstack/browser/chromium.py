"""The browser's process, and the protocol on its pipe."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from devstack.browser.tab import BrowserFailed, Tab

_NAMES: Final = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser")
_MISSING: Final = f"a browser is needed: install Chromium or Chrome, so that PATH has one of {', '.join(_NAMES)}"
_FLAGS: Final = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # root has none, and only pages of this project are opened
    "--disable-gpu",
    "--disable-dev-shm-usage",  # it is small in a container
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=BackForwardCache",  # a page that comes from there is not loaded, and nobody would wait for it
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
# The browser expects its pipe at these numbers: it reads from the first and writes to the second.
_ON_3_AND_4: Final = (
    "import os, sys; [os.dup2(int(sys.argv[1]), number) for number in (3, 4)]; os.execv(sys.argv[2], sys.argv[2:])"
)
_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0
_TAIL_LINES: Final = 20


def installation_problem() -> str | None:
    """Return what is missing and how to install it, or None if there is a browser."""
    return None if _program() else _MISSING


class Chromium:
    """One process of the browser with an empty profile. A context manager starts and stops it."""

    def __enter__(self) -> Self:
        """Start the browser.

        :raises BrowserFailed: there is none.
        """
        program = _program()
        if program is None:
            raise BrowserFailed(_MISSING)
        self._profile = tempfile.TemporaryDirectory(prefix="nextstage-browser-", ignore_cleanup_errors=True)
        self._pipe, theirs = socket.socketpair()
        self._log = Path(self._profile.name) / "browser.log"
        with theirs, self._log.open("wb") as log:
            self._popen = subprocess.Popen(  # noqa: S603 - the browser of this machine
                [
                    *(sys.executable, "-S", "-c", _ON_3_AND_4, str(theirs.fileno()), program),
                    *(*_FLAGS, f"--user-data-dir={self._profile.name}"),
                ],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "LANG": "C.UTF-8", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._received = b""
        self._calls = 0
        self._answers: dict[int, Mapping[str, Any]] = {}
        self._listeners: dict[str, Callable[[str, Mapping[str, Any]], None]] = {}
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop the browser, and delete its profile."""
        with suppress(BrowserFailed):
            self.call("Browser.close")
        try:
            self._popen.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._pipe.close()
        self._profile.cleanup()

    @contextmanager
    def tab(self) -> Iterator[Tab]:
        """Open a tab with cookies of its own, and close it at the end."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

        def call(method: str, /, **values: object) -> Mapping[str, Any]:
            return self.call(method, session, **values)

        tab = Tab(call, self.wait_until)
        self._listeners[session] = tab.hear
        tab.prepare()
        try:
            yield tab
        finally:
            del self._listeners[session]
            self.call("Target.disposeBrowserContext", browserContextId=context)

    def call(self, method: str, session: str = "", /, **values: object) -> Mapping[str, Any]:
        """Call a method of the protocol, and return its result.

        :raises BrowserFailed: the browser refuses the call or does not answer.
        """
        self._calls += 1
        number = self._calls
        message = {"id": number, "method": method, "params": values} | ({"sessionId": session} if session else {})
        try:
            self._pipe.sendall(json.dumps(message).encode() + b"\0")
        except ConnectionError as exc:
            raise self._ended(method) from exc
        self.wait_until(lambda: number in self._answers, method)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserFailed(f"{method}: {answer['error']['message']}")
        result: Mapping[str, Any] = answer["result"]
        return result

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Read what the browser says until a condition is true.

        :raises BrowserFailed: the browser has ended, or the condition is not true after a minute.
        """
        limit = time.monotonic() + _SECONDS
        while not condition():
            self._pipe.settimeout(max(0.001, limit - time.monotonic()))
            try:
                received = self._pipe.recv(1 << 20)
            except TimeoutError:
                raise BrowserFailed(f"{what}: still not done after {_SECONDS:g} s") from None
            except ConnectionError:
                received = b""
            if not received:
                raise self._ended(what)
            *messages, self._received = (self._received + received).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers[message["id"]] = message
                elif listener := self._listeners.get(message.get("sessionId", "")):
                    listener(message["method"], message["params"])

    def _ended(self, what: str) -> BrowserFailed:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return BrowserFailed("\n".join([f"{what}: the browser has ended; its log ends:", *lines]))


def _program() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)
