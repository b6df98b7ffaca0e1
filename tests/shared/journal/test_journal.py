"""The state machine: every state, every transition, and which worker may make it."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from shared.errors import ClaimLost
from shared.journal.journal import AlreadyFinal, Claimed, Journal, NotClaimable
from shared.journal.records import MAX_HISTORY, Entry, JournalKey, Record, State, Step, Store, key_aside
from tests.support.clock import ManualClock
from tests.support.journal.records import store_with
from tests.support.journal.wrapped_store import Meanwhile, WrappedStore

KEY = JournalKey("route", "k" * 64)
ENTRY = Entry("id", "type", "subject", "{}", '{"request": "old"}')
NEWER = Entry("id", "type", "subject", "{}", '{"request": "new"}')

BUDGET, LEASE, SETTLE = 25, 60, 30


@pytest.fixture
def store(each_store: Store) -> Store:
    """Every backend, instead of the suite's usual one."""
    return each_store


@pytest.fixture
def journal(store: Store, clock: ManualClock) -> Journal:
    return Journal(store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=clock)


def send_by(clock: ManualClock) -> datetime:
    return clock() + timedelta(seconds=BUDGET)


def claim(journal: Journal, clock: ManualClock, entry: Entry = ENTRY) -> Claimed:
    result = journal.claim(KEY, entry, send_by(clock))
    assert isinstance(result, Claimed)
    return result


def states(record: Record | None) -> list[State]:
    assert record is not None
    return [step.state for step in record.history]


class TestClaim:
    def test_a_new_record_is_claimed(self, journal: Journal, clock: ManualClock) -> None:
        mine = claim(journal, clock)
        assert (mine.record, mine.in_doubt) == (journal.get(KEY), False)
        assert (mine.record.state, mine.record.claimed_at) == (State.CLAIMED, clock())
        assert mine.record.lease_until == clock() + timedelta(seconds=LEASE)
        assert mine.record.settled_at == clock() + timedelta(seconds=BUDGET + SETTLE)

    def test_a_valid_lease_keeps_others_away(self, journal: Journal, clock: ManualClock) -> None:
        claim(journal, clock)
        clock.advance(LEASE - 1)
        assert journal.claim(KEY, ENTRY, send_by(clock)) == NotClaimable(
            "another delivery holds the claim until 12:01:00 UTC"
        )

    def test_a_record_with_an_expired_lease_is_taken_over_as_uncertain(
        self, journal: Journal, clock: ManualClock
    ) -> None:
        first = claim(journal, clock).record
        clock.advance(LEASE)
        mine = claim(journal, clock, NEWER)
        assert mine.record.lost_until == first.settled_at, "the search for its run ends there"
        assert mine.record.state is State.UNCERTAIN
        assert mine.record.entry == ENTRY, "the request that may have been sent is the one to search for"
        assert mine.record.claimed_at == first.claimed_at, "the search begins at the first claim"
        assert mine.record.lease_until == clock() + timedelta(seconds=LEASE)
        assert isinstance(journal.claim(KEY, ENTRY, send_by(clock)), NotClaimable), "only one takes it over"

    def test_a_record_with_an_expired_lease_must_settle_first(self, store: Store, clock: ManualClock) -> None:
        journal = Journal(store, lease_seconds=BUDGET + 1, settle_seconds=SETTLE, clock=clock)
        claim(journal, clock)
        clock.advance(BUDGET + SETTLE - 1)
        assert journal.claim(KEY, ENTRY, send_by(clock)) == NotClaimable(
            "a request whose answer was lost may still be in progress until 12:00:55 UTC"
        )
        clock.advance(1)
        assert claim(journal, clock).in_doubt

    def test_a_claim_without_a_request_is_claimed_again(self, journal: Journal, clock: ManualClock) -> None:
        claim(journal, clock, Entry("id", "type", "subject", "{}"))
        clock.advance(BUDGET + SETTLE + LEASE)
        mine = claim(journal, clock, NEWER)
        assert (mine.in_doubt, mine.record.entry) == (False, NEWER)

    def test_claiming_gives_up_if_others_keep_changing_the_record(
        self, store: Store, journal: Journal, clock: ManualClock
    ) -> None:
        claim(journal, clock)
        clock.advance(LEASE)
        busy = store_with(store, replace=lambda _: None)
        result = Journal(busy, clock=clock).claim(KEY, ENTRY, send_by(clock))
        assert result == NotClaimable("other deliveries of the same event keep changing its record")

    def test_a_record_that_is_purged_between_two_steps_is_inserted_again(
        self, store: Store, clock: ManualClock
    ) -> None:
        found = claim(Journal(store, clock=clock), clock).record
        purged = WrappedStore(store, Meanwhile("before get", lambda: store.delete(found)))
        assert isinstance(Journal(purged, clock=clock).claim(KEY, ENTRY, send_by(clock)), Claimed)


