"""A tab of the real browser: what it finds, clicks, types and reports; and axe-core."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug import Request, Response

from devstack import axe
from devstack.browser import chromium as module
from devstack.browser.chromium import Chromium
from devstack.browser.tab import BrowserFailed, NotOnThePage, Tab
from devstack.http_server import serving
from tests.support.prerequisites import need

PAGE = """<!doctype html><html lang="en"><head><title>Sample</title><link rel="icon" href="data:,"></head><body><main>
<h1>Sample</h1><a href="/next">Next</a>
<form action="/sent"><label>Name <input name="name" value="old"></label>
<label>State <select name="state"><option value="">all</option><option value="p">parked</option></select></label>
<button>Send</button></form><div style="height: 3000px; background: light-dark(white, black)"></div>
<p style="color: #777; background: #888" id="pale">pale</p></main>
<script>document.querySelector("h1").textContent = "With a script"</script></body></html>"""


@Request.application
def answer(request: Request) -> Response:
    return Response(PAGE, 404 if request.path == "/missing" else 200, content_type="text/html")


@pytest.fixture
def url() -> Iterator[str]:
    with serving(answer) as server:
        yield server.url


def test_a_tab_is_used_by_mouse(tab: Tab, url: str) -> None:
    tab.open(url)
    assert tab.names("heading") == ["With a script"]
    tab.follow("link", "Next")
    assert tab.url.endswith("/next")
    tab.back()
    tab.fill("textbox", "Name", "new & <b>")
    tab.choose("State", "parked")
    tab.follow("button", "Send")
    assert tab.url.endswith("/sent?name=new+%26+%3Cb%3E&state=p")
    with pytest.raises(NotOnThePage, match=r"has no link 'Back'; it has \['Next'\]"):
        tab.click("link", "Back")


def test_a_tab_is_used_by_keyboard(tab: Tab, url: str) -> None:
    tab.open(url)
    assert tab.focused == ""
    tab.press("Tab")
    assert tab.focused == "link Next"
    tab.press("Tab", "x")
    assert (tab.focused, tab.run("document.activeElement.value")) == ("textbox Name", "x")
    tab.press("Tab", shift=True)
    with tab.loading():
        tab.press("Enter")
    assert tab.url.endswith("/next")


def test_the_console_is_read(tab: Tab, url: str) -> None:
    tab.open(f"{url}/missing")
    tab.run("console.error('wrong', 7)")
    tab.run("void setTimeout(() => { throw new Error('late') })")
    tab.wait_for("true")
    tab.open(url)
    assert [problem.partition("\n")[0] for problem in tab.problems] == [
        f"Failed to load resource: the server responded with a status of 404 (NOT FOUND) {url}/missing",
        "wrong 7",
        "Error: late",
    ]
    with pytest.raises(BrowserFailed, match="no such thing"):
        tab.run("(() => { throw new Error('no such thing') })()")


def test_size_scheme_and_scripts_can_be_chosen(tab: Tab, url: str, tmp_path: Path) -> None:
    tab.disable_scripts()
    tab.resize(360)
    tab.prefer("dark")
    tab.open(url)
    assert tab.names("heading") == ["Sample"]
    assert tab.run("[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]") == [360, True]
    heights = {}
    for whole in (True, False):
        tab.screenshot(tmp_path / "page.png", whole=whole)
        content = (tmp_path / "page.png").read_bytes()
        assert (content[:8], int.from_bytes(content[16:20])) == (b"\x89PNG\r\n\x1a\n", 360)
        heights[whole] = int.from_bytes(content[20:24])
    assert heights[False] == 900
    assert heights[True] > 3000


def test_axe_finds_serious_violations(tab: Tab, url: str) -> None:
    need(axe.installation_problem())
    tab.open(url)
    (violation,) = axe.violations(tab)
    assert violation.startswith('color-contrast: <p style="color: #777; background: #888" id="pale">pale</p>: Fix')
    tab.run("document.querySelector('#pale').remove()")
    assert axe.violations(tab) == []


def test_a_missing_browser_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module.installation_problem() == (
        "a browser is needed: install Chromium or Chrome, so that PATH has one of google-chrome, "
        "google-chrome-stable, chromium, chromium-browser"
    )
    with pytest.raises(BrowserFailed, match="a browser is needed"), Chromium():
        pass


def test_a_browser_that_ends_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "google-chrome").write_text("#!/bin/sh\necho broken\n")
    (tmp_path / "google-chrome").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with (
        pytest.raises(BrowserFailed, match="the browser has ended; its log ends:\nbroken"),
        Chromium() as started,
        started.tab(),
    ):
        pass
