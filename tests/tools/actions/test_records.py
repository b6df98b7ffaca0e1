"""How the commands find records in a journal that has more of them than they read."""

import logging
from collections.abc import Callable
from datetime import timedelta
from itertools import islice, repeat

import pytest

from shared.journal.journal import Journal
from shared.journal.records import State
from tests.support.journal.memory_store import MemoryStore
from tests.support.journal.records import NOW, record, store_with
from tools.actions.records import MAX_SCANNED, RecordFilter, find, newest, oldest

SCANS: dict[str, Callable[[Journal], object]] = {
    "redrive": lambda journal: oldest(journal, RecordFilter(), 300_000, NOW),
    "journal": lambda journal: newest(journal, RecordFilter(older_than=timedelta()), 5, NOW),
    "journal show": lambda journal: find(journal, ["abcd"]),
}


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
@pytest.mark.parametrize(("more", "warnings"), [(0, 0), (1, 1)])
def test_the_operator_learns_of_records_that_were_not_read(
    scan: Callable[[Journal], object], more: int, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    parked = record("abcd", state=State.PARKED)
    others = repeat(record("ab12", state=State.PARKED), MAX_SCANNED - 1 + more)

    def select(_selection: object, limit: int, _skipped: object) -> object:
        return islice((each for group in ([parked], others) for each in group), limit)

    with caplog.at_level(logging.WARNING, "nextstage"):
        scan(Journal(store_with(MemoryStore(), select=select)))
    assert [line.getMessage().partition(";")[0] for line in caplog.records] == [
        "the journal has more than 200000 such records"
    ] * warnings
