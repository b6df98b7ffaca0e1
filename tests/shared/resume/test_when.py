"""When a deferred record is taken up again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.journal.records import NO_EVENT, JournalKey, Record, State, Step
from shared.resume.when import LONGEST, LONGEST_PAUSE, SHORTEST, first_seen, is_given_up, wait_of
from tests.support.clock import ManualClock

NOW = ManualClock().now


def a_record(
    state: State = State.RELEASED, *steps: State, lease_seconds: float = 0, settle_seconds: float = 0
) -> Record:
    history = tuple(Step(NOW, step, "") for step in (*steps, state))
    lease, settled = NOW + timedelta(seconds=lease_seconds), NOW + timedelta(seconds=settle_seconds)
    return Record(JournalKey("train", "ab12"), state, NO_EVENT, NOW, lease, settled, history=history)


def since(seconds: float, record: Record) -> Record:
    """Return the record with a first step so long ago."""
    first, *rest = record.history
    return record._replace(history=(first._replace(at=NOW - timedelta(seconds=seconds)), *rest))


def seconds(record: Record, pause: float | None = None, luck: float = 0.0) -> float:
    return wait_of(record, NOW, pause, luck).total_seconds()


class TestAPause:
    @pytest.mark.parametrize("pause", [0.02, 2, 20.5])
    @pytest.mark.parametrize("luck", [0, 1])
    def test_it_is_spread_already(self, pause: float, luck: float) -> None:
        assert seconds(a_record(), pause, luck) == pause

    @pytest.mark.parametrize(("pause", "luck", "expected"), [(20, 0, 20), (20, 0.5, 25), (20, 1, 30), (2, 1, 7)])
    def test_waiting_tasks_and_orphans_are_spread_here(self, pause: float, luck: float, expected: float) -> None:
        record = a_record()._replace(key=JournalKey("$orphans", "ab12"))
        assert seconds(record, pause, luck) == expected

    def test_a_very_long_one_is_asked_for_again(self) -> None:
        assert seconds(a_record(), 1e9) == LONGEST_PAUSE.total_seconds()

    def test_a_lost_request_may_be_in_progress_for_longer(self) -> None:
        assert seconds(a_record(State.UNCERTAIN, settle_seconds=120), 20) == 121


class TestAClaimOrALostRequest:
    @pytest.mark.parametrize(("lease", "settle", "expected"), [(60, 0, 61), (60, 145, 146), (0, 120, 121)])
    def test_the_record_is_tried_when_it_can_be_taken_over(self, lease: float, settle: float, expected: float) -> None:
        state = State.CLAIMED if lease else State.UNCERTAIN
        assert seconds(a_record(state, lease_seconds=lease, settle_seconds=settle)) == expected

    def test_answers_that_are_lost_for_long_slow_it_down(self) -> None:
        record = since(3600, a_record(State.UNCERTAIN, State.UNCERTAIN, settle_seconds=120))
        assert (seconds(record), seconds(record, luck=1)) == (121, 900)

    def test_nothing_is_in_progress_for_a_released_record(self) -> None:
        assert seconds(a_record(State.RELEASED, lease_seconds=60, settle_seconds=120)) == SHORTEST.total_seconds()


class TestOtherReasons:
    @pytest.mark.parametrize(
        ("failing", "limit"), [(0, 10), (20, 10), (30, 15), (60, 30), (1700, 850), (1800, 900), (1e6, 900)]
    )
    @pytest.mark.parametrize("state", [State.RELEASED, State.UNCERTAIN])
    def test_it_comes_at_most_half_as_long_after_an_outage_as_the_outage_took(
        self, state: State, failing: float, limit: float
    ) -> None:
        record = since(failing, a_record(state, state, State.CLAIMED))
        assert (seconds(record), seconds(record, luck=1)) == (5, limit)

    def test_only_attempts_that_failed_count(self) -> None:
        """A task may have waited for its run for days."""
        record = since(1e5, a_record(State.RELEASED, State.WAITING, State.CLAIMED))
        assert seconds(record, luck=1) == 10


@given(
    state=st.sampled_from(State),
    lease=st.floats(-1e6, 1e6),
    settle=st.floats(-1e6, 1e6),
    pause=st.none() | st.floats(0, 1e12),
    luck=st.floats(0, 1),
)
def test_the_wait_is_never_negative_or_endless(
    state: State, lease: float, settle: float, pause: float | None, luck: float
) -> None:
    wait = wait_of(a_record(state, lease_seconds=lease, settle_seconds=settle), NOW, pause, luck)
    open_for = timedelta(seconds=max(lease, settle, 0) + 1)
    assert timedelta() <= wait <= max(open_for, LONGEST_PAUSE) * 1.5 + LONGEST


class TestGivingUp:
    def test_it_counts_from_the_first_entry(self) -> None:
        record = a_record(State.RELEASED, State.CLAIMED)
        first = Step(NOW - timedelta(hours=2), State.CLAIMED, "")
        record = record._replace(history=(first, *record.history))
        assert first_seen(record) == first.at
        assert is_given_up(record, NOW, timedelta(hours=1))
        assert not is_given_up(record, NOW, timedelta(hours=2))
