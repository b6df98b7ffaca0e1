"""The pace of requests by value: what it learns from pauses, and how it spreads the work that waits."""

from itertools import pairwise

import pytest

from shared.http.pace import (
    CUT,
    HORIZON_SECONDS,
    LEAST,
    MIN_RATE,
    OVERBOOKING,
    REFUSED_SECONDS,
    STEP,
    TRIAL_RATE,
    TRIAL_SECONDS,
    UNPACED,
    WINDOW_SECONDS,
    Pace,
)


def sent(per_second: float, seconds: int = 1200) -> Pace:
    """Return a pace after evenly sent requests, at the time ``seconds``."""
    pace = Pace(lambda: 0.5)
    for number in range(round(per_second * seconds)):
        assert pace.take(number / per_second)
    return pace


def count(pace: Pace, begin: float, end: float) -> int:
    """Return how many requests may be sent in this time, if one is always ready."""
    return sum(pace.take(begin + tick / 100) for tick in range(round((end - begin) * 100)))


class TestRate:
    def test_without_a_pause_there_is_none(self) -> None:
        pace = sent(100.0, 60)
        assert pace.rate(60) is None

    def test_a_pause_sets_it_to_a_little_less_than_was_sent(self) -> None:
        pace = sent(10.0)
        pace.pause(1200, 30)
        assert pace.rate(1230) == pytest.approx(CUT * 10, rel=0.03)

    def test_a_burst_counts_over_the_whole_window(self) -> None:
        """The sum over all instances is what Azure DevOps accepts, however fast they sent it."""
        pace = sent(200.0, 20)
        pace.pause(20, 280)
        assert pace.rate(300) == pytest.approx(CUT * 200 * 20 / WINDOW_SECONDS, rel=0.05)

    def test_requests_count_fully_for_the_whole_window_and_not_afterwards(self) -> None:
        """As Azure DevOps counts them."""
        pace = sent(10.0, 100)
        pace.pause(290, 30)
        assert pace.rate(320) == pytest.approx(CUT * 10 * 100 / WINDOW_SECONDS)
        pace = sent(10.0, 100)
        pace.pause(401, 30)
        assert pace.rate(431) is None

    def test_it_grows_by_the_same_amount_each_second(self) -> None:
        pace = sent(10.0)
        pace.pause(1200, 30)
        first, *later = [pace.rate(1230 + minutes * 60) or 0.0 for minutes in range(5)]
        assert later == pytest.approx([first * (1 + STEP * 60 * minutes) for minutes in range(1, 5)])

    def test_answers_that_ask_for_the_same_pause_count_once(self) -> None:
        pace = sent(10.0)
        pace.pause(1200, 30)
        pace.pause(1229, 30)
        assert pace.rate(1259) == pytest.approx(CUT * 10, rel=0.03)

    def test_pauses_do_not_add_up(self) -> None:
        """Late answers to requests from before the pause ask for another one."""
        pace = sent(10.0)
        for second in range(1200, 1210):
            pace.pause(second, 1)
        assert pace.rate(1210) == pytest.approx(CUT * 10, rel=0.06)

    @pytest.mark.parametrize(("requests", "is_known"), [(0, False), (5, False), (9, False), (10, True)])
    def test_a_process_that_has_sent_very_little_learns_none(self, requests: int, is_known: bool) -> None:
        """Azure DevOps limits an identity, which other tools may use too: they have caused the pause."""
        pace = Pace()
        assert sum(pace.take(1000) for _ in range(requests)) == requests
        pace.pause(1000, 5)
        assert (pace.rate(1005) is not None) == is_known
        assert not pace.take(1004)
        assert sum(pace.take(1005) for _ in range(100)) == (1 if is_known else 100)
        assert not is_known or (pace.rate(1005) or 0) >= MIN_RATE

    def test_what_was_refused_does_not_count(self) -> None:
        pace = sent(10.0)
        for _ in range(5):
            pace.uncount()
        pace.pause(1200, 30)
        assert pace.rate(1230) == pytest.approx(CUT * (10 - 5 / WINDOW_SECONDS), rel=0.03)

    def test_more_refusals_than_requests_take_nothing_from_later_ones(self) -> None:
        """A redrive and the search for a run are refused too, and were not counted."""
        pace = Pace()
        assert pace.take(1000)
        for _ in range(20):
            pace.uncount()
        assert all(pace.take(1001) for _ in range(10))
        pace.pause(1001, 5)
        assert pace.rate(1006) is not None

    def test_it_is_forgotten_after_a_window_without_a_pause(self) -> None:
        pace = sent(10.0)
        pace.pause(1200, 30)
        assert pace.rate(1230 + WINDOW_SECONDS) is not None
        assert pace.rate(1231 + WINDOW_SECONDS) is None


def refused(pace: Pace, begin: int, end: int) -> None:
    """Refuse each request, and ask for a pause of 5 s."""
    for second in range(begin, end):
        if pace.take(second):
            pace.uncount()
            pace.pause(second, 5)


