"""Outages of Azure DevOps that end. The app acknowledges each event at once, and comes back to it on its own."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from devstack.ado.times import utc_now
from devstack.soak.stories.stage import Stage
from devstack.soak.stories.story import Story

_EVENTS: Final = 500
_SECONDS: Final = 60.0
_SHORT_SECONDS: Final = 15.0
"""Long enough to be told from a limit of Azure DevOps, after which the app keeps to a low rate for five minutes."""
_LEAD_SECONDS: Final = 2.0
"""For so long, events arrive before the outage, so that requests are in progress when it begins."""

Kind = Literal["refused", "hanging", "503", "429"]
_FAULTS: Final[Mapping[Kind, Mapping[str, Any]]] = {
    "hanging": {"accept": False, "drop": True, "delay_before_seconds": 600},
    "503": {"accept": False, "status": 503, "body": {"message": "down"}},
    "429": {"accept": False, "status": 429, "headers": {"Retry-After": "5"}, "body": {"message": "busy"}},
}


def outage(stage: Stage, kind: Kind) -> None:
    """Deliver events during an outage, and note how long after its end the last run was queued."""
    events = stage.make_events(stage.values(_EVENTS))
    seconds = _SECONDS if stage.is_full else _SHORT_SECONDS
    with stage.meanwhile(lambda: stage.deliver_evenly(events, _LEAD_SECONDS + seconds)):
        time.sleep(_LEAD_SECONDS)
        with _down(stage, kind, seconds):
            time.sleep(seconds)
        recovered_at = utc_now()
    stage.wait_for(lambda: not stage.messages_left(), look_every_seconds=0.5)
    last = max((datetime.fromisoformat(run["createdDate"]) for run in stage.runs()), default=recovered_at)
    stage.notes.append(f"the last run {(last - recovered_at).total_seconds():.0f} s after the recovery")


@contextmanager
def _down(stage: Stage, kind: Kind, seconds: float) -> Iterator[None]:
    if kind == "refused":
        stage.refuse_connections(seconds)
        yield
        return
    stage.plan([{**_FAULTS[kind], "match": {"method": "*", "path": "/_apis/"}, "times": 1_000_000}])
    yield
    stage.stop_faults()


def _story(kind: Kind, about: str, *, is_long: bool = True) -> Story:
    return Story(
        name=f"outage-{kind}",
        about=about,
        play=partial(outage, kind=kind),
        resumes=True,
        ways=("ignored",),
        is_long=is_long,
    )


OUTAGES: Final = (
    _story("refused", "an outage in which connections are refused, without a redelivery"),
    _story("hanging", "an outage in which no request is answered, without a redelivery"),
    _story("503", "an outage in which all answers are 503, without a redelivery", is_long=False),
    _story("429", "an outage in which all answers are 429 and ask for a pause, without a redelivery"),
)
