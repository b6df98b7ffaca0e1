"""What came out of a story is counted from the books of the emulators, not from the journal."""

import json
from typing import Any

import pytest

from devstack.soak.stories.books import Kind, Outcome, StoryEvent, count


def event(number: int, value: str, *more: str) -> StoryEvent:
    kinds = tuple(Kind.of("story", {"value": each}) for each in (value, *more))
    return StoryEvent(json.dumps({"id": f"event-{number}"}), [], 1, kinds=kinds)


def run(number: int, value: str, **changes: Any) -> dict[str, Any]:
    parameters = {"value": value}
    fields = {"id": number, "planId": f"plan-{number}", "pipelineName": "story", "templateParameters": parameters}
    return {**fields, "state": "inProgress", **changes}


def decision(number: int, outcome: str, **fields: Any) -> dict[str, Any]:
    return {"event_id": f"event-{number}", "outcome": outcome, "run_id": None, "reason": "", **fields}


UNCLEAR = decision(2, "parked", reason="cannot tell whether one of these runs was queued for it: …")
GOOD: dict[str, Any] = {
    "events": 2,
    "lost": 0,
    "doubled": 0,
    "unclear": 0,
    "canceled": 0,
    "adopted": 0,
    "unacknowledged": 0,
}


@pytest.mark.parametrize(
    ("runs", "decisions", "expected"),
    [
        ([run(1, "a"), run(2, "b")], [], {}),
        ([run(1, "a")], [], {"lost": 1}),
        ([run(1, "a"), run(2, "b"), run(3, "b")], [], {"doubled": 1}),
        ([run(1, "a"), run(2, "a")], [], {"lost": 1, "doubled": 1}),
        ([run(1, "a"), run(2, "b"), run(3, "c")], [], {"doubled": 1}),
        ([run(1, "a"), run(2, "b"), run(3, "b", state="canceling")], [], {"canceled": 1}),
        ([run(1, "a"), run(2, "b", state="completed")], [], {"lost": 1, "canceled": 1}),
        ([run(1, "a"), run(2, "b"), run(9, "b")], [], {}),
        ([run(1, "a"), run(9, "b")], [decision(2, "queued", run_id=9)], {"lost": 1, "adopted": 1}),
        ([run(1, "a")], [UNCLEAR], {"unclear": 1}),
        ([run(1, "a"), run(2, "b")], [UNCLEAR], {"unclear": 1}),
        ([run(1, "a")], [{**UNCLEAR, "reason": "refused"}], {"lost": 1}),
    ],
)
def test_runs_are_counted_against_events(runs: Any, decisions: Any, expected: dict[str, int]) -> None:
    outcome = count([event(1, "a"), event(2, "b")], runs, {"plan-9"}, decisions, 0, [])
    assert vars(outcome) == GOOD | expected | {"wrong": [], "notes": ()}


def test_an_event_has_a_run_on_each_route() -> None:
    outcome = count([event(1, "a", "a")], [run(1, "a")], set(), [], 0, [])
    assert (outcome.lost, outcome.doubled) == (1, 0)


def test_true_and_false_are_compared_without_case() -> None:
    assert Kind.of("story", {"value": "True"}) == Kind.of("story", {"value": "true"})
    assert Kind.of("story", {"value": "A"}) != Kind.of("story", {"value": "a"})


@pytest.mark.parametrize("name", ["lost", "doubled", "adopted", "unacknowledged"])
def test_an_outcome_is_good_only_without_faults(name: str) -> None:
    assert Outcome(**GOOD).is_good(may_be_unclear=False)
    assert not Outcome(**GOOD | {name: 1}).is_good(may_be_unclear=True)
    assert not Outcome(**GOOD, wrong=["the window grew"]).is_good(may_be_unclear=True)


def test_an_event_may_be_unclear_only_where_the_design_says_so() -> None:
    outcome = Outcome(**GOOD | {"unclear": 1, "canceled": 2})
    assert outcome.is_good(may_be_unclear=True)
    assert not outcome.is_good(may_be_unclear=False)
    assert str(outcome) == "2 events, 0 lost, 0 doubled, 1 parked because the app cannot tell, 2 canceled"


def test_what_was_measured_is_shown() -> None:
    outcome = Outcome(**GOOD, notes=["0 redeliveries", "the last run 7 s after the recovery"])
    assert str(outcome) == "2 events, 0 lost, 0 doubled, 0 redeliveries, the last run 7 s after the recovery"
    assert outcome.is_good(may_be_unclear=False)
