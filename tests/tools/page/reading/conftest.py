"""A journal in a file, which each test fills."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from shared.journal.records import Record
from tests.support.journal.files import journal_file
from tools.page.reading.reader import Reader

ReaderOf = Callable[[Iterable[Record]], Reader]


@pytest.fixture
def reader_of(tmp_path: Path) -> ReaderOf:
    """A function that returns a reader of a new journal with some records."""
    return lambda records: Reader(journal_file(tmp_path / "journal.sqlite3", records))
