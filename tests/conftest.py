"""What all tests share: a clock to set, a journal in a temporary file, and the watch over everything logged."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.journal.sqlite import SqliteStore
from tests.support.canaries import leaks
from tests.support.clock import ManualClock
from tests.support.journal.stores import azurite, each_store, open_tables, tables_store

__all__ = ["azurite", "each_store", "open_tables", "tables_store"]  # fixtures, known to every test from here


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "journal.sqlite3")
    yield opened
    opened.close()


class _Watch(logging.Handler):
    """Looks at every log record of the suite, whatever its logger and level, for a secret."""

    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.leaked: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if leaks(text):
            self.leaked.append(f"{record.name} at {record.pathname}:{record.lineno}")


@pytest.fixture(autouse=True)
def no_secret_is_logged(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[None]:
    """Every test fails that lets a secret into a log, its output, or a log file of a process that it started."""
    watch = _Watch()
    root = logging.getLogger()
    level = root.level
    root.addHandler(watch)
    root.setLevel(logging.DEBUG)
    yield
    root.removeHandler(watch)
    root.setLevel(level)
    output = capfd.readouterr()
    files = [path for path in tmp_path.rglob("*.log") if leaks(path.read_text(errors="replace"))]
    assert watch.leaked == []
    assert leaks(output.out) == []
    assert leaks(output.err) == []
    assert files == []
