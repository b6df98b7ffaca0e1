"""The gate: pauses that Azure DevOps asks for, and pauses because it does not answer."""

import logging

import pytest

from shared.errors import Paused, Throttled
from shared.http.pace import LEAST
from shared.http.throttle import ThrottleGate
from tests.support.clock import ManualClock

A, B = "https://a", "https://b"
APP, TASK = "Basic app", "Bearer task"


@pytest.fixture
def gate(clock: ManualClock) -> ThrottleGate:
    return ThrottleGate(clock)


def fail(gate: ThrottleGate, times: int = 1) -> None:
    for _ in range(times):
        gate.not_answered(A, "HTTP 502")


def test_it_closes_for_as_long_as_asked_and_reports_the_rest(gate: ThrottleGate, clock: ManualClock) -> None:
    """A later, shorter pause does not open the gate sooner."""
    gate.check(A, APP)
    gate.close(A, APP, 10)
    gate.close(A, APP, 2)
    clock.advance(4)
    with pytest.raises(Throttled, match="https://a asked for a pause, which ends in 6 s") as caught:
        gate.check(A, APP)
    assert caught.value.retry_after_seconds == 6
    gate.check(B, APP)
    clock.advance(6)
    gate.check(A, APP)


def test_a_pause_holds_for_the_credential_that_was_throttled(gate: ThrottleGate) -> None:
    gate.close(A, TASK, 3600)
    gate.check(A, APP)
    with pytest.raises(Throttled):
        gate.check(A, TASK)


def test_it_forgets_the_oldest_of_too_many_organizations_and_credentials(gate: ThrottleGate) -> None:
    for number in range(1001):
        gate.close(A, f"Bearer {number}", 60)
        gate.not_answered(f"https://{number}.visualstudio.com", "no connection")
    assert len(gate._open_at) == len(gate._failures) == 1000
    gate.check(A, "Bearer 0")
    with pytest.raises(Throttled):
        gate.check(A, "Bearer 1000")


class TestWithoutAnswers:
    def test_it_closes_after_five_in_a_row_for_this_organization_only(
        self, gate: ThrottleGate, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        fail(gate, 4)
        gate.answered(A)
        fail(gate, 4)
        gate.check(A, APP)
        fail(gate)
        clock.advance(2)
        with pytest.raises(
            Paused, match=r"paused for 3 s, because the last 5 requests had no answer \(latest: HTTP 502\)"
        ) as caught:
            gate.check(A, APP)
        assert caught.value.retry_after_seconds == 3
        gate.check(B, APP)
        assert caplog.messages == [
            "no request to https://a for 5 s, because the last 5 requests had no answer (latest: HTTP 502)"
        ]

    @pytest.mark.parametrize("is_resumed", [False, True])
    def test_the_pauses_grow_until_a_trial_is_answered(
        self, gate: ThrottleGate, clock: ManualClock, caplog: pytest.LogCaptureFixture, *, is_resumed: bool
    ) -> None:
        """With a resume queue, they stay short."""
        caplog.set_level(logging.INFO)
        if is_resumed:
            gate.admit(A, APP)
        longest = 10 if is_resumed else 20
        fail(gate, 5)
        for seconds in (5, 10, longest, longest):
            with pytest.raises(Paused):
                gate.check(A, APP)
            clock.advance(seconds)
            gate.check(A, APP)
            with pytest.raises(Paused, match="paused until the answer of another request, because the last") as caught:
                gate.check(A, APP)
            assert caught.value.retry_after_seconds == 15
            fail(gate)
        clock.advance(longest)
        gate.check(A, APP)
        gate.answered(A)
        assert caplog.messages[-1] == "https://a answers again"
        for _ in range(5):
            gate.check(A, APP)
            fail(gate)
        with pytest.raises(Paused, match="for 5 s"):
            gate.check(A, APP)

    def test_answers_to_requests_from_before_the_pause_do_not_make_it_longer(
        self, gate: ThrottleGate, clock: ManualClock
    ) -> None:
        fail(gate, 32)
        clock.advance(5)
        gate.check(A, APP)

    def test_a_late_answer_ends_it(self, gate: ThrottleGate) -> None:
        fail(gate, 5)
        gate.answered(A)
        gate.check(A, APP)

    def test_a_trial_without_an_outcome_is_followed_by_another(self, gate: ThrottleGate, clock: ManualClock) -> None:
        """The thread may have died, or have been frozen."""
        fail(gate, 5)
        clock.advance(5)
        gate.check(A, APP)
        clock.advance(15)
        gate.check(A, APP)


class TestAdmit:
    """What may wait asks before it begins. It is asked often, so it never lets the trial through."""

    def test_work_begins_until_a_pause_and_is_spread_afterwards(self, gate: ThrottleGate, clock: ManualClock) -> None:
        assert [gate.admit(A, APP) for _ in range(100)] == [0.0] * 100
        gate.close(A, APP, 10)
        waits = [gate.admit(A, APP) for _ in range(3)]
        assert waits == pytest.approx([10 + number / LEAST for number in (1, 2, 3)])
        assert gate.admit(B, APP) == 0
        clock.advance(10)
        assert gate.admit(A, APP) == 0
        assert gate.admit(A, APP) == pytest.approx(4 / LEAST)  # its rate is 0.3 a second now

    def test_a_refused_request_does_not_count(self, gate: ThrottleGate, clock: ManualClock) -> None:
        for _ in range(11):
            assert gate.admit(A, APP) == 0
            gate.close(A, APP, 1, refused=True)
            clock.advance(1)
        assert [gate.admit(A, APP) for _ in range(100)] == [0.0] * 100

    def test_the_trials_of_an_outage_do_not_count(self, gate: ThrottleGate, clock: ManualClock) -> None:
        """Else a 429 after an outage would set the rate of its few trials, and what waits would come back slowly."""
        for _ in range(30):
            assert gate.admit(A, APP) == 0
            gate.not_answered(A, "no connection")
            clock.advance(10)
        gate.answered(A)
        gate.close(A, APP, 10)
        clock.advance(10)
        assert [gate.admit(A, APP) for _ in range(100)] == [0.0] * 100

    def test_work_that_was_just_tried_takes_no_place(self, gate: ThrottleGate, clock: ManualClock) -> None:
        assert [gate.admit(A, APP) for _ in range(100)] == [0.0] * 100
        gate.close(A, APP, 10)
        clock.advance(10)
        assert [gate.admit(A, APP, later=True) for _ in range(2)] == pytest.approx([1 / LEAST, 2 / LEAST])
        assert gate.admit(A, APP) == 0

    def test_a_renewed_token_does_not_forget_the_rate(self, gate: ThrottleGate, clock: ManualClock) -> None:
        assert [gate.admit(A, "Bearer 1") for _ in range(100)] == [0.0] * 100
        gate.close(A, "Bearer 1", 10)
        clock.advance(10)
        assert [gate.admit(A, "Bearer 2") > 0 for _ in range(2)] == [False, True]

    def test_without_answers_it_waits_for_the_pause_and_shortly_for_the_trial(
        self, gate: ThrottleGate, clock: ManualClock
    ) -> None:
        fail(gate, 5)
        assert [gate.admit(A, APP) for _ in range(2)] == pytest.approx([5.04, 5.08])
        clock.advance(5)
        assert [gate.admit(A, APP) for _ in range(2)] == [0.0, 0.0]
        gate.check(A, APP)
        assert gate.admit(A, APP) == pytest.approx(2.04)
        gate.answered(A)
        assert gate.admit(A, APP) == 0
