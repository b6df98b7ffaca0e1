"""The operator's page as a person starts it, on a journal of a day with everything that needs a person."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.ado.emulator import Emulator
from devstack.browser.chromium import Chromium
from devstack.browser.tab import Tab
from devstack.demo.week import week
from devstack.processes import NO_SETTINGS
from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.composition import compose, load_configuration
from tests.support import ROOT


@dataclass(frozen=True)
class Operated:
    """A page that runs.

    :param url: the first URL, with the token.
    :param settings: the application settings.
    """

    url: str
    settings: Mapping[str, str]
    emulator: Emulator

    def deliver(self, text: str) -> None:
        """Deliver an event, as the app does it."""
        configuration = load_configuration(self.settings, ROOT, NAMES)
        compose(configuration, DISPATCH, report=lambda *_: None).relay.deliver(text)

    def __truediv__(self, path: str) -> str:
        """Return the URL of a path."""
        return self.url.partition("/?")[0] + path


@pytest.fixture(scope="session")
def operated() -> Iterator[Operated]:
    """The page of a day that ends now. Tests must not rely on what others leave alone."""
    with (
        tempfile.TemporaryDirectory(prefix="nextstage-page-") as folder,
        week(Path(folder), utc_now(), days=1) as day,
        subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "page", "--port", "0", "--no-browser"],
            env={**os.environ, **NO_SETTINGS, **day.settings},
            stdout=subprocess.PIPE,
            text=True,
        ) as page,
    ):
        assert page.stdout is not None
        url = page.stdout.readline().removeprefix("the page is at ").strip()
        yield Operated(url, day.settings, day.served.emulator)
        page.terminate()
        page.wait()


@pytest.fixture(scope="session")
def admitted_tab(chromium: Chromium, operated: Operated) -> Iterator[Tab]:
    """A tab that the page admits. A new one takes a second."""
    with chromium.tab() as opened:
        opened.open(operated.url)
        yield opened


@pytest.fixture
def admitted(admitted_tab: Tab, operated: Operated) -> Tab:
    """The same tab, as if it was new."""
    admitted_tab.resize(1440)
    admitted_tab.prefer("light")
    admitted_tab.open(operated / "/")
    admitted_tab.problems.clear()
    return admitted_tab
