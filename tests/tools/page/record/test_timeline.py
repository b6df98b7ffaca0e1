"""The timeline of a record, by value."""

from datetime import timedelta

from shared.journal.records import MAX_HISTORY, Entry, State, Step
from tests.support.builders import run_completed
from tests.support.journal.records import NOW, record
from tools.actions.resume.deferred import Deferred
from tools.page.record.timeline import Moment, timeline

LATER = NOW + timedelta(minutes=1)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_steps_with_the_time_between_them() -> None:
    steps = (
        Step(NOW, State.CLAIMED, ""),
        Step(NOW + seconds(0.25), State.UNCERTAIN, "the answer was lost"),
        Step(NOW + seconds(60.25), State.QUEUED, "run 7"),
    )
    assert timeline(record(state=State.QUEUED, history=steps), None, LATER) == [
        Moment(NOW, "claimed", "a delivery began to work on it"),
        Moment(NOW + seconds(0.25), "uncertain", "the answer was lost", "250 ms later"),
        Moment(NOW + seconds(60.25), "queued", "run 7", "1m later"),
    ]


def test_the_time_of_the_event_comes_first() -> None:
    entry = Entry("event-1", "type", "", run_completed("run-1"))
    happened, claimed = timeline(record(state=State.QUEUED, entry=entry), None, LATER)
    assert happened.at is not None
    assert (happened.text, claimed.after) == ("the event happened", "2h later")


def test_what_the_journal_has_forgotten() -> None:
    steps = tuple(Step(NOW + seconds(number), State.RELEASED, str(number)) for number in range(MAX_HISTORY))
    moments = timeline(record(state=State.QUEUED, history=steps), None, LATER)
    assert [moment.text for moment in moments[:3]] == ["0", "the journal keeps the first step and the last 19", "1"]
    assert moments[2].after == "1s later"


def test_what_comes_next() -> None:
    held = record(lease_until=NOW + seconds(90))
    again = Deferred(held, NOW + seconds(120))
    *_, now, later = timeline(held, again, LATER)
    assert now == Moment(None, "", "now: another delivery holds the claim until 12:01:30 UTC")
    assert later == Moment(again.at, "", "comes again at 2026-11-20 12:02:00 UTC", "2m later")
    *_, stuck = timeline(held, Deferred(held, None, is_stuck=True), LATER)
    assert stuck.text == "the app has failed on it too often; try it now after you have removed the cause"


def test_final_and_other_records_have_nothing_to_come() -> None:
    for found in (
        record(state=State.PARKED, lease_until=LATER + seconds(9)),
        record("$gather.1", state=State.WAITING),
        record("1", "$wait.1", lease_until=LATER + seconds(9)),
    ):
        assert len(timeline(found, None, LATER)) == 1
