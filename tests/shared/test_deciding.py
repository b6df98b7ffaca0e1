"""Decisions on an event that need no app around them; tests/shared/test_relay.py has the rest."""

from shared.deciding import MAX_UNREADABLE_BYTES, decide
from shared.routing.table import RouteTable


def test_an_unreadable_event_is_cut_between_two_characters() -> None:
    verdict = decide("x" + "ü" * MAX_UNREADABLE_BYTES, {}, RouteTable([]))
    assert verdict.entry.event == "x" + "ü" * (MAX_UNREADABLE_BYTES // 2 - 1)
