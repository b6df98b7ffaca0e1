"""Stories about clocks that differ, and workers that sleep."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

from devstack.soak.stories.stage import Stage
from devstack.soak.stories.story import ANSWERED, LOST, Story, mixed

_SLOW: Final[Mapping[str, Any]] = {"accept": True, "delay_after_seconds": 3}
_MAX_SWEEPS: Final = 10


def wrong_service_clock(stage: Stage, seconds: float) -> None:
    stage.behave(clock_offset_seconds=seconds)
    events = stage.make_events(stage.values(40))
    stage.plan(mixed(len(events), 0.5))
    stage.deliver(events)


def wrong_host_clocks(stage: Stage) -> None:
    """Each event is delivered to both hosts at once, and half of the requests are slow or lose their answers."""
    events = stage.make_events(stage.values(30), copies=2)
    stage.plan(mixed(len(events), 0.5, (_SLOW, *LOST)))
    stage.deliver(events)


def sleeper(stage: Stage, *, answer: Mapping[str, Any] = ANSWERED, storage_fails: bool = False) -> None:
    """A host freezes while Azure DevOps holds its requests, and wakes while those of its successor are in progress."""
    events = stage.make_events(stage.values(6))
    held = {**answer, "delay_before_seconds": 9.5, "times": len(events)}
    stage.plan([held, {"accept": True, "delay_after_seconds": 4, "times": len(events)}])
    with stage.delivering(events, host=0):
        stage.wait_for(lambda: len(stage.run_requests()) >= len(events))
        os.kill(stage.hosts[0].pid, signal.SIGSTOP)
        with stage.delivering(events, host=1) as successor:
            # On a slow machine, the successor may find the runs of all requests that were held, and send none.
            stage.wait_for(lambda: len(stage.run_requests()) > len(events) or not successor.is_alive())
            time.sleep(2.5)
            with stage.no_storage() if storage_fails else nullcontext():
                os.kill(stage.hosts[0].pid, signal.SIGCONT)
                time.sleep(8 if storage_fails else 0)
    for number in range(_MAX_SWEEPS):  # on a slow machine, orphans may be written down after the second one
        time.sleep(3)
        stage.sweep()
        if number and not stage.outcome().doubled:
            break
    time.sleep(1)


CLOCKS: Final = (
    Story(
        name="service-clock-ahead",
        is_long=True,
        about="Azure DevOps' clock is 10 minutes ahead",
        play=partial(wrong_service_clock, seconds=600),
    ),
    Story(
        name="service-clock-behind",
        is_long=True,
        about="Azure DevOps' clock is 10 minutes behind",
        play=partial(wrong_service_clock, seconds=-600),
    ),
    Story(
        name="host-clocks",
        is_long=True,
        about="one host's clock is a minute ahead, the other one's a minute behind",
        play=wrong_host_clocks,
        clocks=(60, -60),
    ),
    Story(
        name="host-clocks-behind",
        is_long=True,
        about="one host's clock is a minute behind, the other one's is right",
        play=wrong_host_clocks,
        clocks=(-60, 0),
    ),
    Story(
        name="sleeper",
        is_long=True,
        about="a host wakes while the request of its successor is in progress",
        play=sleeper,
    ),
    Story(
        name="sleeper-without-an-answer",
        is_long=True,
        about="a host wakes, and its own answer is lost too",
        play=partial(sleeper, answer=LOST[0]),
    ),
    Story(
        name="sleeper-without-storage",
        about="a host wakes while the journal does not answer",
        play=partial(sleeper, storage_fails=True),
        is_long=True,
    ),
)
