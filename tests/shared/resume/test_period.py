"""The periods in which events are gathered, by value."""

import json
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UnreadableRecord
from shared.journal.records import NO_EVENT, JournalKey, State
from shared.resume.period import (
    Period,
    closed,
    gathered_event,
    group_key,
    is_group,
    open_period,
    run_record,
    with_event,
)
from shared.routing.table import Gather
from tests.support.journal.records import NOW, record

GATHER = Gather("raw", timedelta(minutes=10), timedelta(hours=2))
GROUP = group_key("retrain", "raw")


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def period_of(*times: float, gather: Gather = GATHER) -> Period:
    """Return the open period after events at these minutes."""
    period: Period | None = None
    for number, at in enumerate(times):
        period = with_event(period, JournalKey("retrain", f"{number:02}"), gather, NOW + minutes(at))
    assert period is not None
    return period


class TestPeriod:
    def test_the_first_event_begins_it(self) -> None:
        period = period_of(0)
        assert (period.by, period.last, period.last_at, period.quiet, period.at_most) == (
            "raw", "00", NOW, minutes(10), minutes(120)
        )  # fmt: skip
        assert (period.gathered.events, period.gathered.since) == (1, NOW)
        assert (period.ends_at, period.latest) == (NOW + minutes(10), NOW + minutes(120))

    def test_each_event_keeps_it_open(self) -> None:
        first, last = period_of(0), period_of(0, 9, 18)
        assert last.gathered == first.gathered._replace(events=3)
        assert (last.last, last.ends_at, last.latest) == ("02", NOW + minutes(28), first.latest)

    def test_it_ends_at_most_so_long_after_its_first_event(self) -> None:
        assert period_of(*range(0, 120, 5)).ends_at == NOW + minutes(120)
        assert period_of(*range(0, 120, 5)).gathered.events == 24

    @pytest.mark.parametrize("times", [(0, 10), (0, 5, 15), (0, 7, 100), tuple(range(0, 125, 5))])
    def test_an_event_after_its_end_begins_the_next(self, times: tuple[float, ...]) -> None:
        last = period_of(*times)
        assert last.gathered.events == 1
        assert last.gathered.since == NOW + minutes(times[-1])
        assert last.gathered.into != period_of(*times[:-1]).gathered.into

    def test_the_route_may_have_changed(self) -> None:
        changed = GATHER._replace(quiet=minutes(1), at_most=minutes(6))
        period = with_event(period_of(0), JournalKey("retrain", "01"), changed, NOW + minutes(4))
        assert (period.ends_at, period.latest) == (NOW + minutes(5), NOW + minutes(6))

    def test_an_event_of_a_process_whose_clock_is_behind_does_not_shorten_it(self) -> None:
        assert period_of(0, 5, 4.99).ends_at == NOW + minutes(15)

    def test_each_period_has_its_own_run(self) -> None:
        first, other = JournalKey("retrain", "00"), JournalKey("another", "00")
        periods = [
            with_event(None, first, GATHER, NOW),
            with_event(None, first, GATHER, NOW + minutes(30)),
            with_event(None, first, GATHER._replace(by="clean"), NOW),
            with_event(None, other, GATHER, NOW),
        ]
        assert len({period.gathered.into for period in periods}) == 4
        assert periods[0] == with_event(None, first, GATHER, NOW)

    def test_it_says_until_when_it_is_held(self) -> None:
        first = "held until 2026-11-20 12:10:00, or until 2026-11-20 14:00:00 UTC at the latest if more events come"
        assert period_of(0).held == first
        assert period_of(*range(0, 116, 5)).held == "held until 2026-11-20 14:00:00 UTC"


