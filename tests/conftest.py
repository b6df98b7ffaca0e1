"""Fixtures for all tests: a manual clock, a journal in a temporary file, and a check that no secret is logged."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from shared.journal.sqlite import SqliteStore
from shared.logs import NEXT_INVOCATION
from tests.support.canaries import leaks
from tests.support.clock import ManualClock
from tests.support.journal.stores import azurite, each_store, open_tables, queue_storage, tables_store
from tests.support.services.browser import chromium, tab

__all__ = [
    "azurite",
    "chromium",
    "each_store",
    "open_tables",
    "queue_storage",
    "tab",
    "tables_store",
]  # fixtures, available to every test


# A slow machine must not fail a test.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "journal.sqlite3")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def nothing_is_left_to_say() -> Iterator[None]:
    """Drop what one test has left to the next invocation."""
    yield
    NEXT_INVOCATION.drop()


class _LeakDetector(logging.Handler):
    """A handler that checks every log record, of any logger and level, for secrets."""

    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.leaked: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if leaks(text):
            self.leaked.append(f"{record.name} at {record.pathname}:{record.lineno}")


@pytest.fixture(autouse=True)
def no_secret_is_logged(capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test if a secret is in a log record, in its output, or in a log file of a process that it started."""
    # Most tests have no folder, and making one for each takes a while.
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    detector = _LeakDetector()
    root = logging.getLogger()
    level = root.level
    root.addHandler(detector)
    root.setLevel(logging.DEBUG)
    yield
    root.removeHandler(detector)
    root.setLevel(level)
    output = capfd.readouterr()
    logs = () if folder is None else folder.rglob("*.log")
    files = [path for path in logs if leaks(path.read_text(errors="replace"))]
    assert detector.leaked == []
    assert leaks(output.out) == []
    assert leaks(output.err) == []
    assert files == []