class TestRefusals:
    """Azure DevOps refuses everything for a while, as in an outage, so the rate is not the reason."""

    def test_the_rate_is_forgotten(self) -> None:
        pace = sent(1.0, 12)
        pace.pause(12, 5)
        assert pace.rate(17) == MIN_RATE
        refused(pace, 18, 18 + round(REFUSED_SECONDS) + 6)
        assert pace.rate(60) == TRIAL_RATE

    def test_a_few_requests_try_what_is_accepted(self) -> None:
        pace = sent(1.0, 12)
        refused(pace, 12, 60)
        taken = [tick / 100 for tick in range(8000, 8400) if pace.take(tick / 100)]
        assert [later - earlier for earlier, later in pairwise(taken[:6])] == pytest.approx(
            [0, 1 / 2, 1 / 4, 1 / 8, 0],
            abs=0.02,  # SLACK_SECONDS allow the second one at once
        )
        assert pace.rate(84) is None
        assert sum(pace.take(84) for _ in range(100)) == 100

    def test_trials_are_at_least_so_far_apart(self) -> None:
        pace = sent(1.0, 12)
        refused(pace, 12, 60)
        pace.take(70)
        pace.uncount()
        pace.pause(70, 1)
        assert [pace.take(70 + TRIAL_SECONDS - 0.1), pace.take(70 + TRIAL_SECONDS)] == [False, True]

    def test_one_that_is_accepted_begins_the_time_again(self) -> None:
        pace = sent(1.0, 12)
        refused(pace, 12, 30)
        assert pace.take(36)
        refused(pace, 37, 50)
        assert pace.rate(60) == pytest.approx(MIN_RATE, rel=0.05)

    def test_after_the_first_refusal_ever_none_is_known(self) -> None:
        pace = Pace()
        refused(pace, 1_800_000_000, 1_800_000_006)
        assert pace.rate(1_800_000_006) is None

    def test_the_next_pause_teaches_again(self) -> None:
        pace = sent(1.0, 12)
        refused(pace, 12, 60)
        assert sum(pace.take(100 + tick / 10) for tick in range(3000)) > 2900
        pace.pause(400, 5)
        assert pace.rate(405) == pytest.approx(CUT * 10, rel=0.05)

    def test_work_comes_back_as_if_no_rate_were_known(self) -> None:
        pace = sent(1.0, 12)
        refused(pace, 12, 60)
        assert [pace.back_in(70) for _ in range(2)] == pytest.approx([1 / UNPACED, 2 / UNPACED])


class TestTake:
    def test_nothing_is_sent_within_a_pause(self) -> None:
        pace = sent(10.0)
        pace.pause(1200, 30)
        assert [pace.take(1200), pace.take(1229.9), pace.take(1230)] == [False, False, True]

    def test_a_shorter_pause_does_not_end_a_longer_one(self) -> None:
        pace = Pace()
        pace.pause(0, 30)
        pace.pause(1, 2)
        assert not pace.take(29)

    def test_as_many_are_sent_as_the_rate_allows(self) -> None:
        pace = sent(10.0)
        pace.pause(1200, 30)
        grown = CUT * 10 * (1 + STEP * 50)  # in the middle of the time
        assert count(pace, 1230, 1330) == pytest.approx(grown * 100, rel=0.05)

    def test_what_was_not_used_is_not_saved(self) -> None:
        pace = sent(10.0)
        pace.pause(1200, 30)
        burst = sum(pace.take(1400) for _ in range(1000))
        assert burst == pytest.approx((pace.rate(1400) or 0.0) * 1.0 + 1, abs=1)


class TestBackIn:
    def test_work_comes_back_one_after_the_other_when_the_pause_ends(self) -> None:
        pace = sent(10.0)
        pace.pause(1200, 30)
        rate = OVERBOOKING * (pace.rate(1200) or 0.0)
        assert [pace.back_in(1200) for _ in range(3)] == pytest.approx([30 + n / rate for n in (1, 2, 3)])

    def test_a_low_rate_does_not_hold_it_back_for_long(self) -> None:
        pace = sent(MIN_RATE * 2)
        pace.pause(1200, 10)
        assert [pace.back_in(1200) for _ in range(3)] == pytest.approx([10 + n / LEAST for n in (1, 2, 3)])

    def test_without_a_rate_it_waits_for_the_gate(self) -> None:
        assert [Pace().back_in(1000, 5) for _ in range(2)] == pytest.approx([5 + 1 / UNPACED] * 2)

    def test_all_of_it_comes_back_within_the_horizon(self) -> None:
        pace = sent(MIN_RATE * 2)
        pace.pause(1200, 10)
        waits = [pace.back_in(1200) for _ in range(round(HORIZON_SECONDS * LEAST) + 2)]
        assert waits[-4] == pytest.approx(10 + HORIZON_SECONDS, abs=1)
        assert waits[-2:] == pytest.approx([10 + 0.5 * HORIZON_SECONDS] * 2)

    def test_time_that_has_passed_makes_room(self) -> None:
        pace = Pace()
        pace.pause(0, 10)
        for _ in range(round(HORIZON_SECONDS * UNPACED * 1.2)):
            pace.back_in(0)
        assert pace.back_in(HORIZON_SECONDS + 10) == pytest.approx(1 / UNPACED)