FINISHES: dict[State, Callable[[Journal, Record], Record]] = {
    State.QUEUED: lambda journal, record: journal.complete(record, 7, "url", "why"),
    State.PARKED: lambda journal, record: journal.park(record, "why"),
    State.SUPPRESSED: lambda journal, record: journal.suppress(record, "why"),
}


@pytest.mark.parametrize("state", FINISHES)
def test_final_records_are_not_claimed(journal: Journal, clock: ManualClock, state: State) -> None:
    done = FINISHES[state](journal, claim(journal, clock).record)
    run = (7, "url") if state is State.QUEUED else (None, "")
    assert (done.state, done.reason, done.run_id, done.run_url) == (state, "why", *run)
    assert (done.entry, states(done)) == (ENTRY, [State.CLAIMED, state])
    clock.advance(10**6)
    assert journal.claim(KEY, ENTRY, send_by(clock)) == AlreadyFinal(done)


class TestParkedRecords:
    OTHER = Entry("other", "type", "subject", "{}", '{"request": "new"}')

    def test_another_event_with_the_same_identity_claims_the_key_and_the_parked_event_is_kept(
        self, journal: Journal, clock: ManualClock
    ) -> None:
        parked = journal.park(claim(journal, clock).record, "refused")
        mine = claim(journal, clock, self.OTHER)
        assert (mine.in_doubt, mine.record.entry, states(mine.record)) == (False, self.OTHER, [State.CLAIMED])
        kept = journal.get(key_aside(parked))
        assert kept is not None
        assert (kept.state, kept.entry, kept.reason) == (State.PARKED, ENTRY, "refused")
        assert kept.history[-1].note.endswith("has claimed the key kkkkkkkkkkkk: other")
        assert mine.record.history[-1].note == f"the parked event id is kept under {kept.key.key[:12]}"

    def test_a_crash_between_the_two_writes_loses_nothing(
        self, journal: Journal, store: Store, clock: ManualClock
    ) -> None:
        parked = journal.park(claim(journal, clock).record, "refused")
        busy = Journal(store_with(store, replace=lambda _: None), clock=clock)
        assert isinstance(busy.claim(KEY, self.OTHER, send_by(clock)), NotClaimable)
        assert journal.get(KEY) == parked
        assert claim(journal, clock, self.OTHER).record.entry == self.OTHER
        assert journal.get(key_aside(parked)) is not None

    def test_a_record_whose_run_may_exist_keeps_its_key(self, journal: Journal, clock: ManualClock) -> None:
        doubted = journal.mark_uncertain(claim(journal, clock).record, "lost", in_progress=False)
        parked = journal.park(doubted, "the search was refused")
        assert journal.claim(KEY, self.OTHER, send_by(clock)) == AlreadyFinal(parked)


