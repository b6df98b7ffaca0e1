"""Timelines, what needs a person, and what happened on each route."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from shared.journal.records import NO_EVENT, ORPHANS, UNROUTED, Gathered, JournalKey, State, Step
from tests.support.journal.files import change, event_record, journal_file
from tests.support.journal.records import NOW, record
from tests.tools.page.reading.conftest import ReaderOf
from tools.page.reading import timeline as timeline_module
from tools.page.reading.journal_file import JournalFile
from tools.page.reading.reader import Reader
from tools.page.reading.statistics import delay_of, percentile
from tools.page.reading.timeline import DAY, SERIES, WEEK, Span

HOUR = timedelta(hours=1)
WINDOW = record("f" * 64, "$cooldown.evaluate", state=State.QUEUED, claimed_at=NOW, entry=NO_EVENT, document="x")
WAIT = record("e" * 64, "$wait.run", state=State.RELEASED, claimed_at=NOW, entry=NO_EVENT, document="{}")


@pytest.mark.parametrize("span", [DAY, WEEK])
@pytest.mark.parametrize(
    "now", [NOW, datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)]
)
def test_the_steps_of_a_timeline_end_with_the_one_that_has_now(span: Span, now: datetime) -> None:
    starts = span.starts(now)
    assert len(starts) == span.steps
    assert {later - earlier for earlier, later in pairwise(starts)} == {span.step}
    assert starts[-1] <= now < starts[-1] + span.step
    assert (starts[0].minute, starts[0].hour % (span.step // HOUR)) == (0, 0)


def test_a_timeline_counts_only_events_by_their_outcomes(reader_of: ReaderOf) -> None:
    states = [State.QUEUED, State.QUEUED, State.PARKED, State.SUPPRESSED, State.GATHERED]
    states += [State.CLAIMED, State.RELEASED, State.UNCERTAIN]
    now_ = [event_record(number, state) for number, state in enumerate(states)]
    before = [event_record(100 + number, State.QUEUED, number * 6 * HOUR) for number in range(40)]
    reader = reader_of([*now_, *before, WINDOW, WAIT])
    day, week = reader.timeline(DAY, NOW), reader.timeline(WEEK, NOW)
    assert {name: series[-1] for name, series in day.counts.items()} == {
        "queued": 3, "suppressed": 1, "gathered": 1, "deferred": 3, "parked": 1,
    }  # fmt: skip
    assert (day.total("queued"), week.total("queued")) == (2 + 4, 2 + 28)
    assert (day.highest, day.is_complete, list(day.counts)) == (9, True, list(SERIES))


def test_the_timelines_of_the_routes_add_up_to_that_of_all(reader_of: ReaderOf) -> None:
    states = [state for states in SERIES.values() for state in states]
    records = [
        event_record(number, states[number % 7], number * HOUR, key=JournalKey(f"route-{number % 3}", f"{number:064x}"))
        for number in range(30)
    ]
    reader = reader_of([*records, WINDOW, WAIT])
    each, all_ = reader.timelines_by_route(WEEK, NOW), reader.timeline(WEEK, NOW)
    assert sorted(each) == ["route-0", "route-1", "route-2"]
    for name in SERIES:
        assert [sum(counts) for counts in zip(*(one.counts[name] for one in each.values()), strict=True)] == list(
            all_.counts[name]
        )


def test_a_timeline_that_stops_says_so(reader_of: ReaderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_module, "MAX_COUNTED", 3)
    reader = reader_of([event_record(number, State.RELEASED) for number in range(5)])
    timeline = reader.timeline(DAY, NOW)
    assert (timeline.total("deferred"), timeline.is_complete) == (3, False)
    assert not reader.timelines_by_route(DAY, NOW)["evaluate"].is_complete


def test_what_needs_a_person_comes_first(reader_of: ReaderOf) -> None:
    lost = (Step(NOW, State.CLAIMED, ""), Step(NOW, State.UNCERTAIN, ""), Step(NOW, State.PARKED, "cannot tell"))
    loss = {"count": 2, "reason": "the topic was full"}
    request = event_record(0).entry._replace(request='{"pipeline": 7}')
    records = [
        *[event_record(number, State.PARKED, number * HOUR) for number in range(1, 8)],
        event_record(8, State.PARKED, 8 * HOUR, entry=request, history=lost),
        event_record(9, State.PARKED, 9 * HOUR, key=JournalKey(UNROUTED, "a" * 64)),
        event_record(10, State.CLAIMED, 3 * HOUR),
        event_record(11, State.CLAIMED, 9 * HOUR, lease_until=NOW + HOUR),
        event_record(12, State.RELEASED, 2 * HOUR),
        event_record(13, State.UNCERTAIN, 4 * HOUR),
        event_record(14, State.QUEUED),
        WINDOW,
        WAIT,
        record("9" * 64, "$lost-notifications", state=State.NOTED, entry=NO_EVENT, document=json.dumps(loss)),
    ]
    needs = reader_of(records).attention(NOW)
    assert (needs.parked, needs.unrouted, needs.oldest_parked) == (9, 1, NOW - 9 * HOUR)
    assert [one.key for one in needs.newest_parked] == [one.key for one in records[:5]]
    assert [one.key for one in needs.cannot_tell] == [records[7].key]
    assert needs.deferred == 4
    assert [one.entry.event_id for one in needs.oldest_deferred] == ["event-13", "event-10", "event-12"]
    assert [loss.count for loss in needs.losses] == [2]
    assert not needs.is_nothing


def test_a_journal_in_which_nothing_needs_a_person(reader_of: ReaderOf) -> None:
    needs = reader_of([event_record(1), event_record(2, State.RELEASED), WINDOW, WAIT]).attention(NOW)
    assert needs.is_nothing
    assert (needs.parked, needs.oldest_parked, needs.deferred) == (0, None, 1)


def test_what_cannot_be_read_needs_a_person(tmp_path: Path) -> None:
    orphan = record("d" * 64, ORPHANS, state=State.WAITING, entry=NO_EVENT, document="no JSON")
    store = journal_file(tmp_path / "journal.sqlite3", [event_record(1, State.PARKED), event_record(2), orphan])
    change(store, "UPDATE records SET document = '{}' WHERE state = 'parked'")
    change(store, "UPDATE records SET state = 'sleeping' WHERE state = 'queued'")
    needs = Reader(store).attention(NOW)
    assert sorted(one.route for one in needs.unreadable) == [ORPHANS, "evaluate"]
    assert (needs.unknown_states, needs.is_nothing) == (1, False)


def test_what_happened_on_each_route(reader_of: ReaderOf) -> None:
    records = [event_record(number, ago=number * HOUR) for number in range(1, 4)]
    records += [event_record(4, State.PARKED), event_record(5, State.SUPPRESSED), event_record(6, ago=200 * HOUR)]
    records += [event_record(7, State.RELEASED, HOUR, key=JournalKey("triage", "a" * 64)), WINDOW, WAIT]
    found = reader_of(records).statistics(timedelta(days=7), NOW)
    assert found.is_complete
    assert sorted(found.routes) == ["evaluate", "triage"]
    evaluate, triage = found.routes["evaluate"], found.routes["triage"]
    assert evaluate.counts == {State.QUEUED: 3, State.PARKED: 1, State.SUPPRESSED: 1}
    assert (evaluate.success_share, evaluate.last_at, evaluate.delays) == (0.75, NOW, 3)
    assert (evaluate.half, evaluate.most) == (timedelta(seconds=2), timedelta(seconds=2))
    assert (triage.success_share, triage.last_at, triage.half) == (None, NOW - HOUR, None)


def test_delays_that_say_nothing_about_a_route_do_not_count() -> None:
    queued = event_record(1)
    assert delay_of(queued) == timedelta(seconds=2)
    redriven = (*queued.history[:1], Step(NOW, State.PARKED, ""), *queued.history[1:])
    unreadable = queued.entry._replace(event="no JSON")
    timeless = queued.entry._replace(event=queued.entry.event.replace("eventTime", "other"))
    others = [queued._replace(history=redriven), queued._replace(entry=unreadable), queued._replace(entry=timeless)]
    of_several = queued._replace(gathered=Gathered(queued.key.key, 3, NOW, "group"))
    assert [delay_of(one) for one in [*others, of_several, event_record(2, State.PARKED)]] == [None] * 5


@pytest.mark.parametrize(
    ("values", "half", "most"), [([1], 1, 1), ([1, 2], 1, 2), ([1, 2, 3], 2, 3), (range(1, 101), 50, 95)]
)
def test_percentiles(values: list[int], half: int, most: int) -> None:
    ordered = [timedelta(seconds=value) for value in values]
    assert [percentile(ordered, share).total_seconds() for share in (0.5, 0.95)] == [half, most]


def test_a_moment_sees_nothing_of_later_changes(tmp_path: Path) -> None:
    store = journal_file(tmp_path / "journal.sqlite3", [event_record(1)])
    with JournalFile(store).moment() as moment:
        assert moment.number("SELECT count(*) FROM records") == 1
        change(store, "DELETE FROM records")
        assert moment.number("SELECT count(*) FROM records") == 1