class TestRecords:
    def test_the_period_is_read_from_the_record_that_counts(self) -> None:
        period = period_of(0, 5)
        group = period.record(GROUP, "7", NOW + minutes(5))
        assert (group.key, group.version, group.state, group.entry) == (GROUP, "7", State.WAITING, NO_EVENT)
        assert (group.claimed_at, group.changed_at) == (NOW, NOW + minutes(5))
        assert Period.of(group) == period
        assert open_period(group) == period

    def test_a_closed_one_is_not_open(self) -> None:
        group = closed(period_of(0, 5).record(GROUP, "7", NOW), NOW + minutes(20))
        assert (group.state, group.version, group.changed_at) == (State.CLOSED, "7", NOW + minutes(20))
        assert open_period(group) is None
        assert open_period(None) is None
        assert Period.of(group) == period_of(0, 5)

    @pytest.mark.parametrize("document", ["", "{}", "[]", '{"by": 1}', "null"])
    def test_one_that_another_program_has_changed_is_reported(self, document: str) -> None:
        group = period_of(0).record(GROUP, "7", NOW)
        with pytest.raises(UnreadableRecord, match=r"the record \$gather.*of route retrain cannot be read"):
            Period.of(group._replace(document=document))

    def test_one_without_a_count_is_reported(self) -> None:
        with pytest.raises(UnreadableRecord):
            Period.of(period_of(0).record(GROUP, "7", NOW)._replace(gathered=None))

    def test_it_is_not_about_an_event(self) -> None:
        assert is_group(GROUP)
        assert not GROUP.is_about_event
        assert JournalKey("retrain", "ab12").is_about_event
        assert group_key("retrain", "raw") != group_key("retrain", "")
        assert is_group(group_key("retrain", "\ud800"))

    def test_an_event_belongs_to_the_period(self) -> None:
        period, entry = period_of(0, 5), record().entry._replace(request="asked")
        fresh = gathered_event(record("01", "retrain"), entry, period, NOW + minutes(5))
        assert (fresh.state, fresh.gathered, fresh.entry) == (State.GATHERED, period.gathered, entry)
        assert [(step.state, step.note) for step in fresh.history] == [
            (State.GATHERED, "event 2 since 2026-11-20 12:00:00 UTC")
        ]
        claimed = gathered_event(record("01", "retrain", version="3"), entry, period, NOW + minutes(5))
        assert [step.state for step in claimed.history] == [State.CLAIMED, State.GATHERED]

    def test_the_run_has_the_last_event_and_the_count(self) -> None:
        period, last = period_of(0, 5), record("01", "retrain", routes="abcd")
        run = run_record(JournalKey("retrain", period.gathered.into), last, period, NOW + minutes(15))
        assert (run.state, run.entry, run.gathered, run.routes) == (State.RELEASED, last.entry, period.gathered, "abcd")
        assert run.reason == "2 events gathered since 2026-11-20 12:00:00 UTC for raw"
        assert (run.claimed_at, run.version) == (NOW + minutes(15), "")

    def test_the_run_of_an_event_that_was_removed_has_none(self) -> None:
        period = period_of(0, gather=GATHER._replace(by=""))
        run = run_record(JournalKey("retrain", period.gathered.into), None, period, NOW)
        assert (run.entry, run.reason) == (NO_EVENT, "1 event gathered since 2026-11-20 12:00:00 UTC")


def periods_by_hand(times: list[int], quiet: int, at_most: int) -> list[list[int]]:
    """Return the times of the events of each period, as the docs describe them."""
    periods: list[list[int]] = []
    for at in times:
        is_open = bool(periods) and at - periods[-1][-1] < quiet and at - periods[-1][0] < at_most
        if is_open:
            periods[-1].append(at)
        else:
            periods.append([at])
    return periods


@given(gaps=st.lists(st.integers(0, 40), min_size=1, max_size=40), quiet=st.integers(1, 20), more=st.integers(0, 60))
def test_periods_follow_from_the_times_of_events(gaps: list[int], quiet: int, more: int) -> None:
    times = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    gather = Gather("", timedelta(seconds=quiet), timedelta(seconds=quiet + more))
    found: dict[str, list[int]] = {}
    period: Period | None = None
    for number, at in enumerate(times):
        period = with_event(period, JournalKey("r", str(number)), gather, NOW + timedelta(seconds=at))
        found.setdefault(period.gathered.into, []).append(at)
        assert period.gathered.events == len(found[period.gathered.into])
        assert period.last == str(number)
        period = Period.of(period.record(GROUP, "1", NOW))
        assert NOW + timedelta(seconds=at) < period.ends_at <= period.latest
    assert list(found.values()) == periods_by_hand(times, quiet, quiet + more)


def test_the_document_is_small_and_readable() -> None:
    long = period_of(0, gather=GATHER._replace(by="x" * 5000))
    document = json.loads(long.record(GROUP, "", NOW).document)
    assert document["by"] == "x" * 200
    assert datetime.fromisoformat(document["last_at"]) == NOW
