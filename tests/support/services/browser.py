"""A real browser for tests: one process for each worker, a tab for each test."""

from collections.abc import Iterator

import pytest

from devstack.browser import chromium as browser
from devstack.browser.chromium import Chromium
from devstack.browser.tab import Tab
from tests.support.prerequisites import need


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser. Without one, the test is skipped, and fails in CI."""
    need(browser.installation_problem())
    with Chromium() as started:
        yield started


@pytest.fixture
def tab(chromium: Chromium) -> Iterator[Tab]:
    """A tab with cookies of its own."""
    with chromium.tab() as opened:
        yield opened
