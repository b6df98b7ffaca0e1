"""No query reads the whole table."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.journal.records import State
from tests.support.journal.files import event_record
from tests.support.journal.records import NOW
from tests.tools.page.reading.conftest import ReaderOf
from tools.actions.records import RecordFilter
from tools.page.reading.decisions import Search
from tools.page.reading.journal_file import Moment
from tools.page.reading.timeline import DAY


def test_every_query_uses_an_index(reader_of: ReaderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: set[str] = set()
    ask = Moment.query

    def explained(moment: Moment, sql: str, parameters: Sequence[str | int] = ()) -> Iterator[Any]:
        steps.update(row[3] for row in ask(moment, f"EXPLAIN QUERY PLAN {sql}", parameters))
        return ask(moment, sql, parameters)

    monkeypatch.setattr(Moment, "query", explained)
    reader = reader_of([event_record(number, list(State)[number % 7]) for number in range(14)])
    reader.attention(NOW)
    reader.timeline(DAY, NOW)
    reader.timelines_by_route(DAY, NOW)
    reader.lineage(event_record(1))
    reader.statistics(timedelta(days=7), NOW)
    for route in (None, "evaluate"):
        for text in ("", "12345", "subject"):
            reader.decisions(Search(RecordFilter(route, newer_than=timedelta(days=1)), text), NOW)
    of_records = {step for step in steps if "records" in step}
    assert of_records
    assert {step for step in of_records if not step.startswith("SEARCH records USING ")} == set()
