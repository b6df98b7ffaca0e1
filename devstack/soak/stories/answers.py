"""Stories about what Azure DevOps answers: to run requests, and to the question which runs there are."""

import time
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qs

from devstack.soak.stories.stage import LIST_PATH, SETTLE_SECONDS, Route, Stage
from devstack.soak.stories.story import LOST, Faults, Story, mixed

_PAGE: Final = "<!DOCTYPE html><html><title>Sign in</title></html>"
_PAUSE: Final = {"Retry-After": "0.3"}
_UNCERTAIN: Final = [
    {"accept": accept, **answer}
    for answer in (
        {"status": 200, "body": _PAGE},
        {"status": 503, "headers": _PAUSE, "body": {"message": "busy"}},
        {"status": 503, "body": {"message": "busy"}},
        {"status": 302, "headers": {"Location": "https://proxy.invalid/"}},
        {"status": 200, "body": {"id": 0}},
    )
    for accept in (True, False)
]
_LIST_FAILS: Final = {"accept": False, "status": 500, "body": {"message": "down"}, "times": 1000}
# In production, a delivery has five times as long as in a story, and Event Grid pauses for 10 s, 30 s and 1 min.
_HANGS_SECONDS: Final = 120 / 5
_GROWING: Final = ((2.0, 2.4), (6.0, 7.2), (12.0, 14.4))
_MARGIN: Final = timedelta(seconds=30)
_SLACK: Final = timedelta(seconds=2)


def answers_that_show_nothing(stage: Stage) -> None:
    events = stage.make_events(stage.values(60))
    stage.plan(mixed(len(events), 0.5, _UNCERTAIN))
    stage.deliver(events)


def failing_list(stage: Stage) -> None:
    events = stage.make_events(stage.values(30))
    stage.plan(mixed(len(events), 0.5))
    stage.plan([{**_LIST_FAILS, "match": {"method": "GET", "path": LIST_PATH}}])
    with stage.delivering(events):
        time.sleep(7)
        stage.stop_faults()
    stage.wrong += _windows_that_grew(stage)


def _windows_that_grew(stage: Stage) -> list[str]:
    """Return a line if a search looked for a run later than a request could have queued it.

    That would be the time of the last run request, and the settle time and the margin after it.
    """
    sent, grew = None, 0
    for request in stage.requests():
        received = datetime.fromisoformat(request["time"])
        if request["method"] == "POST":
            sent = received
        elif sent is not None and (until := parse_qs(request["query"]).get("maxTime")):
            latest = sent + timedelta(seconds=SETTLE_SECONDS) + _MARGIN + _SLACK
            grew += datetime.fromisoformat(until[0]) > latest
    return [f"{grew} searches looked too far ahead"] if grew else []


def slow_pages(stage: Stage) -> None:
    """Three pages of builds, of which a delivery has time to read two."""
    for number in range(2_100):
        stage.queue_by_others({"templateParameters": {"value": f"other-{number}"}})
    events = stage.make_events(stage.values(2)[:2])
    slow = {"accept": True, "delay_before_seconds": 1.2, "times": 1000}
    stage.plan([*LOST, {**slow, "match": {"method": "GET", "path": LIST_PATH}}])
    stage.deliver(events)


def late_answers(stage: Stage) -> None:
    _hang(stage, ({"accept": True, "delay_after_seconds": _HANGS_SECONDS},))


def no_answers(stage: Stage) -> None:
    _hang(stage, LOST)


def _hang(stage: Stage, faults: Faults) -> None:
    """Deliver a burst while Azure DevOps answers no request in time, so that many deliveries wait for a thread."""
    events = stage.make_events(stage.values(1_000))
    stage.plan([faults[number % len(faults)] for number in range(len(events))])
    stage.plan([{**faults[-1], "match": {"method": "GET"}, "times": 100_000}])
    with stage.meanwhile(lambda: stage.deliver(events, senders=200, pauses=_GROWING)):
        time.sleep(_HANGS_SECONDS)
        stage.stop_faults()


def lagging_list(stage: Stage) -> None:
    stage.behave(list_lag_seconds=1.2)
    events = stage.make_events(stage.values(40))
    stage.plan(mixed(len(events), 0.5))
    stage.deliver(events)


def hidden_parameters(stage: Stage) -> None:
    stage.behave(parameters="null")
    events = stage.make_events(stage.values(40))
    stage.plan(mixed(len(events), 0.2))
    stage.deliver(events)


def reformatted_parameters(stage: Stage) -> None:
    stage.behave(parameters="reformatted")
    # No two are a multiple of 15 minutes apart: without a zone, these could be the same time in another zone.
    events = stage.make_events([f"2026-11-20T10:{number:02}:{number:02}Z" for number in range(stage.amount(40))])
    stage.plan([LOST[number % 2] for number in range(len(events))])
    stage.deliver(events)


ANSWERS: Final = (
    Story(
        name="answers-that-show-nothing",
        is_long=True,
        about="a page with 200, 503 with Retry-After and others, whether or not a run was queued",
        play=answers_that_show_nothing,
    ),
    Story(
        name="failing-list",
        is_long=True,
        about="the list of builds fails for a while: the search must not extend its window",
        play=failing_list,
    ),
    Story(
        name="slow-pages",
        about="a delivery cannot read all pages of builds: the next one continues",
        play=slow_pages,
        is_long=True,
    ),
    Story(
        name="late-answers",
        is_long=True,
        about="a burst while Azure DevOps answers no request in time",
        play=late_answers,
        settle_seconds=_HANGS_SECONDS,
    ),
    Story(
        name="no-answers",
        is_long=True,
        about="the same while all answers are lost",
        play=no_answers,
        settle_seconds=_HANGS_SECONDS,
    ),
    Story(name="lagging-list", is_long=True, about="the list of builds does not have new runs yet", play=lagging_list),
    Story(
        name="hidden-parameters",
        is_long=True,
        about="builds do not show template parameters: the app cannot tell",
        play=hidden_parameters,
        may_be_unclear=True,
    ),
    Story(
        name="reformatted-parameters",
        is_long=True,
        about="builds show date-times and JSON in other forms",
        play=reformatted_parameters,
        routes=(Route(note='{"list": [1, 2], "flag": true}'),),
    ),
)
