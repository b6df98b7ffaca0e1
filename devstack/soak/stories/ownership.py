"""Stories about whose a run is."""

import random
from typing import Any, Final

from devstack.soak.stories.books import Kind
from devstack.soak.stories.stage import Route, Stage
from devstack.soak.stories.story import LOST, Story, mixed

_LOOK_ALIKES: Final = (
    *("007", "7", "7.0", "10.0", "10", "1_0", "1e1", "1e3", "1000", "true", "True", "0.1", "0.10", "0x10", "16"),
    *("12345678901234567", "12345678901234568", "NaN", "nan", "-0", "0", "2026-11-20"),
)


def run_ids_that_begin_again(stage: Stage) -> None:
    before = stage.make_events(stage.values(30))
    stage.deliver(before)
    stage.forget_runs()
    stage.deliver(stage.make_events(stage.values(30), copies=2))
    stage.deliver(before)


def two_organizations(stage: Stage) -> None:
    events = stage.make_events(stage.values(40))
    for organization in (0, 1):
        stage.plan(mixed(len(events), 0.2, seed=organization), organization)
    stage.deliver(events)


def routes_with_equal_requests(stage: Stage) -> None:
    values = stage.values(12)
    events = stage.make_events([*values, *values])
    stage.plan(mixed(3 * len(events), 0.3))
    stage.deliver(events)


def runs_of_others(stage: Stage) -> None:
    """60 runs with equal parameters among 300 events, of which one in five loses its answer.

    Some runs are queued by the app's own identity, and differ only in an additional parameter.
    """
    events = stage.make_events(stage.values(300))
    rng = random.Random(1)
    identity = stage.identity()
    orders = [_order_of_others(event.kinds[0], identity, rng) for event in rng.sample(events, stage.amount(60))]
    rng.shuffle(events)
    stage.plan(mixed(len(events), 0.2))

    def queue(some: list[dict[str, Any]]) -> None:
        for order in some:
            run_id = stage.queue_by_others(order)
            if rng.random() < 0.2:
                stage.cancel_by_others(run_id)

    half = len(orders) // 2
    queue(orders[:half])
    with stage.meanwhile(lambda: queue(orders[half:])):
        stage.deliver(events)


def _order_of_others(kind: Kind, identity: str, rng: random.Random) -> dict[str, Any]:
    parameters, same = dict(kind.parameters), {"id": identity}
    kinds: list[dict[str, Any]] = [
        {
            "templateParameters": {**parameters, "note": "of another tool"},
            "build": {"requestedBy": same, "requestedFor": same},
        },
        {"reason": "manual", "requester": "Ada"},
        {"reason": "schedule", "requester": "devstack"},
        {"reason": "individualCI", "requester": "Ada"},
    ]
    return {"templateParameters": parameters, **rng.choice(kinds)}


def look_alikes(stage: Stage) -> None:
    events = stage.make_events(_LOOK_ALIKES)
    stage.plan([LOST[number % 2] for number in range(len(events))])
    stage.deliver(events)


OWNERSHIP: Final = (
    Story(
        name="run-ids-that-begin-again",
        is_long=True,
        about="a server that was restored gives IDs again that the journal knows",
        play=run_ids_that_begin_again,
    ),
    Story(
        name="two-organizations",
        is_long=True,
        about="two organizations give the same IDs, and answers are lost",
        play=two_organizations,
        routes=(Route(), Route(name="second", organization=1)),
    ),
    Story(
        name="routes-with-equal-requests",
        is_long=True,
        about="events and routes with equal requests to one pipeline, and a route with one more parameter",
        play=routes_with_equal_requests,
        routes=(Route(), Route(name="second"), Route(name="third", note="more")),
    ),
    Story(
        name="runs-of-others",
        is_long=True,
        about="people, schedules, commits and other tools queue runs with equal or more parameters; some are canceled",
        play=runs_of_others,
    ),
    Story(
        name="look-alikes", is_long=True, about="versions such as 007 and 7, 10.0 and 10, 1_0 and 10", play=look_alikes
    ),
)
