"""Builders of journal records, and of stores with replaced methods."""

import base64
import random
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import strategies as st

from shared.journal.records import MAX_HISTORY, Entry, Gathered, JournalKey, Record, State, Step, Store

NOW = datetime(2026, 11, 20, 12, 0, 0, 123456, UTC)


def record(key: str = "ab12", route: str = "route", **changes: Any) -> Record:
    """Return a record that has just been claimed."""
    fresh = Record(
        key=JournalKey(route, key),
        state=State.CLAIMED,
        entry=Entry("id", "type", "subject", '{"event": "ü\x00"}', '{"request": 1}'),
        claimed_at=NOW,
        lease_until=NOW,
        settled_at=NOW,
        history=(Step(NOW, State.CLAIMED, "note"),),
    )
    return fresh._replace(**changes)


def written(result: Record | None) -> Record:
    """Return the record that a store has written, and fail if it has not."""
    assert result is not None
    return result


def incompressible_text(length: int, seed: int = 1) -> str:
    """Return a string with six random bits per character, which zlib can reduce by at most a quarter."""
    return base64.b64encode(random.Random(seed).randbytes(length))[:length].decode()


def store_with(store: Store, **methods: Callable[..., Any]) -> Store:
    """Return a store with some methods replaced."""
    names = ("clock_offset", "insert", "get", "replace", "write_together", "may_own", "select", "delete")
    return cast("Store", SimpleNamespace(**{name: methods.get(name, getattr(store, name)) for name in names}))


any_text = st.text(st.characters(exclude_categories=()), max_size=300)
any_moment = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
any_state = st.sampled_from(State)
any_record = st.builds(
    Record,
    key=st.just(JournalKey("evaluate-after-training", "0123abcd")),
    state=any_state,
    entry=st.builds(Entry, any_text, any_text, any_text, any_text, any_text),
    claimed_at=any_moment,
    lease_until=any_moment,
    settled_at=any_moment,
    version=st.just('W/"1"'),
    run_id=st.none() | st.integers(0, 2**63 - 1),
    run_url=any_text,
    reason=any_text,
    history=st.lists(st.builds(Step, any_moment, any_state, any_text), max_size=MAX_HISTORY).map(tuple),
    lost_until=st.none() | any_moment,
    searched_until=st.none() | any_moment,
    sender=any_text,
    routes=any_text,
    shares_run_id=st.booleans(),
    gathered=st.none() | st.builds(Gathered, any_text, st.integers(1, 10**9), any_moment, any_text),
    document=st.just(""),
)
