"""What a story is, and how it is played."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devstack.soak.stories.books import Outcome
from devstack.soak.stories.stage import SETTLE_SECONDS, Idempotency, Route, Stage, StoreName

Faults = Sequence[Mapping[str, Any]]
"""Faults for the emulator; see ``devstack/ado/faults.py``."""

LOST: Final[Faults] = ({"accept": True, "drop": True}, {"accept": False, "drop": True})
"""Lost answers: the run was queued, or not."""
ANSWERED: Final[Mapping[str, Any]] = {"accept": True}
HONORED_FIRST: Final[Sequence[Idempotency]] = ("honored", "ignored")
"""What is left undecided can only disturb what follows if the key is ignored."""


def mixed(
    count: int, share: float, faults: Sequence[Mapping[str, Any]] = LOST, seed: int = 1
) -> list[Mapping[str, Any]]:
    """Return what happens to so many requests: a share of them meets each fault in turn, in random order."""
    failing = round(count * share)
    plan = [faults[number % len(faults)] for number in range(failing)] + [ANSWERED] * (count - failing)
    random.Random(seed).shuffle(plan)
    return plan


@dataclass(frozen=True, kw_only=True)
class Story:
    """One way to lose or double a run.

    :param about: what happens, for the list of stories.
    :param play: plans faults, makes events and delivers them.
    :param clocks: how many seconds the hosts' clocks are ahead. Processes that share a SQLite file share a clock, so
        with SQLite both have that of the first host.
    :param ways: the behaviors of Azure DevOps that make a difference.
    :param resumes: whether deferred events come back without a redelivery.
    :param may_be_unclear: whether events may be parked because the app cannot tell, if the key is ignored.
    :param is_long: not for the usual tests.
    """

    name: str
    about: str
    play: Callable[[Stage], None]
    routes: Sequence[Route] = (Route(),)
    clocks: tuple[float, float] = (0, 0)
    settle_seconds: float = SETTLE_SECONDS
    ways: Sequence[Idempotency] = HONORED_FIRST
    resumes: bool = False
    may_be_unclear: bool = False
    is_long: bool = False

    def run(
        self, folder: Path, store: StoreName, ways: Iterable[Idempotency] = HONORED_FIRST, size: float = 1
    ) -> Iterator[tuple[Idempotency, Outcome, bool]]:
        """Play the story with each behavior of Azure DevOps in turn. Yield what came out, and whether that is right."""
        clocks = self.clocks if store == "azurite" else (self.clocks[0], self.clocks[0])
        with ExitStack() as stack:
            stage = Stage(
                stack,
                folder,
                store,
                self.routes,
                clocks=clocks,
                settle_seconds=self.settle_seconds,
                size=size,
                resumes=self.resumes,
            )
            for way in (way for way in ways if way in self.ways):
                stage.begin(way)
                self.play(stage)
                outcome = stage.outcome()
                yield way, outcome, outcome.is_good(may_be_unclear=self.may_be_unclear and way == "ignored")