class TestReopen:
    def test_a_reopened_record_can_be_claimed_again(self, journal: Journal, clock: ManualClock) -> None:
        parked = journal.park(claim(journal, clock).record, "refused")
        journal.reopen(parked, "redriven")
        with pytest.raises(ClaimLost):
            journal.reopen(parked, "redriven")
        mine = claim(journal, clock, NEWER)
        assert (mine.in_doubt, mine.record.entry) == (False, NEWER)
        assert states(mine.record) == [State.CLAIMED, State.PARKED, State.RELEASED, State.CLAIMED]

    def test_only_parked_records_can_be_reopened(self, journal: Journal, clock: ManualClock) -> None:
        queued = journal.complete(claim(journal, clock).record, 7, "url")
        with pytest.raises(ValueError, match="is queued; only parked records can be redriven"):
            journal.reopen(queued, "redriven")


def test_a_released_record_can_be_claimed_at_once(journal: Journal, clock: ManualClock) -> None:
    released = journal.release(claim(journal, clock).record, "throttled")
    assert (released.state, released.reason) == (State.RELEASED, "throttled")
    clock.advance(1)
    mine = claim(journal, clock, NEWER)
    assert not mine.in_doubt
    assert mine.record.entry == NEWER, "the route may have been changed since"
    assert (mine.record.claimed_at, mine.record.reason) == (clock(), "")
    assert states(mine.record) == [State.CLAIMED, State.RELEASED, State.CLAIMED]


class TestUncertain:
    def test_it_is_taken_over_when_the_lost_request_has_settled(self, journal: Journal, clock: ManualClock) -> None:
        record = first = claim(journal, clock).record
        clock.advance(1)
        for _ in range(2):
            doubted = journal.mark_uncertain(record, "answer lost", in_progress=True)
            assert (doubted.state, doubted.settled_at) == (State.UNCERTAIN, clock() + timedelta(seconds=SETTLE))
            clock.advance(SETTLE - 1)
            assert isinstance(journal.claim(KEY, ENTRY, send_by(clock)), NotClaimable)
            clock.advance(1)
            mine = claim(journal, clock)
            assert mine.in_doubt
            record = mine.record
        assert record.claimed_at == first.claimed_at

    def test_it_is_taken_over_at_once_if_no_request_is_in_progress(self, journal: Journal, clock: ManualClock) -> None:
        journal.mark_uncertain(claim(journal, clock).record, "could not look", in_progress=False)
        mine = claim(journal, clock)
        assert mine.in_doubt
        journal.release(mine.record, "it is known that nothing was queued")
        assert not claim(journal, clock).in_doubt


@pytest.mark.parametrize("late", ["complete", "release", "park", "suppress", "doubt"])
@pytest.mark.parametrize("winner", ["complete", "release", "park", "doubt", "still at work"])
def test_a_worker_that_has_lost_its_claim_can_change_nothing(
    journal: Journal, clock: ManualClock, late: str, winner: str
) -> None:
    def act(record: Record, how: str, run_id: int) -> None:
        match how:
            case "complete":
                journal.complete(record, run_id, "url")
            case "doubt":
                journal.mark_uncertain(record, "why", in_progress=True)
            case "release" | "park" | "suppress":
                getattr(journal, how)(record, "why")

    frozen = claim(journal, clock).record
    clock.advance(LEASE)
    act(claim(journal, clock).record, winner, 1)
    before = journal.get(KEY)
    with pytest.raises(ClaimLost, match="the record kkkkkkkkkkkk of route route has been taken over"):
        act(frozen, late, 2)
    assert journal.get(KEY) == before


def test_the_history_is_bounded(journal: Journal, clock: ManualClock) -> None:
    first = Step(clock(), State.CLAIMED, "")
    for _ in range(MAX_HISTORY):
        journal.release(claim(journal, clock).record, "again")
        clock.advance(1)
    record = journal.get(KEY)
    assert record is not None
    assert len(record.history) == MAX_HISTORY
    assert record.history[0] == first, "it shows how old the record is"
    assert record.history[-1].state is State.RELEASED
