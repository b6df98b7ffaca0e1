"""The offset of a server's clock: by value, for any clocks and latencies, and what is logged."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.clock_offset import ClockOffset, offset_words

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROUNDING = timedelta(microseconds=2)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def http_date(moment: datetime) -> str:
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def measure(offset: ClockOffset, ahead: float, at: float = 0, latency: float = 0.4, **headers: str) -> None:
    """Measure an answer that is sent and received around ``at`` and whose Date is NOON + ``at`` + ``ahead``."""
    sent_at = NOON + seconds(at)
    headers = {"date": http_date(sent_at + seconds(ahead)), **headers}
    offset.measure(200, headers, sent_at, sent_at + seconds(latency))


def bounds(offset: ClockOffset) -> tuple[float, float]:
    return (offset.value - offset.margin).total_seconds(), (offset.value + offset.margin).total_seconds()


@pytest.fixture
def offset() -> ClockOffset:
    return ClockOffset("https://server")


class TestValues:
    def test_before_the_first_answer(self, offset: ClockOffset) -> None:
        assert (offset.value, offset.is_measured) == (timedelta(), False)

    def test_one_answer(self, offset: ClockOffset) -> None:
        """The server wrote 12:00:10 up to 12:00:10.999999, between 12:00:00 and 12:00:00.4 here."""
        measure(offset, ahead=10)
        assert bounds(offset) == (9.6, 11)
        assert (offset.value, offset.is_measured) == (seconds(10.3), True)

    def test_no_difference_is_assumed_if_there_may_be_none(self, offset: ClockOffset) -> None:
        measure(offset, ahead=0)
        assert (offset.value, offset.margin) == (timedelta(), seconds(1))

    def test_several_answers_give_closer_bounds(self, offset: ClockOffset) -> None:
        """The server is 10.5 s ahead. Its second begins in the middle of ours."""
        for at, date in [(0.0, 10), (0.4, 10), (0.5, 11), (1.6, 12)]:
            sent_at = NOON + seconds(at)
            offset.measure(200, {"date": http_date(NOON + seconds(date))}, sent_at, sent_at + seconds(0.1))
        low, high = bounds(offset)
        assert (low, high) == pytest.approx((10.4, 10.6), abs=0.01)

    def test_known_bounds_become_wider_with_time(self, offset: ClockOffset) -> None:
        measure(offset, ahead=10, latency=0)
        measure(offset, ahead=10, latency=0.4, at=100)
        assert bounds(offset) == pytest.approx((9.8996, 11), abs=1e-6)

    @pytest.mark.parametrize("ahead", [4, 8, 12, -3600])
    def test_after_a_clock_was_set_only_the_new_bounds_hold(self, offset: ClockOffset, ahead: float) -> None:
        measure(offset, ahead=10)
        measure(offset, ahead=ahead, at=1)
        assert bounds(offset) == (ahead - 0.4, ahead + 1)


class TestAnswersThatDoNotShowTheClock:
    @pytest.mark.parametrize(
        "date", ["", "yesterday", "Fri, 20 Nov 2026 12:00:00 -0000", "Fri, 20 Nov 2426 12:00:00 GMT"]
    )
    def test_a_date_that_cannot_be_used(self, offset: ClockOffset, date: str) -> None:
        offset.measure(200, {"date": date}, NOON, NOON)
        assert not offset.is_measured

    def test_no_date(self, offset: ClockOffset) -> None:
        offset.measure(200, {}, NOON, NOON)
        assert not offset.is_measured

    @pytest.mark.parametrize("status", [407, 500, 502, 503, 504])
    def test_an_error_that_may_be_a_proxys_own(self, offset: ClockOffset, status: int) -> None:
        measure(offset, ahead=10)
        offset.measure(status, {"date": http_date(NOON)}, NOON, NOON)
        assert offset.value == seconds(10.3)

    @pytest.mark.parametrize(("age", "value"), [("60", 10.3), ("0", 0)])
    def test_an_answer_from_a_cache(self, offset: ClockOffset, age: str, value: float) -> None:
        measure(offset, ahead=10)
        measure(offset, ahead=0, age=age)
        assert offset.value == seconds(value)

    def test_an_answer_during_which_our_clock_was_set_back(self, offset: ClockOffset) -> None:
        measure(offset, ahead=10)
        measure(offset, ahead=0, latency=-60)
        assert offset.value == seconds(10.3)


moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
days = st.timedeltas(timedelta(-1), timedelta(1))
exchanges = st.lists(
    st.tuples(
        st.timedeltas(timedelta(), timedelta(hours=2)),  # since the exchange before
        st.timedeltas(timedelta(), timedelta(seconds=30)),  # latency
        st.floats(0, 1),  # when in this time the server reads its clock
        st.floats(-1, 1),  # how its clock has drifted since the exchange before, of what is possible
    ),
    min_size=1,
    max_size=20,
)


def exchange(offset: ClockOffset, real: timedelta, sent_at: datetime, latency: timedelta, position: float) -> None:
    date = http_date(sent_at + latency * position + real)
    offset.measure(200, {"date": date}, sent_at, sent_at + latency)


@given(moments, days, exchanges)
def test_the_offset_is_within_the_margin(
    now: datetime, real: timedelta, answers: list[tuple[timedelta, timedelta, float, float]]
) -> None:
    offset = ClockOffset("https://server")
    for gap, latency, position, drift in answers:
        real += (gap + latency) * 0.001 * drift
        exchange(offset, real, now + gap, latency, position)
        now += gap + latency
        assert abs(offset.value - real) <= offset.margin + ROUNDING * len(answers)
        assert offset.margin <= seconds(1) + latency + ROUNDING


@given(moments, st.lists(days, min_size=1), exchanges)
def test_whenever_a_clock_is_set_the_error_is_at_most_a_second_and_the_latency(
    now: datetime, real: list[timedelta], answers: list[tuple[timedelta, timedelta, float, float]]
) -> None:
    offset = ClockOffset("https://server")
    for number, (gap, latency, position, _) in enumerate(answers):
        exchange(offset, real[number % len(real)], now + gap, latency, position)
        now += gap + latency
        assert abs(offset.value - real[number % len(real)]) <= seconds(1) + latency


class TestLog:
    @pytest.mark.parametrize(
        ("offsets", "logged"),
        [
            ([0, 0, 5], []),  # 5.3 s, but it may be 4.6 s
            ([6, 6, 6], ["6.3 s ahead of"]),
            ([-7], ["6.7 s behind"]),
            ([60, 62, 57], ["60.3 s ahead of"]),
            ([60, 67, 69, 90], ["60.3 s ahead of", "67.3 s ahead of", "90.3 s ahead of"]),
            ([60, 0, 60], ["60.3 s ahead of", "60.3 s ahead of"]),
            ([60, -60], ["60.3 s ahead of", "59.7 s behind"]),
        ],
    )
    def test_a_large_offset_is_logged_once_until_it_changes(
        self, offset: ClockOffset, caplog: pytest.LogCaptureFixture, offsets: list[float], logged: list[str]
    ) -> None:
        for number, ahead in enumerate(offsets):
            measure(offset, ahead=ahead, at=number)
        records = [record for record in caplog.records if record.name == "nextstage.clock"]
        assert {record.levelname for record in records} <= {"WARNING"}
        assert [record.getMessage() for record in records] == [
            f"the clock of https://server is {words} this machine's; this is allowed for, but check the time "
            "synchronization of this machine"
            for words in logged
        ]

    def test_a_slow_answer_does_not_show_a_large_offset(
        self, offset: ClockOffset, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The server wrote its Date at the end of 14 s. Its clock may be 7 s away, or exact."""
        measure(offset, ahead=14, latency=14)
        assert offset.value == timedelta()
        assert caplog.records == []


@pytest.mark.parametrize(("number", "words"), [(0, "0.0 s ahead of"), (7.46, "7.5 s ahead of"), (-62, "62.0 s behind")])
def test_an_offset_in_words(number: float, words: str) -> None:
    assert offset_words(seconds(number)) == words
