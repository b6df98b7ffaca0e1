"""Selecting and deleting records, as the operator's commands and the purge do: the contract of every journal store."""

from datetime import timedelta

import pytest

from shared.clock import utc_now
from shared.journal.records import JournalKey, Record, Selection, State, Store
from tests.support.journal.records import NOW, record, written


@pytest.fixture
def store(each_store: Store) -> Store:
    """Every backend, instead of the suite's usual one."""
    return each_store


def keys(store: Store, selection: Selection, limit: int = 100) -> set[str]:
    return {found.key.key for found in store.select(selection, limit)}


@pytest.fixture
def filled(store: Store) -> Store:
    """Return a store with eight records: two routes, four states, each an hour older than the last, four with a run.

    In Azure Tables, each run has an entity of its own. The keys of these entities sort between those of the records.
    """
    states = [State.CLAIMED, State.QUEUED, State.PARKED, State.SUPPRESSED]
    for number in range(8):
        store.insert(
            record(
                f"{'kz'[number % 2]}{number}",
                route="even" if number % 2 == 0 else "odd",
                state=states[number % 4],
                run_id=number if number < 4 else None,
                claimed_at=NOW - timedelta(hours=number),
            )
        )
    return store


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), "01234567"),
        (Selection(route="even"), "0246"),
        (Selection(route="nowhere"), ""),
        (Selection(route_prefix="ev"), "0246"),
        (Selection(route_prefix="o", states=frozenset({State.QUEUED})), "15"),
        (Selection(route_prefix="evf"), ""),
        (Selection(route_prefix="e."), ""),
        (Selection(states=frozenset({State.PARKED})), "26"),
        (Selection(states=frozenset({State.PARKED, State.QUEUED})), "1256"),
        (Selection(claimed_before=NOW - timedelta(hours=5)), "67"),
        (Selection(claimed_before=NOW), "1234567"),
        (Selection(after=JournalKey("even", "k4")), "61357"),
        (Selection(route_prefix="e", after=JournalKey("even", "k2")), "46"),
        (Selection(after=JournalKey("even", "z")), "1357"),
        (Selection("odd", frozenset({State.QUEUED}), NOW - timedelta(hours=2)), "5"),
    ],
)
def test_a_record_must_match_every_part_of_a_selection(filled: Store, selection: Selection, expected: str) -> None:
    assert {key[1:] for key in keys(filled, selection)} == set(expected)


def test_a_selection_has_all_records_that_were_written_since_a_time(filled: Store) -> None:
    an_hour_ago = utc_now() + filled.clock_offset() - timedelta(hours=1)
    assert {key[1:] for key in keys(filled, Selection(written_since=an_hour_ago))} == set("01234567")
    parked = Selection(written_since=an_hour_ago, states=frozenset({State.PARKED}))
    assert {key[1:] for key in keys(filled, parked)} == set("26")


def test_selected_records_are_complete(filled: Store) -> None:
    (found,) = filled.select(
        Selection(route="odd", states=frozenset({State.QUEUED}), claimed_before=NOW - timedelta(hours=2)), 9
    )
    assert found == filled.get(found.key)


def test_at_most_the_limit_is_selected(filled: Store) -> None:
    assert len(list(filled.select(Selection(), 3))) == 3
    assert list(filled.select(Selection(), 0)) == []


def test_records_after_a_key_are_in_the_order_of_their_keys(store: Store) -> None:
    for name in ("b2", "a1", "c3", "b1", "a2"):
        store.insert(record(name[1], f"$wait.{name[0]}", state=State.QUEUED if name == "b2" else State.CLAIMED))
    claimed = frozenset({State.CLAIMED})
    found = store.select(Selection(states=claimed, route_prefix="$wait.", after=JournalKey("$wait.", "")), 9)
    assert ["".join(one.key)[-2:] for one in found] == ["a1", "a2", "b1", "c3"]
    found = store.select(Selection(states=claimed, route_prefix="$wait.", after=JournalKey("$wait.a", "1")), 2)
    assert ["".join(one.key)[-2:] for one in found] == ["a2", "b1"]


def test_all_records_are_found_across_pages(store: Store) -> None:
    for number in range(1100):
        store.insert(record(f"k{number}"))
    assert len(keys(store, Selection(route="route"), 2000)) == 1100


class TestDelete:
    def test_a_deleted_record_is_gone_and_its_key_is_free(self, store: Store) -> None:
        found = written(store.insert(record()))
        assert store.delete(found)
        assert store.get(found.key) is None
        assert not store.delete(found)
        assert store.insert(record()) is not None

    def test_a_record_that_has_changed_since_is_not_deleted(self, store: Store) -> None:
        first = written(store.insert(record(run_id=5)))
        second = written(store.replace(first._replace(reason="changed")))
        assert not store.delete(first)
        assert store.get(first.key) == second
        assert second in store.may_own([5])

    def test_the_run_of_a_deleted_record_has_no_owner(self, store: Store) -> None:
        def queued(key: str) -> Record:
            return written(store.replace(written(store.insert(record(key)))._replace(run_id=5)))

        assert store.delete(queued("a"))
        assert [one for one in store.may_own([5]) if one.run_id == 5] == []
        assert queued("b").run_id == 5
